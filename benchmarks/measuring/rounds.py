"""Contenders one after the other, round by round, in a direction that changes every round."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleave(
    contenders: Mapping[str, Callable[[], float]], *, rounds: int, warmups: int = 1
) -> dict[str, tuple[float, ...]]:
    """Returns the samples of each contender, one per round.

    Args:
      contenders: By name; each measures itself once and returns the sample.
      rounds: How many samples of each.
      warmups: Rounds before those, which are thrown away.
    """
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warmups, rounds):
        order = list(contenders) if number % 2 else list(reversed(contenders))
        for name in order:
            sample = contenders[name]()
            if number >= 0:
                samples[name].append(sample)
    return {name: tuple(taken) for name, taken in samples.items()}


def per_call(call: Callable[[], Any], *, calls: int) -> Callable[[], float]:
    """Returns a contender whose sample is seconds per call, over that many calls in a row."""

    def sample() -> float:
        gc.collect()
        gc.disable()
        try:
            start = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - start) / calls
        finally:
            gc.enable()

    return sample
