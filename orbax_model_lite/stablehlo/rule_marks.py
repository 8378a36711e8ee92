"""How derivative rules are marked in a StableHLO module: the names, and the reader of the marks.

RULES.md in this folder describes the convention. Writing the marks is in `jax2obm.rules`.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import final

from jax.extend.mlir import ir

from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.stablehlo.module import as_module, functions, operations, string

FRONTEND_ATTRIBUTES = "mhlo.frontend_attributes"
RULE = "obm.rule"
NAME = "obm.rule_name"
CONSTANTS = "obm.rule_constants"
JVP = "obm.rule_jvp"
FORWARD = "obm.rule_fwd"
BACKWARD = "obm.rule_bwd"
RESIDUALS = "obm.rule_residuals"
ZEROS = "obm.rule_zeros"
PARAMETERS = "obm.rule_params"
REASON = "obm.rule_reason"

_FUNCTION_NAME = re.compile(r"obm_rule_(\d+)(?:_\d+)?")


class RuleKind(enum.StrEnum):
    """What is known about a marked derivative rule."""

    STOP_GRADIENT = "stop_gradient"
    LIBRARY = "library"
    PRIMITIVE = "primitive"
    CUSTOM_JVP = "custom_jvp"
    CUSTOM_VJP = "custom_vjp"
    OPAQUE = "opaque"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRule:
    """One derivative rule of a module, and the functions that belong to it.

    Attributes:
      kind: What is known about the rule.
      name: The library's function or primitive, or the author's function, without its file.
      function: Symbol of the marked function; None for stop_gradient, which marks operations.
      places: How many operations use it.
      constants: How many arguments, the first ones after the global ones, have no derivative.
      jvp: Symbol of the stored function for kind CUSTOM_JVP.
      forward: Symbol of the stored forward function for kind CUSTOM_VJP.
      backward: Symbol of the stored backward function for kind CUSTOM_VJP.
      residuals: How many results of `forward` are passed on to `backward`.
      zeros: Per output's tangent (CUSTOM_JVP), or per cotangent of the arguments that have a
        derivative (CUSTOM_VJP): whether it is zero, and so missing among the results of `jvp` or
        `backward`.
      parameters: Static parameters of a primitive, as text that `ast.literal_eval` reads.
      reason: Why the rule could not be stored, for kind OPAQUE.
    """

    kind: RuleKind
    name: str
    function: str | None = None
    places: int = 0
    constants: int = 0
    jvp: str | None = None
    forward: str | None = None
    backward: str | None = None
    residuals: int = 0
    zeros: tuple[bool, ...] = ()
    parameters: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """Returns for example "custom_vjp clip_gradient"; "stop_gradient" for that."""
        kind = self.kind.value
        return kind if self.function is None else f"{kind} {self.name}"


def function_name(number: int) -> str:
    """Returns the symbol of the marked function number `number`."""
    return f"obm_rule_{number}"


def rule_number(symbol: str) -> int | None:
    """Returns the number in a marked function's symbol; several functions may carry the same."""
    found = _FUNCTION_NAME.fullmatch(symbol)
    return int(found.group(1)) if found else None


def stop_gradient_attribute(context: ir.Context) -> ir.Attribute:
    """Returns the frontend attributes of the identity that marks a stopped gradient."""
    name = ir.StringAttr.get(RuleKind.STOP_GRADIENT, context)
    return ir.DictAttr.get({RULE: name}, context)


def is_stop_gradient(operation: ir.Operation) -> bool:
    """Returns whether an operation is an identity that marks a stopped gradient."""
    if operation.name != "stablehlo.convert" or FRONTEND_ATTRIBUTES not in operation.attributes:
        return False
    attributes = operation.attributes[FRONTEND_ATTRIBUTES]
    if not isinstance(attributes, ir.DictAttr) or RULE not in attributes:
        return False
    value = attributes[RULE]
    return isinstance(value, ir.StringAttr) and string(value) == RuleKind.STOP_GRADIENT


def set_mark(function: ir.Operation, rule: MarkedRule) -> None:
    """Writes a rule as attributes of its function; `mark_of` reads them back."""
    context = function.context
    integer = ir.IntegerType.get_signless(64, context)
    texts = {
        RULE: rule.kind,
        NAME: rule.name,
        JVP: rule.jvp,
        FORWARD: rule.forward,
        BACKWARD: rule.backward,
        PARAMETERS: rule.parameters,
        REASON: rule.reason,
    }
    for key, text in texts.items():
        if text:
            function.attributes[key] = ir.StringAttr.get(text, context)
    for key, number in {CONSTANTS: rule.constants, RESIDUALS: rule.residuals}.items():
        if number:
            function.attributes[key] = ir.IntegerAttr.get(integer, number)
    if rule.zeros:
        zeros = [ir.BoolAttr.get(zero, context) for zero in rule.zeros]
        function.attributes[ZEROS] = ir.ArrayAttr.get(zeros, context)


def mark_of(function: ir.Operation) -> MarkedRule | None:
    """Returns the rule that a function carries, with no places counted; None without one.

    An unknown kind, which a later version may write, is read as OPAQUE.

    Raises:
      InvalidBundleError: If an attribute of the mark is of the wrong type.
    """
    if function.name != "func.func" or RULE not in function.attributes:
        return None
    try:
        return _read_mark(function)
    except ValueError as e:
        raise InvalidBundleError(
            f"function {string(function.attributes['sym_name'])!r}: expected the attributes of a "
            f"derivative rule; found one of another type ({e}); get an undamaged copy"
        ) from e


def _read_mark(function: ir.Operation) -> MarkedRule:
    attributes = function.attributes

    def text(key: str) -> str:
        return string(attributes[key]) if key in attributes else ""

    def number(key: str) -> int:
        return ir.IntegerAttr(attributes[key]).value if key in attributes else 0

    kind = text(RULE)
    is_known = kind in RuleKind.__members__.values()
    zeros = ir.ArrayAttr(attributes[ZEROS]) if ZEROS in attributes else ()
    return MarkedRule(
        kind=RuleKind(kind) if is_known else RuleKind.OPAQUE,
        name=text(NAME),
        function=string(attributes["sym_name"]),
        constants=number(CONSTANTS),
        jvp=text(JVP) or None,
        forward=text(FORWARD) or None,
        backward=text(BACKWARD) or None,
        residuals=number(RESIDUALS),
        zeros=tuple(ir.BoolAttr(zero).value for zero in zeros),
        parameters=text(PARAMETERS),
        reason=text(REASON) if is_known else f"a rule of the unknown kind {kind!r}",
    )


def marked_rules(source: bytes | ir.Module) -> list[MarkedRule]:
    """Returns the derivative rules of a module: stop_gradient first, then by function.

    Rules that only other rules use are among them.

    Args:
      source: A portable artifact or a parsed module.

    Raises:
      InvalidBundleError: If the bytes are not a portable artifact, or a mark is malformed.
    """
    module = as_module(source)
    stopped, calls = 0, Counter[str]()
    for operation in operations(module):
        if is_stop_gradient(operation):
            stopped += 1
        elif operation.name == "func.call":
            calls[ir.FlatSymbolRefAttr(operation.attributes["callee"]).value] += 1
    rules = []
    if stopped:
        kind = RuleKind.STOP_GRADIENT
        rules.append(MarkedRule(kind=kind, name="jax.lax.stop_gradient", places=stopped))
    for symbol, function in functions(module).items():
        mark = mark_of(function)
        if mark is not None:
            rules.append(replace(mark, places=calls[symbol]))
    return rules
