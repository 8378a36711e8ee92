"""Derivative rules that `jax2obm.convert` marked, given back to JAX.

A marked function becomes a call with a custom derivative: its value stays that of the stored
program, its derivative is the author's. What a mark means is told in stablehlo/RULES.md; the
derivatives themselves are in `functions`.
"""

from __future__ import annotations

from typing import Any

from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.rules.calls import MarkedFunction
from orbax_model_lite.lift.rules.functions import (
    by_function,
    by_stored_jvp,
    by_stored_vjp,
    refused,
)
from orbax_model_lite.stablehlo import jax_rules
from orbax_model_lite.stablehlo.rule_marks import RuleKind, is_stop_gradient, mark_of

_GLOBAL = "jax.global_constant"


def stops_gradient(operation: Operation) -> bool:
    """Returns whether an identity marks a stopped gradient, and marks count."""
    return operation.around.options.derivative == "rules" and is_stop_gradient(operation.inner)


def call_by_rule(operation: Operation, program: Program) -> Runner | None:
    """Returns a call of a function with its derivative rule; None if it has none that counts.

    Args:
      operation: The call.
      program: What it calls.
    """
    function = operation.around.function(operation.text("callee"))
    mark = mark_of(function)
    if mark is None or operation.around.options.derivative == "program":
        return None
    marked = MarkedFunction(program=program, mark=mark, leading=_leading(function))
    return _RULES[mark.kind](operation, marked)


def _leading(function: ir.Operation) -> int:
    """Returns how many arguments a function has that every function of its module has."""
    attributes = function.attributes
    found = ir.ArrayAttr(attributes["arg_attrs"]) if "arg_attrs" in attributes else ()
    return sum(_GLOBAL in ir.DictAttr(of_argument) for of_argument in found)


def _library(operation: Operation, marked: MarkedFunction) -> Runner:
    del operation
    function = jax_rules.library_function(marked.mark.name)
    if function is None:
        return refused(marked, "this JAX has no such function")
    return by_function(marked, function)


def _primitive(operation: Operation, marked: MarkedFunction) -> Runner:
    del operation
    primitive = jax_rules.primitive(marked.mark.name)
    parameters = jax_rules.parameters(marked.mark.parameters)
    if primitive is None:
        return refused(marked, "this JAX has no such primitive")
    if parameters is None:
        return refused(marked, "its parameters are not a literal")

    def bind(*values: Any) -> Any:
        try:
            return primitive.bind(*values, **parameters)
        except TypeError as e:
            raise marked.refuse(f"this JAX does not take its parameters ({e})") from e

    return by_function(marked, bind)


def _custom_jvp(operation: Operation, marked: MarkedFunction) -> Runner:
    mark = marked.mark
    taken, given = len(operation.operand_types), len(operation.result_types)
    counts = 2 * taken - marked.first_differentiable, given + mark.zeros.count(False)
    jvp = _stored(operation, mark.jvp, counts)
    if jvp is None or len(mark.zeros) != given:
        return refused(marked, _MISSING)
    return by_stored_jvp(marked, jvp)


def _custom_vjp(operation: Operation, marked: MarkedFunction) -> Runner:
    mark = marked.mark
    taken, given = len(operation.operand_types), len(operation.result_types)
    forward = _stored(operation, mark.forward, (taken, mark.residuals + given))
    counts = marked.leading + mark.residuals + given, mark.zeros.count(False)
    backward = _stored(operation, mark.backward, counts)
    is_whole = len(mark.zeros) == taken - marked.first_differentiable
    if forward is None or backward is None or not is_whole:
        return refused(marked, _MISSING)
    return by_stored_vjp(marked, forward, backward)


def _opaque(operation: Operation, marked: MarkedFunction) -> Runner:
    del operation
    return refused(marked, marked.mark.reason or "it could not be stored")


_MISSING = "its functions are not in the module, or do not fit"
_RULES: dict[RuleKind, Any] = {
    RuleKind.LIBRARY: _library,
    RuleKind.PRIMITIVE: _primitive,
    RuleKind.CUSTOM_JVP: _custom_jvp,
    RuleKind.CUSTOM_VJP: _custom_vjp,
    RuleKind.OPAQUE: _opaque,
    # On a function it is not what the writer of marks does.
    RuleKind.STOP_GRADIENT: _opaque,
}


def _stored(operation: Operation, symbol: str | None, counts: tuple[int, int]) -> Program | None:
    """Returns a function that only a rule uses; None if the module has none that fits.

    Args:
      operation: The call of the marked function.
      symbol: Of the stored function.
      counts: How many arguments and results it must have.
    """
    if symbol is None:
        return None
    try:
        program = operation.around.program(symbol, is_called=False)
    except NotLiftable:
        return None
    type_ = ir.TypeAttr(operation.around.function(symbol).attributes["function_type"]).value
    found = ir.FunctionType(type_)
    return program if (len(found.inputs), len(found.results)) == counts else None
