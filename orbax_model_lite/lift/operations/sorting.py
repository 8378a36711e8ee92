"""Sorts of any number of arrays, with any comparator.

A comparator that orders keys becomes `lax.sort`, with its derivative. Any other one is asked
itself: by a network of exchanges, or for each pair of elements where their number is symbolic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import Body, body_of, elementwise, expressions
from orbax_model_lite.lift.operations.comparators import Key, keys_of


def _sort(operation: Operation) -> Runner:
    rank = operation.operand_type().rank
    dimension = operation.integer("dimension", -1) % rank if rank else 0
    found = expressions(body_of(operation))
    keys = keys_of(found[0]) if found else None
    if keys is not None:
        return _by_keys(keys, dimension, is_stable=operation.flag("is_stable"))

    def run(*operands: Any, regions: Sequence[Body]) -> tuple[Any, ...]:
        fixed = [jnp.moveaxis(lax.stop_gradient(x), dimension, 0) for x in operands]
        less = _strict_order(regions[0], len(operands))
        if isinstance(operands[0].shape[dimension], int):
            order = jnp.moveaxis(_by_network(less, fixed), 0, dimension)
            return tuple(
                jnp.take_along_axis(x, order, dimension, mode="promise_in_bounds") for x in operands
            )
        ranks = jnp.moveaxis(_by_pairs(less, fixed), 0, dimension)
        return tuple(lax.sort((ranks, *operands), dimension=dimension, num_keys=1)[1:])

    return run


def _by_keys(keys: Sequence[Key], dimension: int, *, is_stable: bool) -> Runner:
    def run(*operands: Any, regions: Any) -> tuple[Any, ...]:
        own = _own_keys(keys, [x.dtype for x in operands])
        if own is not None:
            order = [*own, *(i for i in range(len(operands)) if i not in own)]
            count, arrays = len(own), [operands[i] for i in order]
        else:
            made = [_key_array(key, operands[key.operand]) for key in keys]
            order = list(range(len(operands)))
            count, arrays = len(made), [*made, *operands]
        found = lax.sort(arrays, dimension=dimension, is_stable=is_stable, num_keys=count)
        found = found[len(arrays) - len(operands) :]
        return tuple(found[order.index(i)] for i in range(len(operands)))

    return run


def _own_keys(keys: Sequence[Key], dtypes: Sequence[np.dtype]) -> list[int] | None:
    """Returns the operands by which `lax.sort` itself sorts as the keys tell; None if it cannot.

    It takes zeros as equal and NaN as the largest, and a complex number as its two parts.
    """
    found: list[int] = []
    parts = [(key.operand, key.part) for key in keys]
    for place, key in enumerate(keys):
        is_float = jnp.issubdtype(dtypes[key.operand], jnp.floating)
        if key.is_descending or (key.is_total and (is_float or key.part)):
            return None
        if key.part == "imag" and parts[place - 1 : place] == [(key.operand, "real")]:
            continue
        if key.part == "real" and parts[place + 1 : place + 2] != [(key.operand, "imag")]:
            return None
        if key.part == "imag" or key.operand in found:
            return None
        found.append(key.operand)
    return found


def _key_array(key: Key, operand: Any) -> Any:
    """Returns an array that `lax.sort` puts in the order of the key."""
    value = operand
    if key.part:
        value = lax.real(operand) if key.part == "real" else lax.imag(operand)
    if jnp.issubdtype(value.dtype, jnp.floating):
        if not key.is_total:
            value = jnp.where(value == 0, jnp.zeros_like(value), value)
            value = jnp.where(jnp.isnan(value), jnp.full_like(value, np.nan), value)
        value = _ordered_bits(value)
    return lax.bitwise_not(value) if key.is_descending else value


def _ordered_bits(x: Any) -> Any:
    """Returns integers in the total order of floating-point numbers."""
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
    flipped = lax.bitwise_xor(bits, jnp.full_like(bits, jnp.iinfo(bits.dtype).max))
    return jnp.where(bits < 0, flipped, bits)


def _strict_order(body: Body, count: int) -> Any:
    """Returns whether element a comes before b; of equal ones the one that came first does.

    It takes the operands of a and of b, both with the places of the elements last.
    """

    def less(a: Sequence[Any], b: Sequence[Any]) -> Any:
        rank = a[0].ndim
        apply = elementwise(body, rank)
        (before,) = apply(*(x for pair in zip(a[:count], b[:count], strict=True) for x in pair))
        (after,) = apply(*(x for pair in zip(b[:count], a[:count], strict=True) for x in pair))
        return before | (~after & (a[-1] < b[-1]))

    return less


def _by_network(less: Any, operands: Sequence[Any]) -> Any:
    """Returns the order of elements along dimension 0, by a bitonic network.

    The places past the end fill up to a power of two; they stay last because they are compared by
    place only.
    """
    size = operands[0].shape[0]
    full = 1 << max(size - 1, 0).bit_length()
    rest = operands[0].shape[1:]
    places = lax.broadcasted_iota(jnp.int32, (full, *rest), 0)
    padding = [(0, full - size, 0), *[(0, 0, 0)] * len(rest)]
    rows = [lax.pad(x, jnp.zeros((), x.dtype), padding) for x in operands]
    rows.append(places)
    width = 2
    while width <= full:
        distance = width // 2
        while distance:
            rows = _exchange(less, rows, size, width, distance)
            distance //= 2
        width *= 2
    return rows[-1][:size]


def _exchange(less: Any, rows: Sequence[Any], size: int, width: int, distance: int) -> list[Any]:
    """Returns elements with each pair at a distance in order; the order turns with every width."""
    full, rest = rows[0].shape[0], rows[0].shape[1:]
    blocks = [x.reshape(full // (2 * distance), 2, distance, *rest) for x in rows]
    a, b = [x[:, 0] for x in blocks], [x[:, 1] for x in blocks]
    starts = np.arange(0, full, 2 * distance)
    ascending = ((starts & width) == 0).reshape(-1, *[1] * (len(rest) + 1))
    is_filling = (a[-1] >= size) | (b[-1] >= size)
    is_first = jnp.where(is_filling, a[-1] < b[-1], less(a, b))
    keep = is_first == ascending
    pairs = [
        jnp.stack([jnp.where(keep, x, y), jnp.where(keep, y, x)], 1)
        for x, y in zip(a, b, strict=True)
    ]
    return [x.reshape(full, *rest) for x in pairs]


def _by_pairs(less: Any, operands: Sequence[Any]) -> Any:
    """Returns the rank of each element along dimension 0: how many others come before it."""
    shape = operands[0].shape
    square = (shape[0], *shape)
    rows = [*operands, lax.broadcasted_iota(jnp.int32, shape, 0)]
    a = [jnp.broadcast_to(x[:, None], square) for x in rows]
    b = [jnp.broadcast_to(x[None], square) for x in rows]
    return jnp.sum(less(a, b), axis=0, dtype=jnp.int32)


OPERATIONS: Final[Mapping[str, Handler]] = {"stablehlo.sort": Handler(_sort)}
