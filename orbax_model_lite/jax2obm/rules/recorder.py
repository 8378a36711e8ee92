"""Derivative rules are noted while JAX lowers a function, and marked in the module afterwards.

StableHLO has no derivative rules: without marks, differentiating a module differentiates the
program in it. `RuleRecorder` gives JAX lowering rules of its own for stop_gradient, custom_jvp and
custom_vjp; `storage` then adds the rules' functions to the finished module. How a mark looks
is said in RULES.md and spelled in `rule_marks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import jax
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.extend.core.primitives import custom_jvp_call_p, custom_vjp_call_p, stop_gradient_p
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir

from orbax_model_lite.jax2obm.rules import library as library_rules
from orbax_model_lite.jax2obm.rules import primitives as primitive_rules
from orbax_model_lite.jax2obm.rules.jaxprs import fingerprint, name_of
from orbax_model_lite.jax2obm.rules.parts import (
    TRACING_ERRORS,
    RuleParts,
    jvp_parts,
    trace,
    vjp_parts,
)
from orbax_model_lite.stablehlo.rule_marks import (
    FRONTEND_ATTRIBUTES,
    RuleKind,
    function_name,
    stop_gradient_attribute,
)

MAX_DEPTH = 4
"""How deep rules inside the functions of other rules are stored; deeper ones become opaque."""

LoweringRule = Callable[..., Sequence[Any]]

# Keeps results of a marked function that are its arguments, which jit would take out of it.
_result_p = Primitive("obm_rule_result")
_result_p.def_abstract_eval(lambda aval: aval)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRule:
    """A rule as it was met while lowering.

    Attributes:
      number: Part of the marked function's symbol.
      kind: What is known about the rule.
      name: The library's or the author's name of the function.
      parts: What is to be stored.
      parameters: Static parameters of a primitive, as a literal.
      reason: Why nothing can be stored, for kind OPAQUE.
      depth: 0 in the function itself, 1 inside the functions of its rules, and so on.
    """

    number: int
    kind: RuleKind
    name: str
    parts: RuleParts = field(default_factory=RuleParts)
    parameters: str = ""
    reason: str = ""
    depth: int = 0


@final
class RuleRecorder:
    """Collects the derivative rules of one conversion; not shared between threads.

    Example:
        recorder = RuleRecorder()
        exported = export(jitted, platforms=("cpu",), recorder=recorder)(spec)
        module = finish(exported, recorder)
    """

    def __init__(self) -> None:
        self.rules: dict[int, RecordedRule] = {}
        self._depth = 0
        self._unmarked = primitive_rules.UnmarkedContexts([_result_p])
        self._numbers: dict[tuple[str, ...], int] = {}
        self._calls: dict[tuple[int, str], Callable[..., Any]] = {}

    def lowering_rules(self) -> tuple[tuple[Primitive, LoweringRule], ...]:
        """Returns (primitive, lowering rule) pairs; they take the place of JAX's own."""
        return (
            (stop_gradient_p, _lower_stop_gradient),
            (_result_p, lambda _, value: [value]),
            (custom_jvp_call_p, self._lower_custom_jvp),
            (custom_vjp_call_p, self._lower_custom_vjp),
            *[
                (primitive, self._primitive_rule(name, primitive))
                for name, primitive in primitive_rules.marked_primitives().items()
            ],
        )

    @contextmanager
    def inside(self, rule: RecordedRule) -> Iterator[None]:
        """Within it, rules that are met are inside the functions of `rule`."""
        before, self._depth = self._depth, rule.depth + 1
        try:
            yield
        finally:
            self._depth = before

    def _lower_custom_jvp(self, context: Any, *arguments: Any, **parameters: Any) -> Sequence[Any]:
        rule = self._record_custom(parameters, RuleKind.CUSTOM_JVP, jvp_parts)
        return self._lower_call(context, rule, parameters["call_jaxpr"], arguments)

    def _lower_custom_vjp(self, context: Any, *arguments: Any, **parameters: Any) -> Sequence[Any]:
        rule = self._record_custom(parameters, RuleKind.CUSTOM_VJP, vjp_parts)
        return self._lower_call(context, rule, parameters["call_jaxpr"], arguments)

    def _primitive_rule(self, name: str, primitive: Primitive) -> LoweringRule:
        def lower(context: Any, *arguments: Any, **parameters: Any) -> Sequence[Any]:
            def program(*values: Any) -> list[Any]:
                return primitive_rules.as_list(primitive.bind(*values, **parameters))

            jaxpr = trace(program, context.avals_in)
            rule = self._record_primitive(name, primitive, parameters, jaxpr)
            inner = self._unmarked.of(context)
            return self._lower_call(inner, rule, jaxpr, arguments)

        return lower

    def _record_primitive(
        self, name: str, primitive: Primitive, parameters: dict[str, Any], jaxpr: Any
    ) -> RecordedRule:
        text = primitive_rules.parameters_text(name, parameters)
        if text is not None:
            key = (name, fingerprint(jaxpr))
            return self._numbered(key, RuleKind.PRIMITIVE, name, parameters=text)

        def parts() -> RuleParts:
            return primitive_rules.primitive_jvp_parts(primitive, parameters, jaxpr.in_avals)

        return self._record(name, jaxpr, RuleKind.CUSTOM_JVP, parts)

    def _record_custom(
        self,
        parameters: dict[str, Any],
        kind: RuleKind,
        trace_parts: Callable[[dict[str, Any]], RuleParts],
    ) -> RecordedRule:
        jaxpr, closed_over = parameters["call_jaxpr"], parameters["num_consts"]
        library_name = None if closed_over else library_rules.library_function(jaxpr)
        if library_name is not None:
            return self._numbered((library_name, str(jaxpr)), RuleKind.LIBRARY, library_name)
        name = name_of(jaxpr)
        return self._record(name, jaxpr, kind, lambda: trace_parts(parameters))

    def _record(
        self,
        name: str,
        jaxpr: Any,
        kind: RuleKind,
        parts_of: Callable[[], RuleParts],
    ) -> RecordedRule:
        """Returns the rule of a call; calls with the same program and the same rule share one."""
        try:
            if self._depth >= MAX_DEPTH:
                raise RecursionError(f"more than {MAX_DEPTH} rules inside each other")
            parts = parts_of()
        except TRACING_ERRORS as e:
            reason = f"tracing it raised {describe_error(e)}"
            key = (name, reason, fingerprint(jaxpr))
            return self._numbered(key, RuleKind.OPAQUE, name, reason=reason)
        programs = [fingerprint(part) for part in (jaxpr, *parts.jaxprs.values())]
        key = (name, str(parts.constants), str(parts.zeros), *programs)
        return self._numbered(key, kind, name, parts=parts)

    def _numbered(
        self, key: tuple[str, ...], kind: RuleKind, name: str, **known: Any
    ) -> RecordedRule:
        number = self._numbers.setdefault(key, len(self._numbers))
        if number not in self.rules:
            self.rules[number] = RecordedRule(
                number=number, kind=kind, name=name, depth=self._depth, **known
            )
        return self.rules[number]

    def _lower_call(
        self, context: Any, rule: RecordedRule, jaxpr: Any, arguments: Sequence[Any]
    ) -> Sequence[Any]:
        """Lowers a call to a private function that has the rule's number in its name."""
        key = (rule.number, fingerprint(jaxpr))
        if key not in self._calls:

            def call(*values: Any) -> list[Any]:
                return [_result_p.bind(result) for result in jaxpr_as_fun(jaxpr)(*values)]

            call.__name__ = call.__qualname__ = function_name(rule.number)
            self._calls[key] = jax.jit(call)
        return mlir.lower_fun(self._calls[key], multiple_results=True)(context, *arguments)


def _lower_stop_gradient(context: Any, value: Any) -> Sequence[Any]:
    (aval,) = context.avals_in
    if not jax.dtypes.issubdtype(aval.dtype, jax.numpy.inexact):
        return [value]
    identity = stablehlo.ConvertOp(value.type, value)
    identity.attributes[FRONTEND_ATTRIBUTES] = stop_gradient_attribute(identity.context)
    return [identity.result]


def describe_error(error: BaseException) -> str:
    """Returns an error's class and the first line of its message, if that names no file."""
    lines = str(error).strip().splitlines()
    # What ends up in a bundle says nothing about the author's machine and is the same each time.
    if not lines or re.search(r"[/\\]|\b0x", lines[0]):
        return type(error).__name__
    return f"{type(error).__name__}: {lines[0][:200]}"
