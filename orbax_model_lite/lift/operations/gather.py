"""Gathers: slices at the places that an array of indices names; out-of-bounds ones are clamped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax.numpy as jnp
from jax import lax
from jaxlib.mlir.dialects import stablehlo

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.values import as_arrays, shape_of


def indices_in_rows(indices: Any, vector_dimension: int) -> Any:
    """Returns indices whose vectors are the last dimension, as JAX has them.

    Args:
      indices: Integers of any shape.
      vector_dimension: Where a vector is; the rank of `indices` if each element is one.
    """
    if vector_dimension == indices.ndim:
        return lax.expand_dims(indices, (vector_dimension,))
    if vector_dimension == indices.ndim - 1:
        return indices
    return jnp.moveaxis(indices, vector_dimension, -1)


def dimensions_in_rows(dimensions: list[int], vector_dimension: int) -> tuple[int, ...]:
    """Returns the numbers that dimensions of indices have in the result of `indices_in_rows`."""
    return tuple(d - 1 if d > vector_dimension else d for d in dimensions)


def _slices(operation: Operation) -> Runner:
    """Returns a function of operand, indices and slice sizes."""
    found = stablehlo.GatherDimensionNumbers(operation.attribute("dimension_numbers"))
    vector_dimension = found.index_vector_dim
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(found.offset_dims),
        collapsed_slice_dims=tuple(found.collapsed_slice_dims),
        start_index_map=tuple(found.start_index_map),
        operand_batching_dims=tuple(found.operand_batching_dims),
        start_indices_batching_dims=dimensions_in_rows(
            found.start_indices_batching_dims, vector_dimension
        ),
    )
    is_sorted = operation.flag("indices_are_sorted")

    def run(operand: Any, indices: Any, sizes: tuple[Any, ...]) -> Any:
        return lax.gather(
            operand,
            indices_in_rows(indices, vector_dimension),
            numbers,
            sizes,
            indices_are_sorted=is_sorted,
            mode=lax.GatherScatterMode.CLIP,
        )

    return run


def _gather(operation: Operation) -> Runner:
    slices, sizes = _slices(operation), operation.integers("slice_sizes")
    return lambda operand, indices: slices(operand, indices, sizes)


def _dynamic_gather(operation: Operation) -> Runner:
    slices = _slices(operation)

    def run(operand: Any, indices: Any, sizes: Any) -> Any:
        return slices(*as_arrays([operand, indices]), shape_of(sizes))

    return run


def _torch_index_select(operation: Operation) -> Runner:
    dimension, batch_dims = operation.integer("dim"), operation.integer("batch_dims")
    dimension %= operation.operand_type().rank
    batch_dims %= operation.operand_type(1).rank + 1

    def run(operand: Any, indices: Any) -> Any:
        rank, own = operand.ndim, indices.ndim - batch_dims
        offsets = [d for d in range(batch_dims, rank) if d != dimension]
        numbers = lax.GatherDimensionNumbers(
            offset_dims=tuple(d if d < dimension else d + own - 1 for d in offsets),
            collapsed_slice_dims=(dimension,),
            start_index_map=(dimension,),
            operand_batching_dims=tuple(range(batch_dims)),
            start_indices_batching_dims=tuple(range(batch_dims)),
        )
        sizes = [1 if d < batch_dims or d == dimension else operand.shape[d] for d in range(rank)]
        return lax.gather(
            operand,
            lax.expand_dims(indices, (indices.ndim,)),
            numbers,
            tuple(sizes),
            mode=lax.GatherScatterMode.CLIP,
        )

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.dynamic_gather": Handler(_dynamic_gather, keeps_known=True),
    "stablehlo.gather": Handler(_gather),
    "stablehlo.torch_index_select": Handler(_torch_index_select),
}
