"""Integer arithmetic on values that are known while JAX traces, symbolic sizes among them.

Only what sizes go through in exported modules is here; for any other operation such values become
arrays. Each folder is made once from the operation, and takes object arrays of Python integers and
dimension expressions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax.core
import numpy as np

from orbax_model_lite.lift.operation import Operation
from orbax_model_lite.lift.values import Sizes, is_known, sizes

Folder = Callable[..., Any]


def folder_of(operation: Operation) -> Folder | None:
    """Returns what computes an operation on known operands; None if nothing does."""
    if [t.dtype.kind for t in operation.result_types if t] not in (["i"], ["u"], ["b"]):
        return None
    if operation.name in _ELEMENTWISE:
        return np.frompyfunc(_ELEMENTWISE[operation.name], len(operation.operand_types), 1)
    make = _MAKERS.get(operation.name)
    return make(operation) if make else None


def fold(folder: Folder, operands: Sequence[Any], dtype: np.dtype) -> Sizes | np.ndarray | None:
    """Returns the known result of an operation on known operands, or None if it has none.

    A comparison of symbolic sizes that JAX cannot decide has none: it is left to the run.

    Args:
      folder: From `folder_of`.
      operands: Sizes, or NumPy arrays of integers or booleans.
      dtype: Element type of the result.
    """
    arrays = [o.values if isinstance(o, Sizes) else o.astype(object) for o in operands]
    try:
        found = folder(*arrays)
    except (jax.errors.InconclusiveDimensionOperation, _Undecided):
        return None
    array = np.empty(np.shape(found), object)
    array[...] = found
    return sizes(array, dtype)


def settled(name: str, operands: Sequence[Any]) -> Any:
    """Returns the operand that known ones make the result, whatever the others are; None without.

    So a rounded division of sizes stays a size, though JAX cannot tell whether it leaves a rest.
    """
    known = [isinstance(o, np.ndarray) and o.dtype == np.bool_ and is_known(o) for o in operands]
    if name == "stablehlo.select" and known[0]:
        condition = operands[0]
        return operands[1] if condition.all() else None if condition.any() else operands[2]
    if name not in _ABSORBING:
        return None
    absorbing = _ABSORBING[name]
    alone = [o for o, is_one in zip(operands, known, strict=True) if is_one and _all(o, absorbing)]
    return alone[0] if alone else None


_ABSORBING: Final = {"stablehlo.and": False, "stablehlo.or": True}


def _all(values: np.ndarray, wanted: bool) -> bool:
    return bool((values == wanted).all())


class _Undecided(Exception):  # noqa: N818  # not an error: the value is left to the run
    """The result depends on a size."""


def _divide(x: Any, y: Any) -> Any:
    """StableHLO rounds towards zero, Python down; they agree where both are positive."""
    if isinstance(y, int) and y == 0:
        raise _Undecided
    if x >= 0 and y > 0:
        return x // y
    return _sign(x) * _sign(y) * (_absolute(x) // _absolute(y))


def _remainder(x: Any, y: Any) -> Any:
    if isinstance(y, int) and y == 0:
        raise _Undecided
    return x % y if x >= 0 and y > 0 else x - y * _divide(x, y)


def _absolute(x: Any) -> Any:
    return x if x >= 0 else -x


def _sign(x: Any) -> int:
    return 1 if x > 0 else 0 if x == 0 else -1


def _maximum(x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return max(x, y)
    return jax.core.max_dim(x, y)


def _minimum(x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return min(x, y)
    return jax.core.min_dim(x, y)


def _clamp(low: Any, x: Any, high: Any) -> Any:
    """Raises to the lower bound first, so the upper one wins where they cross."""
    raised = low if x < low else x
    return high if raised > high else raised


def _not(x: Any) -> Any:
    return not x if isinstance(x, (bool, np.bool_)) else ~x


_ELEMENTWISE: Final[dict[str, Callable[..., Any]]] = {
    "stablehlo.abs": _absolute,
    "stablehlo.add": operator.add,
    "stablehlo.and": operator.and_,
    "stablehlo.clamp": _clamp,
    "stablehlo.convert": lambda x: x,
    "stablehlo.divide": _divide,
    "stablehlo.maximum": _maximum,
    "stablehlo.minimum": _minimum,
    "stablehlo.multiply": operator.mul,
    "stablehlo.negate": operator.neg,
    "stablehlo.not": _not,
    "stablehlo.or": operator.or_,
    "stablehlo.remainder": _remainder,
    "stablehlo.select": lambda condition, x, y: x if condition else y,
    "stablehlo.sign": _sign,
    "stablehlo.subtract": operator.sub,
    "stablehlo.xor": operator.xor,
}

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "EQ": operator.eq,
    "GE": operator.ge,
    "GT": operator.gt,
    "LE": operator.le,
    "LT": operator.lt,
    "NE": operator.ne,
}


def _compare(operation: Operation) -> Folder:
    compare = _COMPARISONS[operation.enum("comparison_direction")]
    return np.frompyfunc(lambda x, y: _decided(compare, x, y), 2, 1)


def _decided(compare: Callable[[Any, Any], bool], x: Any, y: Any) -> bool:
    # Equality of expressions is False both where they differ and where they may.
    if compare in (operator.eq, operator.ne) and not (isinstance(x, int) and isinstance(y, int)):
        if x == y:
            return compare is operator.eq
        if x > y or x < y:
            return compare is operator.ne
        raise _Undecided
    return bool(compare(x, y))


def _reshape(operation: Operation) -> Folder:
    shape = operation.result_type().static_shape
    return lambda x: x.reshape(shape)


def _concatenate(operation: Operation) -> Folder:
    dimension = operation.integer("dimension")
    return lambda *parts: np.concatenate(parts, axis=dimension)


def _slice(operation: Operation) -> Folder:
    starts = operation.integers("start_indices")
    limits = operation.integers("limit_indices")
    strides = operation.integers("strides")
    window = tuple(map(slice, starts, limits, strides))
    return lambda x: x[window]


def _broadcast_in_dim(operation: Operation) -> Folder:
    shape = operation.result_type().static_shape
    dimensions = operation.integers("broadcast_dimensions")

    def folder(x: Any) -> Any:
        aligned = [1] * len(shape)
        for dimension, size in zip(dimensions, x.shape, strict=True):
            aligned[dimension] = size
        return np.broadcast_to(x.reshape(aligned), shape)

    return folder


_MAKERS: Final[dict[str, Callable[[Operation], Folder]]] = {
    "stablehlo.broadcast_in_dim": _broadcast_in_dim,
    "stablehlo.compare": _compare,
    "stablehlo.concatenate": _concatenate,
    "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice,
}
