"""Marks and stored functions of derivative rules are added to the finished module of an export.

The functions of a rule are exported one by one, so that one that cannot be lowered for a platform
harms nothing but itself, and moved into the module as private functions that nothing calls. They
take what the marked function takes: platform index and dimension variables first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax import export as jax_export
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import func

from orbax_model_lite.jax2obm._jax_private import export_with_rules
from orbax_model_lite.jax2obm.rules.parts import TRACING_ERRORS
from orbax_model_lite.jax2obm.rules.recorder import RecordedRule, RuleRecorder, describe_error
from orbax_model_lite.stablehlo.module import functions, meshes, parse, symbol_name
from orbax_model_lite.stablehlo.rule_marks import (
    MarkedRule,
    RuleKind,
    function_name,
    rule_number,
    set_mark,
)

_WRAPPED_MAIN = "_wrapped_jax_export_main"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The module that rules are stored in, and how to export for it."""

    module: ir.Module
    exported: jax_export.Exported
    recorder: RuleRecorder


def store_rules(module: ir.Module, exported: jax_export.Exported, recorder: RuleRecorder) -> None:
    """Adds the marks and the stored functions of every recorded rule to a module, in place.

    To be called under the same JAX settings (x64 above all) as the export.

    Args:
      module: What `exported` holds, parsed.
      exported: Of the function that was lowered with the recorder's rules.
      recorder: The rules; those found inside rules are added to it.
    """
    target = _Target(module=module, exported=exported, recorder=recorder)
    marks: dict[int, MarkedRule] = {}
    while missing := [number for number in _marked(module, recorder) if number not in marks]:
        for number in missing:
            marks[number] = _stored(target, recorder.rules[number])
    for number, marked in _marked(module, recorder).items():
        for function in marked:
            set_mark(function, marks[number])


def _marked(module: ir.Module, recorder: RuleRecorder) -> dict[int, list[ir.Operation]]:
    """Returns the marked functions of a module by rule number, in the order of the module."""
    found: dict[int, list[ir.Operation]] = {}
    for symbol, function in functions(module).items():
        number = rule_number(symbol)
        if number in recorder.rules:
            found.setdefault(number, []).append(function)
    return found


def _stored(target: _Target, rule: RecordedRule) -> MarkedRule:
    """Stores the functions of a rule and returns its mark; an opaque one if that fails."""
    mark = MarkedRule(
        kind=rule.kind,
        name=rule.name,
        parameters=rule.parameters,
        reason=rule.reason,
    )
    try:
        with target.recorder.inside(rule):
            parts = {role: _export(target, jaxpr) for role, jaxpr in rule.parts.jaxprs.items()}
    except TRACING_ERRORS as e:
        reason = f"lowering it raised {describe_error(e)}"
        return replace(mark, kind=RuleKind.OPAQUE, reason=reason)
    names = {role: f"{function_name(rule.number)}_{role}" for role in parts}
    for role, part in parts.items():
        _move(target, part, names[role], len(rule.parts.jaxprs[role].in_avals))
    return replace(
        mark,
        jvp=names.get("jvp"),
        forward=names.get("fwd"),
        backward=names.get("bwd"),
        constants=rule.parts.constants,
        residuals=rule.parts.residuals,
        zeros=rule.parts.zeros,
    )


def _export(target: _Target, jaxpr: ClosedJaxpr) -> ir.Module:
    """Returns a module with the function of a jaxpr, in the context of the target.

    Raises:
      Any of TRACING_ERRORS: If JAX cannot lower it for all the platforms of the target.
    """
    call = jaxpr_as_fun(jaxpr)

    def function(_: Sequence[Any], *arguments: Any) -> list[Any]:
        return call(*arguments)

    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in jaxpr.in_avals]
    exported = export_with_rules(
        jax.jit(function, keep_unused=True),
        platforms=target.exported.platforms,
        disabled_checks=target.exported.disabled_safety_checks,
        rules=target.recorder.lowering_rules(),
    )(_witnesses(target.exported), *specs)
    part = parse(exported.mlir_module_serialized, context=target.module.context)
    known, needed = meshes(target.module), meshes(part)
    if any(known.get(name, mesh) != mesh for name, mesh in needed.items()):
        raise ValueError("it is written for another mesh")
    return part


def _witnesses(exported: jax_export.Exported) -> list[jax.ShapeDtypeStruct]:
    """Returns specs whose shapes tell every dimension variable, as the function's own inputs do."""
    shapes = {aval.shape for aval in exported.in_avals if not _is_static(aval.shape)}
    return [jax.ShapeDtypeStruct(shape, np.int8) for shape in sorted(shapes, key=str)]


def _is_static(shape: Sequence[Any]) -> bool:
    return all(isinstance(size, int) for size in shape)


def _move(target: _Target, part: ir.Module, name: str, arguments: int) -> None:
    """Moves the functions of a part into the target: the exported one as `name`, and its helpers.

    Args:
      target: Where to.
      part: Is empty afterwards.
      name: Symbol of the exported function.
      arguments: How many arguments it has besides the global ones and the witnesses.
    """
    found = functions(part)
    main = found.pop(_WRAPPED_MAIN if _WRAPPED_MAIN in found else "main")
    found.pop("main", None)
    taken = set(functions(target.module)) | {name}
    for symbol, helper in found.items():
        new_symbol = _free_symbol(symbol, name, taken)
        ir.SymbolTable.replace_all_symbol_uses(symbol, new_symbol, part.operation)
        ir.SymbolTable.set_symbol_name(helper, new_symbol)
        taken.add(new_symbol)
    for mesh in [op for op in part.body.operations if op.operation.name == "sdy.mesh"]:
        if symbol_name(mesh.operation) not in meshes(target.module):
            target.module.body.append(mesh)
    _rebuild(target, main, name, arguments)
    for helper in found.values():
        target.module.body.append(helper)


def _free_symbol(symbol: str, name: str, taken: set[str]) -> str:
    number = rule_number(symbol)
    stem = f"{name}_{symbol}" if number is None else function_name(number)
    free = (stem if not i else f"{stem}_{i - 1}" for i in itertools.count())
    return next(candidate for candidate in free if candidate not in taken)


def _rebuild(target: _Target, main: ir.Operation, name: str, arguments: int) -> None:
    """Moves the body of `main` into a new private function that does not take the witnesses."""
    (old,) = main.regions[0].blocks
    inputs = list(old.arguments)
    leading = len(inputs) - arguments - len(_witnesses(target.exported))
    kept = inputs[:leading] + inputs[len(inputs) - arguments :]
    results = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value).results
    with ir.InsertionPoint(target.module.body), ir.Location.unknown(target.module.context):
        function = func.FuncOp(
            name, ([argument.type for argument in kept], results), visibility="private"
        )
        new = function.add_entry_block([argument.location for argument in kept])
    for argument, replacement in zip(kept, new.arguments, strict=True):
        argument.replace_all_uses_with(replacement)
    for operation in list(old.operations):
        new.append(operation)
