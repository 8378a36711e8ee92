"""How long does `obm show` take from a shell prompt, and how much memory?

Of a real bundle: against the time that an interpreter takes to import the protobuf package, to
import generated code that can parse a manifest, and against `saved_model_cli show` on the same
model. Against fixed bounds for a manifest of 10 MB and for one function of 100,000 parameters. A
sample is a fresh process.
"""

from __future__ import annotations

import statistics
from pathlib import Path

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
    run_fresh("prepare_cold_start", folder, 2, 64)
    peaks: dict[str, int] = {}

    def sample(script: str, *bundle: Path) -> float:
        outcome = run_fresh(script, *bundle)
        peaks[bundle[0].stem if bundle else script] = outcome.peak_bytes
        return outcome.wall_s

    processes = {
        "show": lambda: sample("show_bundle", folder / "safetensors.obm"),
        "protobuf": lambda: sample("import_protobuf"),
        "generated": lambda: sample("import_generated_protobuf"),
        "saved_model": lambda: sample("show_saved_model", folder / "saved_model"),
        "large": lambda: sample("show_bundle", folder / "large.obm"),
        "many": lambda: sample("show_bundle", folder / "many.obm"),
    }
    samples = interleave(
        processes,
        rounds=1 if options.is_quick else 9,
        warmups=0 if options.is_quick else 1,
    )
    rows = (
        ("protobuf", "python -c 'import google.protobuf'", PROTOBUF),
        ("generated", "importing generated protobuf code", None),
        ("saved_model", "saved_model_cli show --all, same model", None),
    )
    comparisons = [
        Comparison(
            what="obm show",
            against=against,
            ours=samples["show"],
            theirs=samples[name],
            budget=budget,
        )
        for name, against, budget in rows
    ]
    is_met = report("obm show in a fresh process", comparisons)
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
