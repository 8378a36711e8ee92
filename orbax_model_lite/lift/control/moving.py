"""Integer arithmetic on numbers that change by the same amount in each iteration of a loop.

`folding` computes with what is known; here are the few operations that such numbers go through on
their way to an index.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import jax
import numpy as np

from orbax_model_lite.lift.control.iteration import COMPARISONS, Affine, Comparison, Undecided
from orbax_model_lite.lift.folding import fold
from orbax_model_lite.lift.program import Step
from orbax_model_lite.lift.values import Sizes, is_known, sizes

Known: TypeAlias = "np.ndarray | Sizes"


def moving(number: Affine, dtype: np.dtype) -> Sizes | np.ndarray:
    """Returns a scalar that moves with the iterations, as a value."""
    return sizes(number, dtype)


def element(value: Any) -> Any:
    """Returns what a known scalar is: an int, a dimension expression or an Affine; else None."""
    if isinstance(value, Sizes) and value.shape == ():
        return value.values[()]
    if isinstance(value, np.ndarray) and value.shape == ():
        return value[()].item()
    return None


def affine(number: Any) -> Affine:
    """Returns an int or a dimension expression as a number that does not move."""
    return number if isinstance(number, Affine) else Affine(number)


def _maximum(x: Affine, y: Affine) -> Affine:
    return y if x <= y else x


def _minimum(x: Affine, y: Affine) -> Affine:
    return x if x <= y else y


_ARITHMETIC: Final[Mapping[str, Callable[..., Any]]] = {
    "stablehlo.add": operator.add,
    "stablehlo.clamp": lambda low, x, high: _minimum(_maximum(x, low), high),
    "stablehlo.convert": lambda x: x,
    "stablehlo.maximum": _maximum,
    "stablehlo.minimum": _minimum,
    "stablehlo.multiply": operator.mul,
    "stablehlo.negate": operator.neg,
    "stablehlo.select": lambda condition, x, y: x if condition else y,
    "stablehlo.subtract": operator.sub,
}
_MOVING: Final = ("broadcast_in_dim", "concatenate", "reshape", "slice")


def computed(step: Step, operands: Sequence[Any]) -> Known | Comparison | None:
    """Returns the result of a step on known operands, of which some may move; None if unknown."""
    (expected,) = step.result_types
    if expected is None or expected.dtype.kind not in "iub":
        return None
    if not any(map(_moves, operands)):
        is_small = step.fold is not None and all(map(is_known, operands))
        return fold(step.fold, operands, expected.dtype) if is_small and step.fold else None
    try:
        if step.name == "stablehlo.compare":
            return _compared(step, operands)
        if step.name in _ARITHMETIC:
            count = len(operands)
            folder: Any = np.frompyfunc(_ARITHMETIC[step.name], count, 1)
        elif step.name.removeprefix("stablehlo.") in _MOVING and step.fold is not None:
            folder = step.fold
        else:
            return None
        found = np.asarray(folder(*map(_affines, operands)), object)
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return None
    return _settled(found, expected.dtype)


def _moves(value: Any) -> bool:
    return isinstance(value, Sizes) and any(isinstance(e, Affine) for e in value.values.flat)


def _affines(value: np.ndarray | Sizes) -> np.ndarray:
    """Returns integers as Affine; dimension expressions do not know how to compute with those."""
    elements = value.values if isinstance(value, Sizes) else value.astype(object)
    if value.dtype.kind == "b":
        return elements
    return np.asarray(np.frompyfunc(affine, 1, 1)(elements), object)


def _settled(array: np.ndarray, dtype: np.dtype) -> Known | Comparison | None:
    """Returns numbers in their simplest form; None if one may wrap around."""
    settled = np.empty(array.shape, object)
    for place, number in np.ndenumerate(array):
        if number.step and not fits(number, dtype):
            return None
        settled[place] = number if number.step else number.offset
    return sizes(settled, dtype)


def fits(number: Affine, dtype: np.dtype) -> bool:
    """Returns whether a number stays within the limits of its type, as far as that is known."""
    limits = np.iinfo(dtype)
    ends = [number.offset] + ([] if number.count is None else [number.at(number.count - 1)])
    return all(limits.min <= end <= limits.max for end in ends if isinstance(end, int))


def _compared(step: Step, operands: Sequence[Any]) -> Known | Comparison | None:
    direction = _direction(step)
    x, y = map(_affines, operands)
    try:
        return np.asarray(np.frompyfunc(COMPARISONS[direction], 2, 1)(x, y), bool)
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return Comparison(direction, x.item() - y.item()) if x.shape == () else None


def _direction(step: Step) -> str:
    """Returns the direction of a comparison, by three samples of it."""
    assert step.fold is not None
    samples = tuple(bool(step.fold(np.array(x, object), 0)) for x in (-1, 0, 1))
    return _DIRECTIONS[samples]


_DIRECTIONS: Final[Mapping[tuple[bool, ...], str]] = {
    (True, False, False): "LT",
    (True, True, False): "LE",
    (False, True, False): "EQ",
    (True, False, True): "NE",
    (False, True, True): "GE",
    (False, False, True): "GT",
}
