"""What do weights cost to save and to load, beside the library of their format alone?

Every sample is a fresh process that times itself; its peak memory is compared too. Saving includes
fsync on both sides. Orbax's own defaults, which compress, are there for orientation. Besides the
usual options, --megabytes says how large the weights are.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from measuring import Budget, Comparison, Options, Outcome, interleave, main, report, run_fresh

BUDGETS = {"save": Budget(factor=1.15), "device": Budget(factor=1.10), "host": Budget(factor=1.10)}
WHAT = {"save": "saved", "device": "loaded to device", "host": "loaded to host"}
MEMORY_SHARE = 0.10


def taken_option() -> int | None:
    """Returns the value of --megabytes, and takes it off the command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--megabytes", type=int)
    given, sys.argv[1:] = parser.parse_known_args()
    return given.megabytes


def measure(options: Options, megabytes: int) -> bool:
    """Prints the tables; returns whether the budgets are met."""
    comparisons: list[Comparison] = []
    for weights_format in ("safetensors", "orbax"):
        for verb in BUDGETS:
            outcomes = sample(options, verb, weights_format, megabytes)
            comparisons += compare(verb, weights_format, outcomes, megabytes)
    return report(f"Weights alone, {megabytes} MiB", comparisons)


def sample(
    options: Options, verb: str, weights_format: str, megabytes: int
) -> dict[str, list[Outcome]]:
    """Returns outcomes of each way, interleaved; a save leaves weights to load."""
    ways = ["ours", "library"] + ["defaults"] * (weights_format == "orbax")
    outcomes: dict[str, list[Outcome]] = {how: [] for how in ways}

    def contender(how: str) -> float:
        path = options.folder / f"{how}-{weights_format}"
        if verb == "save" and path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_fresh("touch_memory", 3 * megabytes)
        outcome = run_fresh("weights_alone", verb, how, weights_format, megabytes, options.folder)
        outcomes[how].append(outcome)
        return outcome.result

    rounds = 1 if options.is_quick else 7
    interleave({how: lambda how=how: contender(how) for how in ways}, rounds=rounds, warmups=1)
    return {how: taken[1:] for how, taken in outcomes.items()}


def compare(
    verb: str, weights_format: str, outcomes: dict[str, list[Outcome]], megabytes: int
) -> list[Comparison]:
    """Returns the lines of one table."""
    name = f"{weights_format} {WHAT[verb]}"
    seconds = {how: [o.result for o in taken] for how, taken in outcomes.items()}
    peaks = {how: [float(o.peak_bytes) for o in taken] for how, taken in outcomes.items()}
    lines = [
        Comparison(
            what=name,
            against="the library alone",
            ours=seconds["ours"],
            theirs=seconds["library"],
            budget=BUDGETS[verb],
        ),
        Comparison(
            what="its peak memory",
            against="the library's",
            ours=peaks["ours"],
            theirs=peaks["library"],
            budget=Budget(plus=MEMORY_SHARE * megabytes * 2**20),
            unit="bytes",
        ),
    ]
    if "defaults" in seconds:
        lines.append(
            Comparison(
                what=name,
                against="the library with its defaults",
                ours=seconds["ours"],
                theirs=seconds["defaults"],
            )
        )
    return lines


if __name__ == "__main__":
    size = taken_option()
    main(__doc__, lambda options: measure(options, size or (16 if options.is_quick else 1024)))
