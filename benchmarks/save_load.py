"""What do saving and loading a bundle of 1 GB cost beside its weights alone?

Saving against the weights writer, fsync and jax.export; loading against the weights reader. Every
sample is a fresh process that times itself; its peak memory is compared too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from measuring import Budget, Comparison, Options, Outcome, interleave, main, report, run_fresh

SAVE, LOAD = Budget(factor=1.15), Budget(factor=1.10)
MEMORY_SHARE = 0.10
BY_HAND = {
    "save": "weights writer, fsync and jax.export",
    "load": "weights reader",
}


def measure(options: Options) -> bool:
    """Prints the tables; returns whether the budgets are met."""
    layers, width = (2, 64) if options.is_quick else (30, 2048)
    weights_bytes = layers * (8 * width**2 + 4 * width)
    comparisons = []
    for weights_format in ("safetensors", "orbax"):
        for verb in ("save", "load"):
            outcomes = sample(options, verb, weights_format, (layers, width))
            comparisons += compare(verb, weights_format, outcomes, weights_bytes)
        shutil.rmtree(options.folder / f"to-load-{weights_format}")
    return report(f"Save and load, {weights_bytes / 1e9:.2f} GB of weights", comparisons)


def sample(
    options: Options, verb: str, weights_format: str, size: tuple[int, int]
) -> dict[str, list[Outcome]]:
    """Returns outcomes of the bundle and by hand, interleaved; leaves a bundle to load."""
    outcomes: dict[str, list[Outcome]] = {"bundle": [], "by_hand": []}

    def contender(how: str) -> Callable[[], float]:
        def run() -> float:
            job = f"{verb}_{how}"
            shutil.rmtree(options.folder / f"tiny-{job}-{weights_format}", ignore_errors=True)
            outcome = run_fresh("one_gigabyte", job, weights_format, *size, options.folder)
            outcomes[how].append(outcome)
            keep(options, job, weights_format)
            return outcome.result

        return run

    rounds = 1 if options.is_quick else 7
    interleave({how: contender(how) for how in outcomes}, rounds=rounds, warmups=1)
    return {how: taken[1:] for how, taken in outcomes.items()}


def keep(options: Options, job: str, weights_format: str) -> None:
    """Removes what a save wrote, but keeps the first bundle, to be loaded later."""
    written = options.folder / f"saved-by-{job}-{weights_format}"
    to_load = options.folder / f"to-load-{weights_format}"
    if job == "save_bundle" and not to_load.exists():
        written.rename(to_load)
    shutil.rmtree(written, ignore_errors=True)


def compare(
    verb: str, weights_format: str, outcomes: dict[str, list[Outcome]], weights_bytes: int
) -> list[Comparison]:
    """Returns times and peaks side by side."""
    bundle, by_hand = outcomes["bundle"], outcomes["by_hand"]
    times = Comparison(
        what=f"{verb}, {weights_format}",
        against=BY_HAND[verb],
        ours=[outcome.result for outcome in bundle],
        theirs=[outcome.result for outcome in by_hand],
        budget=SAVE if verb == "save" else LOAD,
    )
    peaks = Comparison(
        what=f"{verb}, {weights_format}, peak memory",
        against=BY_HAND[verb],
        ours=[outcome.peak_bytes for outcome in bundle],
        theirs=[outcome.peak_bytes for outcome in by_hand],
        budget=Budget(plus=MEMORY_SHARE * weights_bytes) if verb == "save" else None,
        unit="bytes",
    )
    return [times, peaks]


if __name__ == "__main__":
    main(__doc__, measure)
