"""Conversions of the element type: by value and by bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.rules.restoring import stops_gradient


def _convert(operation: Operation) -> Runner:
    if stops_gradient(operation):
        return lax.stop_gradient
    source, target = operation.operand_type().dtype, operation.result_type().dtype
    if source.kind == "c" and target.kind != "c":
        # The same conversion, without JAX's warning that the imaginary part is dropped.
        return lambda x: _converted(lax.real(x), target)
    return lambda x: _converted(x, target)


def _converted(x: Any, target: Any) -> Any:
    return lax.convert_element_type(x, target)


def _bitcast(operation: Operation) -> Runner:
    source, target = operation.operand_type().dtype, operation.result_type().dtype
    if source != target and {source.kind, target.kind} & {"b", "c"}:
        raise NotLiftable(f"no counterpart in JAX for the bits of {source} as {target}")
    return lambda x: lax.bitcast_convert_type(x, target)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.bitcast_convert": Handler(_bitcast),
    "stablehlo.convert": Handler(_convert),
}
