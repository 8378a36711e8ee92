"""Operations that move elements, with shapes that the module itself gives.

Those whose shapes are operands are in `dynamic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable


def _reshape(operation: Operation) -> Runner:
    shape = operation.result_type().shape
    if shape.count(None) > 1:
        raise NotLiftable(f"a reshape to {operation.result_type()}")
    if None in shape:
        sizes = tuple(-1 if size is None else size for size in shape)
        return lambda x: jnp.reshape(x, sizes)
    return lambda x: lax.reshape(x, shape)


def _transpose(operation: Operation) -> Runner:
    permutation = operation.integers("permutation")
    return lambda x: lax.transpose(x, permutation)


def _broadcast_in_dim(operation: Operation) -> Runner:
    shape = operation.result_type().shape
    dimensions = operation.integers("broadcast_dimensions")
    # A size that the type leaves open can only be the operand's own.
    if any(size is None and i not in dimensions for i, size in enumerate(shape)):
        raise NotLiftable(f"a broadcast to {operation.result_type()}")

    def run(x: Any) -> Any:
        given = dict(zip(dimensions, x.shape, strict=True))
        sizes = [given[i] if size is None else size for i, size in enumerate(shape)]
        return lax.broadcast_in_dim(x, sizes, dimensions)

    return run


def _broadcast(operation: Operation) -> Runner:
    sizes = operation.integers("broadcast_sizes")
    return lambda x: lax.broadcast(x, sizes)


def _concatenate(operation: Operation) -> Runner:
    dimension = operation.integer("dimension")
    return lambda *parts: lax.concatenate(parts, dimension)


def _slice(operation: Operation) -> Runner:
    starts = operation.integers("start_indices")
    limits = operation.integers("limit_indices")
    strides = operation.integers("strides", default=[1] * len(starts))
    return lambda x: lax.slice(x, starts, limits, strides)


def _dynamic_slice(operation: Operation) -> Runner:
    sizes = operation.integers("slice_sizes")
    # StableHLO clamps negative starts; JAX would count them from the end first.
    return lambda x, *starts: lax.dynamic_slice(x, starts, sizes, allow_negative_indices=False)


def _dynamic_update_slice(x: Any, update: Any, *starts: Any) -> Any:
    return lax.dynamic_update_slice(x, update, starts, allow_negative_indices=False)


def _iota(operation: Operation) -> Runner:
    dimension = operation.integer("iota_dimension")
    found = operation.result_type()
    return lambda: iota(found.dtype, found.static_shape, dimension)


def iota(dtype: np.dtype, shape: Any, dimension: int) -> Any:
    """Returns indices along a dimension, of any numeric dtype and a shape that may be symbolic."""
    if dtype.kind == "c":
        part = np.dtype("float32") if dtype == np.complex64 else np.dtype("float64")
        return lax.convert_element_type(lax.broadcasted_iota(part, shape, dimension), dtype)
    return lax.broadcasted_iota(dtype, shape, dimension)


def _pad(operation: Operation) -> Runner:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    amounts = tuple(zip(*map(operation.integers, names), strict=True))
    return lambda x, value: lax.pad(x, value, amounts)


def _reverse(operation: Operation) -> Runner:
    dimensions = operation.integers("dimensions")
    return lambda x: lax.rev(x, dimensions)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.broadcast": Handler(_broadcast),
    "stablehlo.broadcast_in_dim": Handler(_broadcast_in_dim),
    "stablehlo.concatenate": Handler(_concatenate),
    "stablehlo.dynamic_slice": Handler(_dynamic_slice),
    "stablehlo.dynamic_update_slice": Handler(lambda operation: _dynamic_update_slice),
    "stablehlo.iota": Handler(_iota),
    "stablehlo.pad": Handler(_pad),
    "stablehlo.reshape": Handler(_reshape),
    "stablehlo.reverse": Handler(_reverse),
    "stablehlo.slice": Handler(_slice),
    "stablehlo.transpose": Handler(_transpose),
}
