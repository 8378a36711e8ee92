"""Comparisons, in the order of numbers or in the total order of floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner

_ORDER: Final[Mapping[str, Callable[..., Any]]] = {
    "EQ": lax.eq,
    "GE": lax.ge,
    "GT": lax.gt,
    "LE": lax.le,
    "LT": lax.lt,
    "NE": lax.ne,
}

# -NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN. JAX has three of the six, as primitives without
# a public function, and lowers them to the same comparison.
_TOTAL_ORDER: Final[Mapping[str, Callable[..., Any]]] = {
    "EQ": lax.eq_to_p.bind,
    "GE": lambda x, y: lax.le_to_p.bind(y, x),
    "GT": lambda x, y: lax.lt_to_p.bind(y, x),
    "LE": lax.le_to_p.bind,
    "LT": lax.lt_to_p.bind,
    "NE": lambda x, y: lax.bitwise_not(lax.eq_to_p.bind(x, y)),
}


def _compare(operation: Operation) -> Runner:
    # Of the other kinds (FLOAT, SIGNED, UNSIGNED) each belongs to the dtypes, so JAX chooses it.
    total = operation.enum("compare_type", "NOTYPE") == "TOTALORDER"
    return (_TOTAL_ORDER if total else _ORDER)[operation.enum("comparison_direction")]


OPERATIONS: Final[Mapping[str, Handler]] = {"stablehlo.compare": Handler(_compare)}
