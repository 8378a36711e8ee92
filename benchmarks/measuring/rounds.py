"""Contenders one after the other, round by round, in an order that is drawn for every round.

What runs before leaves its own data in the caches; so each follows each other as often.
"""

from __future__ import annotations

import gc
import random
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
    order, draw = list(contenders), random.Random(0)
    for number in range(-warmups, rounds):
        draw.shuffle(order)
        for name in order:
            sample = contenders[name]()
            if number >= 0:
                samples[name].append(sample)
    return {name: tuple(taken) for name, taken in samples.items()}


def per_call(call: Callable[[], Any], *, calls: int = 1, best_of: int = 1) -> Callable[[], float]:
    """Returns a contender whose sample is seconds per call.

    Args:
      call: What is measured.
      calls: In a row, of which the mean is taken.
      best_of: Rows of which the fastest is taken; what else runs on the machine slows single rows
        down by more than some budgets allow.
    """

    def row() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls

    def sample() -> float:
        gc.collect()
        gc.disable()
        try:
            return min(row() for _ in range(best_of))
        finally:
            gc.enable()

    return sample
