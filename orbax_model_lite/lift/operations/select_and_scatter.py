"""Scattering to the element that each window selects: the way back through a pooling layer.

Where the largest or smallest element is selected and values are added, this is the derivative of
JAX's own pooling, which has further derivatives. Any other bodies are applied as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import (
    Body,
    body_of,
    combiners,
    constant_scalar,
    elementwise,
    expressions,
    identity_of,
)
from orbax_model_lite.lift.operations.windows import (
    Windows,
    elements,
    offsets_of,
    product_of,
    windows_of,
)

_POOLINGS: Final = {"GE": ("maximum", lax.max), "LE": ("minimum", lax.min)}


def _select_and_scatter(operation: Operation) -> Runner:
    windows = windows_of(operation)
    names = combiners(body_of(operation, 1))
    pooling = _pooling(operation)
    init = constant_scalar(operation, 2)
    if pooling is not None and names == ["add"] and init is not None and init == 0:
        return _by_derivative(pooling, windows)
    return _by_selection(windows, names[0] if names else "")


def _pooling(operation: Operation) -> tuple[str, Callable[..., Any]] | None:
    """Returns the pooling whose elements are selected; None if it is neither of JAX's two."""
    if not jnp.issubdtype(operation.result_type().dtype, jnp.floating):
        return None
    found = expressions(body_of(operation))
    for direction, pooling in _POOLINGS.items():
        if found == [f"compare.{direction}.FLOAT($0, $1)"]:
            return pooling
    return None


def _by_derivative(pooling: tuple[str, Callable[..., Any]], windows: Windows) -> Runner:
    name, reducer = pooling

    def run(operand: Any, source: Any, init: Any, regions: Any) -> Any:
        neutral = np.asarray(identity_of(name, operand.dtype)).astype(operand.dtype)

        def pool(x: Any) -> Any:
            return lax.reduce_window(x, neutral, reducer, *windows.arguments())

        _, back = jax.vjp(pool, operand)
        return back(source)[0]

    return run


def _by_selection(windows: Windows, name: str) -> Runner:
    def run(operand: Any, source: Any, init: Any, regions: Sequence[Body]) -> Any:
        place = _selected(regions[0], lax.stop_gradient(operand), windows).reshape(-1)
        flat = jnp.full((product_of(operand.shape),), init, source.dtype)
        return _combined(name, regions[1], flat, place, source.reshape(-1)).reshape(operand.shape)

    return run


def _selected(select: Body, operand: Any, windows: Windows) -> Any:
    """Returns for each window the place of its element in row-major order.

    A window with nothing but padding has a place behind the last one.
    """
    size = product_of(operand.shape)
    nowhere = jnp.asarray(size, jnp.int32)
    places = lax.reshape(lax.iota(jnp.int32, size), operand.shape)
    value = windows.padded(operand, 0)
    where = windows.padded(places + jnp.int32(1), 0)
    counts = windows.counts(value.shape)
    apply = elementwise(select, len(counts))

    def step(carry: tuple[Any, Any], number: Any) -> tuple[tuple[Any, Any], None]:
        best, place = carry
        offsets = offsets_of(number, windows)
        candidate = elements(value, offsets, counts, windows)
        candidate_place = elements(where, offsets, counts, windows)
        (stays,) = apply(best, candidate)
        taken = (candidate_place > 0) & (~stays | (place == nowhere))
        best = jnp.where(taken, candidate, best)
        return (best, jnp.where(taken, candidate_place - jnp.int32(1), place)), None

    start = (jnp.zeros(counts, operand.dtype), jnp.broadcast_to(nowhere, counts))
    (_, place), _ = lax.scan(step, start, lax.iota(jnp.int32, product_of(windows.sizes)))
    return place


def _combined(name: str, body: Body, flat: Any, place: Any, values: Any) -> Any:
    """Returns an array with values combined into it at places, one after the other."""
    if name == "add":
        return flat.at[place].add(values, mode="drop")

    def step(carry: Any, entry: Any) -> tuple[Any, None]:
        where, value = entry
        (found,) = body(carry.at[where].get(mode="clip"), value)
        return carry.at[where].set(found, mode="drop"), None

    found, _ = lax.scan(step, flat, (place, values))
    return found


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.select_and_scatter": Handler(_select_and_scatter),
}
