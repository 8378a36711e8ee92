"""Operations whose shapes are operands: such operands must be known while tracing (see `values`).

Where the module tells a size in the result's type, that one is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jax import lax
from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.shapes import iota
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import PerPlatform, as_arrays, shape_of, sizes


def _array(value: Any) -> Any:
    return as_arrays([value])[0]


def _is_traced(value: Any) -> bool:
    """Returns whether `shape_of` would find no sizes in a vector."""
    try:
        shape_of(value)
    except NotLiftable:
        return True
    return False


def _shaper(expected: TensorType) -> Callable[[Any], tuple[Any, ...]]:
    """Returns what makes the result's shape of the operand that tells it."""
    if expected.is_static:
        return lambda given: expected.static_shape

    def shape(given: Any) -> tuple[Any, ...]:
        pairs = zip(expected.shape, shape_of(given), strict=True)
        return tuple(found if static is None else static for static, found in pairs)

    return shape


def _dynamic_broadcast_in_dim(operation: Operation) -> Runner:
    shape = _shaper(operation.result_type())
    dimensions = operation.integers("broadcast_dimensions")
    return lambda x, given: lax.broadcast_in_dim(_array(x), shape(given), dimensions)


def _dynamic_reshape(operation: Operation) -> Runner:
    shape = _shaper(operation.result_type())
    return lambda x, given: lax.reshape(_array(x), shape(given))


def _dynamic_iota(operation: Operation) -> Runner:
    expected = operation.result_type()
    shape = _shaper(expected)
    dimension = operation.integer("iota_dimension")
    return lambda given: iota(expected.dtype, shape(given), dimension)


def _dynamic_pad(x: Any, value: Any, low: Any, high: Any, interior: Any) -> Any:
    amounts = zip(*map(shape_of, (low, high, interior)), strict=True)
    return lax.pad(_array(x), _array(value), tuple(amounts))


def _real_dynamic_slice(operation: Operation) -> Runner:
    expected = operation.result_type()

    def run(x: Any, starts: Any, limits: Any, strides: Any, *extent: Any) -> Any:
        steps = shape_of(strides)
        if not _is_traced(starts) and not _is_traced(limits):
            return lax.slice(_array(x), shape_of(starts), shape_of(limits), steps)
        window = _window(expected, steps, extent)
        scalars = [lax.index_in_dim(starts, i, keepdims=False) for i in range(expected.rank)]
        found = lax.dynamic_slice(_array(x), scalars, window, allow_negative_indices=False)
        if all(step == 1 for step in steps):
            return found
        return lax.slice(found, [0] * expected.rank, window, steps)

    return run


def _window(expected: TensorType, steps: Sequence[int], extent: Sequence[Any]) -> tuple[Any, ...]:
    """Returns limits minus starts where both are computed from data."""
    if expected.is_static:
        pairs = zip(expected.static_shape, steps, strict=True)
        return tuple(max(0, (size - 1) * step + 1) for size, step in pairs)
    if not extent:
        raise NotLiftable("a slice whose size is computed from the values of arrays")
    return shape_of(extent[0])


def _extent(inner: ir.Operation) -> list[ir.Value]:
    """Returns what the limits are more than the starts, where the module adds it to them.

    That is how JAX writes a `dynamic_slice` of symbolic size.
    """
    starts, limits = inner.operands[1], inner.operands[2]
    if not isinstance(limits, ir.OpResult):
        return []
    added = limits.owner
    if added.name != "stablehlo.add" or starts not in list(added.operands):
        return []
    first, second = added.operands
    return [second if first == starts else first]


def _get_dimension_size(operation: Operation) -> Runner:
    dimension = operation.integer("dimension")
    dtype = operation.result_type().dtype
    return lambda x: sizes(x.shape[dimension], dtype)


def _set_dimension_size(operation: Operation) -> Runner:
    dimension = operation.integer("dimension")

    def run(x: Any, size: Any) -> Any:
        if isinstance(size, PerPlatform) or shape_of(size)[0] != x.shape[dimension]:
            raise NotLiftable(f"an array of which only a part counts along dimension {dimension}")
        return x

    return run


def _shaped(build: Callable[[Operation], Runner]) -> Handler:
    return Handler(build, keeps_known=True)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.dynamic_broadcast_in_dim": _shaped(_dynamic_broadcast_in_dim),
    "stablehlo.dynamic_iota": _shaped(_dynamic_iota),
    "stablehlo.dynamic_pad": _shaped(lambda operation: _dynamic_pad),
    "stablehlo.dynamic_reshape": _shaped(_dynamic_reshape),
    "stablehlo.get_dimension_size": _shaped(_get_dimension_size),
    "stablehlo.real_dynamic_slice": Handler(
        _real_dynamic_slice, keeps_known=True, also_reads=_extent
    ),
    "stablehlo.set_dimension_size": _shaped(_set_dimension_size),
}
