"""What do saving and loading a bundle of 1 GB cost beside its weights alone?

Saving against the weights writer, fsync and jax.export; loading against the weights reader. Every
sample is a fresh process that times itself, imports excluded; its peak memory is compared too.
Takes about three minutes where nothing else runs, and says how far it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from measuring import Budget, Comparison, Options, Outcome, interleave, main, report, run_fresh

SAVE, LOAD = Budget(factor=1.15), Budget(factor=1.10)
MEMORY_SHARE = 0.10
BY_HAND = {
    "save": "weights writer, fsync and jax.export",
    "load": "weights reader",
}
TINY, SMALL, LARGE = (1, 8), (2, 64), (30, 2048)
"""Layers and width of models."""


def measure(options: Options) -> bool:
    """Prints the tables; returns whether the budgets are met."""
    size, rounds = (SMALL, 1) if options.is_quick else (LARGE, 5)
    bytes_of_weights = size[0] * (8 * size[1] ** 2 + 4 * size[1])
    comparisons = []
    for weights_format in ("safetensors", "orbax"):
        for verb in ("save", "load"):
            # The first process of a kind also compiles the bytecode of what it imports.
            sample(options.folder / "warm-up", verb, weights_format, TINY, rounds=1)
            outcomes = sample(options.folder, verb, weights_format, size, rounds=rounds)
            comparisons += compare(verb, weights_format, outcomes, bytes_of_weights)
        shutil.rmtree(to_load(options.folder, weights_format))
    return report(f"Save and load, {bytes_of_weights / 1e9:.2f} GB of weights", comparisons)


def sample(
    folder: Path, verb: str, weights_format: str, size: tuple[int, int], *, rounds: int
) -> dict[str, list[Outcome]]:
    """Returns outcomes of the bundle and by hand, interleaved; leaves a bundle to load."""
    folder.mkdir(exist_ok=True)
    outcomes: dict[str, list[Outcome]] = {"bundle": [], "by_hand": []}

    def contender(how: str) -> Callable[[], float]:
        def run() -> float:
            job = f"{verb}_{how}"
            outcome = run_fresh("one_gigabyte", job, weights_format, *size, folder)
            outcomes[how].append(outcome)
            keep(folder, job, weights_format)
            if size == LARGE:
                peak = outcome.peak_bytes / 1e6
                print(f"{job} {weights_format}: {outcome.result:.2f} s, {peak:.0f} MB", flush=True)
            return outcome.result

        return run

    if size == LARGE:
        run_fresh("touch_memory", 4000)
    interleave({how: contender(how) for how in outcomes}, rounds=rounds, warmups=0)
    return outcomes


def to_load(folder: Path, weights_format: str) -> Path:
    """Returns where a bundle lies that `load` loads."""
    return folder / f"to-load-{weights_format}"


def keep(folder: Path, job: str, weights_format: str) -> None:
    """Removes what a process wrote, but keeps the first bundle, to be loaded later."""
    shutil.rmtree(folder / f"tiny-{job}-{weights_format}")
    written = folder / f"saved-by-{job}-{weights_format}"
    kept = to_load(folder, weights_format)
    if job == "save_bundle" and not kept.exists():
        written.rename(kept)
    shutil.rmtree(written, ignore_errors=True)


def compare(
    verb: str, weights_format: str, outcomes: dict[str, list[Outcome]], bytes_of_weights: int
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
        budget=Budget(plus=MEMORY_SHARE * bytes_of_weights) if verb == "save" else None,
        unit="bytes",
    )
    return [times, peaks]


if __name__ == "__main__":
    main(__doc__, measure)
