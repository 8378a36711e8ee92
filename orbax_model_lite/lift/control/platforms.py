"""Choices by the platform for which JAX lowers: a module for several of them has a case for each.

The number of the platform is an argument of such a module, or is computed from it by other cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from orbax_model_lite.lift.evaluation import Region
from orbax_model_lite.lift.values import PerPlatform, jax_arrays


def choose(index: PerPlatform, branches: Sequence[Region], same_as: Sequence[int]) -> Any:
    """Returns the results of the branch that each platform takes.

    Args:
      index: Of the branch.
      branches: All of them; an index beyond them means the last one.
      same_as: For each branch, the first one that does the same.
    """
    taken = {p: same_as[branch_number(i, len(branches))] for p, i in index.values.items()}
    numbers = sorted(set(taken.values()))
    if len(numbers) == 1:
        return branches[numbers[0]]()
    if not any(_computes(branches[number]) for number in numbers):
        found = _per_platform({p: branches[number]() for p, number in taken.items()})
        if found is not None:
            return found
    calls = {p: lambda number=number: _run(branches[number]) for p, number in taken.items()}
    # As for the number itself: a platform that the module does not know takes its first variant.
    return jax.lax.platform_dependent(**calls, default=next(iter(calls.values())))


def branch_number(index: int, count: int) -> int:
    """Returns which branch an index selects: the last one if there is none of that number."""
    return index if 0 <= index < count else count - 1


def _run(branch: Region) -> tuple[Any, ...]:
    return tuple(jax_arrays(branch()))


def _computes(branch: Region) -> bool:
    return any(step.name != "stablehlo.constant" for step in branch.block.steps)


def _per_platform(results: dict[str, tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Returns known integers as one that depends on the platform; None if they are others."""
    values = {platform: result[0] for platform, result in results.items() if len(result) == 1}
    is_number = [
        isinstance(v, np.ndarray) and v.shape == () and v.dtype.kind in "iu"
        for v in values.values()
    ]
    if len(values) != len(results) or not all(is_number):
        return None
    dtype = next(iter(values.values())).dtype
    return (PerPlatform({p: int(v) for p, v in values.items()}, dtype),)
