"""Reductions over whole dimensions, with any body; and `map`, which applies a body to elements.

A sum, a maximum and their like become the operation of JAX that has a derivative. Any other body
stays a reduction with that body; its derivative is that of a tree of the body's operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import (
    Body,
    body_of,
    closed,
    combine,
    combiners,
    constant_scalar,
    elementwise,
    expressions,
    is_identity,
    is_iota,
    with_derivative_of,
)
from orbax_model_lite.lift.types import TensorType

_REDUCERS: Final[dict[str, Callable[..., Any]]] = {
    "add": lax.reduce_sum,
    "and": lax.reduce_and,
    "maximum": lax.reduce_max,
    "minimum": lax.reduce_min,
    "multiply": lax.reduce_prod,
    "or": lax.reduce_or,
    "xor": lax.reduce_xor,
}


def _reduce(operation: Operation) -> Runner:
    dimensions = operation.integers("dimensions")
    count = len(operation.operand_types) // 2
    inits = [constant_scalar(operation, count + i) for i in range(count)]
    chooser = _chooser(operation, dimensions)
    if chooser is not None:
        return chooser
    names = combiners(body_of(operation))
    if names is not None and all(map(_is_reducible, names, inits)):
        return _known(names, inits, dimensions)
    return _generic(operation, inits, dimensions)


def _is_reducible(name: str, init: np.ndarray | None) -> bool:
    # Beginning with -0.0 makes a sum of nothing but -0.0 negative; lax.reduce_sum begins with 0.0.
    is_negative_zero = (
        init is not None
        and jnp.issubdtype(init.dtype, jnp.floating)
        and init == 0
        and bool(np.signbit(init.astype(np.float64)))
    )
    return name in _REDUCERS and not (name == "add" and is_negative_zero)


def _known(
    names: Sequence[str], inits: Sequence[np.ndarray | None], dimensions: Sequence[int]
) -> Runner:
    """Returns what reduces each operand by an operation of JAX."""
    are_needless = [is_identity(name, init) for name, init in zip(names, inits, strict=True)]

    def run(*arguments: Any, regions: Any) -> tuple[Any, ...]:
        count = len(names)
        found = [
            _REDUCERS[name](operand, dimensions)
            for name, operand in zip(names, arguments[:count], strict=True)
        ]
        return tuple(
            result if is_needless else combine(name)(lax.full_like(result, 0) + init, result)
            for name, result, init, is_needless in zip(
                names, found, arguments[count:], are_needless, strict=True
            )
        )

    return run


def _generic(
    operation: Operation, inits: Sequence[np.ndarray | None], dimensions: Sequence[int]
) -> Runner:
    types = [_scalar(operation.result_type(i).dtype) for i in range(len(inits))]
    constants = [init for init in inits if init is not None]

    def run(*arguments: Any, regions: Any) -> tuple[Any, ...]:
        operands, starts = arguments[: len(inits)], arguments[len(inits) :]
        if len(constants) == len(inits):
            starts = tuple(constants)
            body = closed(regions[0], [*types, *types])
            if body is not None:
                return _by_xla(body, dimensions, starts)(*operands)
        return reduce_by_tree(regions[0], operands, starts, dimensions)

    return run


def _scalar(dtype: np.dtype) -> TensorType:
    return TensorType(shape=(), dtype=dtype)


def _by_xla(body: Body, dimensions: Sequence[int], starts: tuple[Any, ...]) -> Body:
    def fast(*operands: Any) -> tuple[Any, ...]:
        return lax.reduce(operands, starts, lambda a, b: body(*a, *b), dimensions)

    def slow(*operands: Any) -> tuple[Any, ...]:
        return reduce_by_tree(body, operands, starts, dimensions)

    return with_derivative_of(fast, slow)


def reduce_by_tree(
    body: Body, operands: Sequence[Any], inits: Sequence[Any], dimensions: Sequence[int]
) -> tuple[Any, ...]:
    """Returns a reduction written in operations that JAX can differentiate.

    Neighbours are combined pair by pair, so the body may be one that does not commute. Over
    symbolic sizes it goes from element to element.

    Args:
      body: Takes one scalar for each operand and another one for each, in this order.
      operands: Arrays of one shape.
      inits: Scalars.
      dimensions: Over which to reduce.
    """
    shape = operands[0].shape
    kept = [d for d in range(len(shape)) if d not in dimensions]
    size = 1
    for dimension in dimensions:
        size = size * shape[dimension]
    rest = tuple(shape[d] for d in kept)
    rows = [lax.reshape(x, (size, *rest), (*dimensions, *kept)) for x in operands]
    starts = tuple(jnp.broadcast_to(jnp.asarray(init), rest) for init in inits)
    apply = elementwise(body, len(rest))
    if not isinstance(size, int):
        found, _ = lax.scan(lambda carry, row: (apply(*carry, *row), None), starts, tuple(rows))
        return found
    if size == 0:
        return starts
    apply_rows = elementwise(body, len(rest) + 1)
    while size > 1:
        pairs = size // 2
        left = [lax.slice_in_dim(x, 0, 2 * pairs, 2) for x in rows]
        right = [lax.slice_in_dim(x, 1, 2 * pairs, 2) for x in rows]
        last = [lax.slice_in_dim(x, 2 * pairs, size) for x in rows]
        merged = apply_rows(*left, *right)
        rows = [lax.concatenate(both, 0) for both in zip(merged, last, strict=True)]
        size = rows[0].shape[0]
    return apply(*starts, *(lax.squeeze(x, (0,)) for x in rows))


def _chooser(operation: Operation, dimensions: Sequence[int]) -> Runner | None:
    """Returns what runs JAX's argmin and argmax, which have no derivative; None for others.

    They are reductions of values together with their numbers along a dimension.
    """
    if len(operation.operand_types) != 4 or len(dimensions) != 1:
        return None
    if not is_iota(operation.inner.operands[1], dimensions[0]):
        return None
    if operation.operand_type(0).shape[dimensions[0]] == 0:
        return None
    found = expressions(body_of(operation))
    choose = next((f for body, f in _CHOOSERS if _same_choice(body, found)), None)
    values, numbers = (constant_scalar(operation, 2), constant_scalar(operation, 3))
    name = "maximum" if choose is lax.argmax else "minimum"
    is_plain = is_identity(name, values) and numbers is not None and numbers == 0
    if choose is None or not is_plain or list(operation.inner.results[0].uses):
        return None
    index_dtype, axis = operation.result_type(1).dtype, dimensions[0]

    def run(*arguments: Any, regions: Any) -> tuple[Any, Any]:
        operand = arguments[0]
        unused = _REDUCERS[name](operand, dimensions)
        return unused, choose(operand, axis, index_dtype)

    return run


_CHOOSERS: Final = (("GT", lax.argmax), ("LT", lax.argmin))


def _same_choice(direction: str, found: list[str]) -> bool:
    """Returns whether a body is the one that JAX lowers argmin ("LT") or argmax ("GT") to."""
    for order in ("FLOAT", "SIGNED", "UNSIGNED"):
        better = f"or(compare.{direction}.{order}($0, $2), compare.NE.{order}($0, $0))"
        for numbers in ("SIGNED", "UNSIGNED"):
            earlier = f"and(compare.EQ.{order}($0, $2), compare.LT.{numbers}($1, $3))"
            expected = [f"select({better}, $0, $2)", f"select(or({better}, {earlier}), $1, $3)"]
            if found == expected:
                return True
    return False


def _map(operation: Operation) -> Runner:
    rank = operation.result_type().rank
    dimensions = operation.integers("dimensions", range(rank))

    def run(*operands: Any, regions: Any) -> Any:
        # Over fewer dimensions the body would take arrays; no version of StableHLO allows it.
        return elementwise(regions[0], len(dimensions))(*operands)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.map": Handler(_map),
    "stablehlo.reduce": Handler(_reduce),
}
