"""How long does `obm show` take from a shell prompt, and how much memory?

Against the time that an interpreter takes to import the protobuf package, and against fixed bounds
for a manifest of 10 MB and for one function of 100,000 parameters. A sample is a fresh process.
"""

from __future__ import annotations

import statistics

from measuring import Budget, Comparison, Options, interleave, main, report, run_fresh

PROTOBUF = Budget(factor=4.0)
LARGE_MANIFEST_S = 0.5
MANY_PARAMETERS_S = 2.0
MANY_PARAMETERS_BYTES = 300e6


def measure(options: Options) -> bool:
    """Prints the table; returns whether the budgets are met."""
    parameters, module_bytes = (1_000, 100_000) if options.is_quick else (100_000, 10_000_000)
    folder = options.folder
    run_fresh("prepare_show", folder, parameters, module_bytes)
    peaks: dict[str, int] = {}

    def sample(name: str) -> float:
        bundle = () if name == "protobuf" else (folder / f"{name}.obm",)
        outcome = run_fresh("import_protobuf" if name == "protobuf" else "show_bundle", *bundle)
        peaks[name] = outcome.peak_bytes
        return outcome.wall_s

    names = ("protobuf", "small", "large", "many")
    samples = interleave(
        {name: lambda name=name: sample(name) for name in names},
        rounds=1 if options.is_quick else 9,
        warmups=0 if options.is_quick else 1,
    )
    comparison = Comparison(
        what="obm show",
        against="python -c 'import google.protobuf'",
        ours=samples["small"],
        theirs=samples["protobuf"],
        budget=PROTOBUF,
    )
    is_met = report("obm show in a fresh process", [comparison])
    for name, what, most_s in (
        ("large", f"{module_bytes / 1e6:.1f} MB of manifest", LARGE_MANIFEST_S),
        ("many", f"{parameters} parameters", MANY_PARAMETERS_S),
    ):
        took_s, peak = statistics.median(samples[name]), peaks[name]
        is_met &= took_s <= most_s and (name != "many" or peak <= MANY_PARAMETERS_BYTES)
        print(f"{what}: {took_s:.2f} s of {most_s} s, {peak / 1e6:.0f} MB")
    return is_met


if __name__ == "__main__":
    main(__doc__, measure)
