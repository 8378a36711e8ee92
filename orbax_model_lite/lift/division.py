"""Floor division and modulo of symbolic sizes, which JAX writes as calls of small functions.

Inside of these, a symbolic remainder is compared with zero, which nobody can decide while tracing.
So the call itself is recognised, by its name and by what it computes on numbers, and JAX's own
expression takes its place.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.values import Sizes, is_known, sizes

Run = Callable[[Program, Sequence[Any]], tuple[Any, ...]]

_KINDS: Final = (
    (re.compile(r"floor_divide(_\d+)?"), operator.floordiv),
    (re.compile(r"remainder(_\d+)?"), operator.mod),
)
_DIVIDENDS: Final = (-7, -6, -1, 0, 1, 5, 6)
_DIVISORS: Final = (-3, -2, 1, 2, 3)


def quotient(program: Program, arguments: Sequence[Any], run: Run) -> Sizes | np.ndarray | None:
    """Returns what a call of a division gives, where a symbolic size is divided; else None.

    Args:
      program: That is called.
      arguments: Of the call; dividend and divisor are the last two.
      run: Runs a program.
    """
    if len(arguments) < 2 or not any(isinstance(x, Sizes) for x in arguments[-2:]):
        return None
    if not all(is_known(x) and x.shape == () for x in arguments[-2:]):
        return None
    for pattern, compute in _KINDS:
        if pattern.fullmatch(program.name) and _computes(program, arguments, run, compute):
            dividend, divisor = (_item(x) for x in arguments[-2:])
            return sizes(compute(dividend, divisor), arguments[-2].dtype)
    return None


def _computes(
    program: Program, arguments: Sequence[Any], run: Run, compute: Callable[[int, int], int]
) -> bool:
    """Returns whether a program gives what Python's operator gives, on a grid of numbers."""
    leading, dtype = arguments[:-2], arguments[-2].dtype
    if dtype.kind != "i" or arguments[-1].dtype != dtype:
        return False
    for x in _DIVIDENDS:
        for y in _DIVISORS:
            found = run(program, [*leading, np.array(x, dtype), np.array(y, dtype)])
            is_one = len(found) == 1 and isinstance(found[0], np.ndarray)
            if not is_one or found[0].shape or int(found[0]) != compute(x, y):
                return False
    return True


def _item(value: Any) -> Any:
    return value.values.item() if isinstance(value, Sizes) else int(value)
