"""Operations of CHLO: special functions, implicit broadcasting, ragged contractions, top-k.

Portable artifacts have some of them as composites (see `composites`) and the others written out in
StableHLO; only text has them as they are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import chlo

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations import comparisons, elementwise
from orbax_model_lite.lift.operations.dense import dense_values
from orbax_model_lite.lift.operations.dot import precision_of
from orbax_model_lite.lift.operations.topk import top_k
from orbax_model_lite.lift.problems import NotLiftable


def _is_infinite(*wanted: float) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        found = [lax.eq(x, jnp.full_like(x, value)) for value in wanted]
        return found[0] if len(found) == 1 else lax.bitwise_or(*found)

    return run


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "chlo.acos": lax.acos,
    "chlo.acosh": lax.acosh,
    "chlo.asin": lax.asin,
    "chlo.asinh": lax.asinh,
    "chlo.atan": lax.atan,
    "chlo.atanh": lax.atanh,
    "chlo.bessel_i1e": lax.bessel_i1e,
    "chlo.conj": jnp.conj,
    "chlo.cosh": lax.cosh,
    "chlo.digamma": lax.digamma,
    "chlo.erf": lax.erf,
    "chlo.erf_inv": lax.erf_inv,
    "chlo.erfc": lax.erfc,
    "chlo.is_inf": _is_infinite(np.inf, -np.inf),
    "chlo.is_neg_inf": _is_infinite(-np.inf),
    "chlo.is_pos_inf": _is_infinite(np.inf),
    "chlo.lgamma": lax.lgamma,
    "chlo.mulhi": lax.mulhi,
    "chlo.next_after": lax.nextafter,
    "chlo.polygamma": lax.polygamma,
    "chlo.sinh": lax.sinh,
    "chlo.square": lax.square,
    "chlo.tan": lax.tan,
    "chlo.zeta": lax.zeta,
}
"""Functions of arrays of one shape: of the operation, and of the composite with its name."""


def _function(name: str) -> Handler:
    return Handler(lambda operation: FUNCTIONS[name])


def _broadcast(inner: Handler) -> Handler:
    """Returns what broadcasts the operands to one shape and runs another operation on them."""

    def build(operation: Operation) -> Runner:
        run = inner.build(operation)
        dimensions = operation.integers("broadcast_dimensions", ())
        assert callable(run)
        return lambda *operands: run(*_to_one_shape(operands, dimensions))

    return Handler(build)


def _to_one_shape(operands: Sequence[Any], dimensions: Sequence[int]) -> list[Any]:
    """Returns operands with the broadcasting of NumPy.

    Args:
      operands: Arrays.
      dimensions: Those of the result that an operand of lower rank has; empty for the last ones.
    """
    rank = max(x.ndim for x in operands)
    aligned = [_aligned(x, rank, dimensions) for x in operands]
    shape = jnp.broadcast_shapes(*(x.shape for x in aligned))
    return [jnp.broadcast_to(x, shape) for x in aligned]


def _aligned(x: Any, rank: int, dimensions: Sequence[int]) -> Any:
    if x.ndim == rank:
        return x
    own = dimensions or range(rank - x.ndim, rank)
    return lax.expand_dims(x, [d for d in range(rank) if d not in own])


_BROADCAST: Final[Mapping[str, Handler]] = {
    **{
        f"chlo.broadcast_{name}": elementwise.OPERATIONS[f"stablehlo.{name}"]
        for name in (
            *("add", "and", "atan2", "complex", "divide", "maximum", "minimum", "multiply", "or"),
            *("power", "remainder", "select", "shift_left", "shift_right_arithmetic"),
            *("shift_right_logical", "subtract", "xor"),
        )
    },
    "chlo.broadcast_compare": comparisons.OPERATIONS["stablehlo.compare"],
    "chlo.broadcast_next_after": _function("chlo.next_after"),
    "chlo.broadcast_polygamma": _function("chlo.polygamma"),
    "chlo.broadcast_zeta": _function("chlo.zeta"),
}


def _constant_like(operation: Operation) -> Runner:
    attribute, dtype = operation.attribute("value"), operation.result_type().dtype
    if not isinstance(attribute, (ir.BoolAttr, ir.IntegerAttr, ir.FloatAttr)):
        raise NotLiftable(f"a constant {attribute}")
    value = np.asarray(attribute.value).astype(dtype)
    return lambda x: lax.full(x.shape, value, dtype)


def _constant(operation: Operation) -> Runner:
    value = dense_values(operation.inner, operation.result_type())
    return lambda: value


def _top_k(operation: Operation) -> Runner:
    return top_k(operation.integer("k"), operation)


def _ragged_dot(operation: Operation) -> Runner:
    found = chlo.RaggedDotDimensionNumbers(operation.attribute("ragged_dot_dimension_numbers"))
    numbers = lax.RaggedDotDimensionNumbers(
        dot_dimension_numbers=(
            (tuple(found.lhs_contracting_dimensions), tuple(found.rhs_contracting_dimensions)),
            (tuple(found.lhs_batching_dimensions), tuple(found.rhs_batching_dimensions)),
        ),
        lhs_ragged_dimensions=tuple(found.lhs_ragged_dimensions),
        rhs_group_dimensions=tuple(found.rhs_group_dimensions),
    )
    precision, result = precision_of(operation), operation.result_type().dtype

    def run(lhs: Any, rhs: Any, group_sizes: Any) -> Any:
        return lax.ragged_dot_general(
            lhs, rhs, group_sizes, numbers, precision=precision, preferred_element_type=result
        )

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    **{name: _function(name) for name in FUNCTIONS},
    **{name: _broadcast(inner) for name, inner in _BROADCAST.items()},
    "chlo.constant": Handler(_constant),
    "chlo.constant_like": Handler(_constant_like),
    "chlo.ragged_dot": Handler(_ragged_dot),
    "chlo.top_k": Handler(_top_k),
}
