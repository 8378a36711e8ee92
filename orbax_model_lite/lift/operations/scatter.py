"""Scatters: updates combined into an array at the places that indices name.

Updates that do not fit are skipped. Bodies that JAX has a scatter for become that, with its
derivative; any other body goes through the updates one by one, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxlib.mlir.dialects import stablehlo

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import (
    ASSIGN,
    KEEP,
    Body,
    body_of,
    combiners,
    elementwise,
)
from orbax_model_lite.lift.operations.gather import dimensions_in_rows, indices_in_rows

_SCATTERS: Final[dict[str, Callable[..., Any]]] = {
    ASSIGN: lax.scatter,
    "add": lax.scatter_add,
    "maximum": lax.scatter_max,
    "minimum": lax.scatter_min,
    "multiply": lax.scatter_mul,
}

# Booleans are ordered, so these are the same, and JAX has a scatter for them.
_OF_BOOLEANS: Final = {"and": "minimum", "or": "maximum"}


def _scatter(operation: Operation) -> Runner:
    count = len(operation.result_types)
    found = stablehlo.ScatterDimensionNumbers(operation.attribute("scatter_dimension_numbers"))
    vector_dimension = found.index_vector_dim
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(found.update_window_dims),
        inserted_window_dims=tuple(found.inserted_window_dims),
        scatter_dims_to_operand_dims=tuple(found.scattered_dims_to_operand_dims),
        operand_batching_dims=tuple(found.input_batching_dims),
        scatter_indices_batching_dims=dimensions_in_rows(
            found.scatter_indices_batching_dims, vector_dimension
        ),
    )
    scatter = _recognised(operation, numbers) or _one_by_one(numbers)

    def run(*operands: Any, regions: Sequence[Body]) -> tuple[Any, ...]:
        indices = indices_in_rows(operands[count], vector_dimension)
        return scatter(regions[0], operands[:count], indices, operands[count + 1 :])

    return run


_Scatter = Callable[[Body, Sequence[Any], Any, Sequence[Any]], tuple[Any, ...]]
"""Takes the body, the operands, the indices in rows, and the updates."""


def _recognised(operation: Operation, numbers: lax.ScatterDimensionNumbers) -> _Scatter | None:
    names = _names(operation)
    if names is None:
        return None
    settings: dict[str, Any] = {
        "indices_are_sorted": operation.flag("indices_are_sorted"),
        "unique_indices": operation.flag("unique_indices"),
        "mode": lax.GatherScatterMode.FILL_OR_DROP,
    }

    def run(body: Body, operands: Any, indices: Any, updates: Any) -> tuple[Any, ...]:
        del body
        return tuple(
            operand
            if name == KEEP
            else _SCATTERS[name](operand, indices, update, numbers, **settings)
            for name, operand, update in zip(names, operands, updates, strict=True)
        )

    return run


def _names(operation: Operation) -> list[str] | None:
    """Returns the combiner of each operand, if JAX has a scatter for all of them."""
    found = combiners(body_of(operation))
    if found is None:
        return None
    dtypes = [operation.result_type(i).dtype for i in range(len(found))]
    names = [
        _OF_BOOLEANS.get(name, name) if dtype == np.bool_ else name
        for name, dtype in zip(found, dtypes, strict=True)
    ]
    is_known = all(name in _SCATTERS or name == KEEP for name in names)
    return names if is_known else None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """Where the updates lie, as arrays with one row for each of them.

    Attributes:
      starts: [updates, rank of the operand], integers: the first place of each window.
      fits: [updates], booleans: whether the whole window is inside the operand.
      sizes: Of one window, in dimensions of the operand.
    """

    starts: Any
    fits: Any
    sizes: tuple[Any, ...]


def _one_by_one(numbers: lax.ScatterDimensionNumbers) -> _Scatter:
    def run(body: Body, operands: Any, indices: Any, updates: Any) -> tuple[Any, ...]:
        windows = _windows(operands[0].shape, indices, updates[0].shape, numbers)
        rows = tuple(_in_rows(update, windows.sizes, numbers) for update in updates)
        apply = elementwise(body, len(windows.sizes))

        def combine(carry: tuple[Any, ...], row: Any) -> tuple[tuple[Any, ...], None]:
            start, fits, windows_of_update = row
            places = list(start)
            before = [lax.dynamic_slice(x, places, windows.sizes) for x in carry]
            after = apply(*before, *windows_of_update)
            kept = [jnp.where(fits, new, old) for new, old in zip(after, before, strict=True)]
            pairs = zip(carry, kept, strict=True)
            return tuple(lax.dynamic_update_slice(x, new, places) for x, new in pairs), None

        found, _ = lax.scan(combine, tuple(operands), (windows.starts, windows.fits, rows))
        return found

    return run


def _windows(
    shape: Sequence[Any],
    indices: Any,
    update_shape: Sequence[Any],
    numbers: lax.ScatterDimensionNumbers,
) -> _Windows:
    single = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    window_sizes = iter(update_shape[d] for d in numbers.update_window_dims)
    sizes = tuple(1 if d in single else next(window_sizes) for d in range(len(shape)))
    # Signed, so that a place beyond the range of the indices' own dtype stays one that fits not.
    wide = jnp.int64 if indices.dtype.itemsize == 8 else jnp.int32
    columns = [jnp.zeros(indices.shape[:-1], wide)] * len(shape)
    for i, dimension in enumerate(numbers.scatter_dims_to_operand_dims):
        columns[dimension] = indices[..., i].astype(wide)
    pairs = zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
    for dimension, batching in pairs:
        columns[dimension] = lax.broadcasted_iota(wide, indices.shape[:-1], batching)
    starts = jnp.stack(columns, -1).reshape(-1, len(shape))
    room = jnp.stack([jnp.asarray(n - s, wide) for n, s in zip(shape, sizes, strict=True)])
    fits = jnp.all((starts >= 0) & (starts <= room), axis=-1)
    return _Windows(starts=starts, fits=fits, sizes=sizes)


def _in_rows(update: Any, sizes: Sequence[Any], numbers: lax.ScatterDimensionNumbers) -> Any:
    """Returns updates as [updates, *window], a window with the rank of the operand."""
    window = numbers.update_window_dims
    outer = [d for d in range(update.ndim) if d not in window]
    return lax.reshape(
        update, (_product(update.shape[d] for d in outer), *sizes), (*outer, *window)
    )


def _product(sizes: Any) -> Any:
    product = 1
    for size in sizes:
        product = product * size
    return product


OPERATIONS: Final[Mapping[str, Handler]] = {"stablehlo.scatter": Handler(_scatter)}
