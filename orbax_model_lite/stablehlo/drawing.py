"""Draws a module: each operation becomes a node, each scope, called function and region a group.

A private function that is called once is drawn where it is called; any other has a graph of its
own, so that every operation is drawn once and no module grows by being drawn. The nouns are in
`drawn`, attributes as text in `wording`, what belongs to no scope is placed in `arranging`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

from jaxlib.mlir import ir

from orbax_model_lite.stablehlo.arranging import Arrangement, common
from orbax_model_lite.stablehlo.drawn import (
    ARGUMENT,
    GLOBAL_CONSTANT,
    DrawnFunction,
    DrawnNode,
    Namespace,
    Wire,
)
from orbax_model_lite.stablehlo.locations import scope_of
from orbax_model_lite.stablehlo.module import as_module, functions, operations
from orbax_model_lite.stablehlo.wording import argument_texts, attribute_texts, type_text

_CONSTANTS: Final = ("stablehlo.constant", "sdy.constant")
_CALLS: Final = ("func.call", "call")
_RETURNS: Final = ("func.return", "stablehlo.return", "sdy.return", "mpmd.return")
_REFERENCES: Final = ("callee", "decomposition", "called_computations")
# What JAX and our own conversion wrap around the author's functions says nothing by itself.
_WRAPPERS: Final = ("_wrapped_jax_export_main", "closed_call", "obm_rule_")
_DEEPEST: Final = 40
_REGIONS: Final = {"stablehlo.while": ("condition", "body"), "stablehlo.if": ("then", "else")}
# Operations whose regions take their operands one by one.
_HANDING_ON: Final = ("stablehlo.while", "stablehlo.map", "sdy.manual_computation")
# What JAX puts between the scope of a loop or branch and the scopes inside.
_BETWEEN: Final = ("body", "cond", "closed_call", "body_fun", "cond_fun")


def draw(
    source: bytes | str | ir.Module, *, most_values: int = 16, where: str = "StableHLO module"
) -> list[DrawnFunction]:
    """Returns the functions of a module as graphs, "main" first.

    Terminators and calls of functions that are drawn into their caller are wires, no nodes; and an
    operation whose region is one operation (the addition of a reduction) has it as an attribute.

    Args:
      source: A portable artifact, MLIR text or a parsed module.
      most_values: Elements of a constant that are written out; of a longer one, only how many.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If bytes or text do not parse.
      UnsupportedError: If the module is written at a newer version than this jaxlib knows.
    """
    module = as_module(source, where=where)
    there = functions(module)
    callers = _callers(module)
    sheets = _Sheets(there=there, callers=callers, most_values=most_values)
    # First what main reaches, then what nothing calls, then what only itself calls.
    for name in ("main", *(name for name in there if not callers[name]), *there):
        sheets.draw_from(name)
    return list(sheets.drawn.values())


def combiner_of(operation: ir.Operation) -> str:
    """Returns what the only region of an operation computes if that is one operation, else ""."""
    if len(operation.regions) != 1 or len(operation.regions[0].blocks) != 1:
        return ""
    inner = [op.operation for op in operation.regions[0].blocks[0].operations]
    if len(inner) != 2 or inner[1].name not in _RETURNS or inner[0].regions:
        return ""
    return inner[0].name if _called(inner[0]) == () else ""


def _callers(module: ir.Module) -> Counter[str]:
    """Returns how often each function is called; other references to it count as two calls."""
    found = Counter[str]()
    for operation in operations(module):
        for name in _called(operation):
            found[name] += 1 if operation.name in _CALLS else 2
    return found


def _called(operation: ir.Operation) -> tuple[str, ...]:
    found: list[str] = []
    for name in _REFERENCES:
        if name in operation.attributes:
            attribute = operation.attributes[name]
            entries = attribute if isinstance(attribute, ir.ArrayAttr) else [attribute]
            found += [e.value for e in entries if isinstance(e, ir.FlatSymbolRefAttr)]
    return tuple(found)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheets:
    """The graphs of one module, and which functions are drawn inside another's."""

    there: dict[str, ir.Operation]
    callers: Counter[str]
    most_values: int
    drawn: dict[str, DrawnFunction] = field(default_factory=dict)
    inlined: set[str] = field(default_factory=set)

    def draw_from(self, first: str) -> None:
        """Draws a function and all that it reaches, unless it is drawn."""
        waiting = [first]
        for name in waiting:
            if name in self.there and name not in self.drawn and name not in self.inlined:
                self.drawn[name] = _Graph(self, name).finished()
                waiting.extend(call for node in self.drawn[name].nodes for call in node.calls)


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """Where operations are drawn: groups around them, and the scope that those stand for."""

    namespace: Namespace = ()
    scope: Namespace = ()

    def below(self, scope: Namespace) -> Namespace:
        """Returns the groups for an operation of this scope."""
        shared = common(scope, self.scope)
        rest = scope[len(shared) :]
        while shared and rest and (rest[0] in _BETWEEN or rest[0].startswith("branch_")):
            rest = rest[1:]
        return (*self.namespace, *rest[:-1])


class _Graph:
    """One graph while it is drawn."""

    def __init__(self, sheets: _Sheets, name: str) -> None:
        self._sheets = sheets
        self._name = name
        self._active = {name}
        self._nodes: list[DrawnNode] = []
        self._wires: dict[ir.Value, Wire] = {}
        self._arrangement = Arrangement()
        self._groups = Counter[Namespace]()

    def finished(self) -> DrawnFunction:
        """Returns the graph of the function."""
        function = self._sheets.there[self._name]
        arguments: list[str] = []
        results: list[Wire | None] = []
        if function.regions and len(function.regions[0].blocks):
            texts = argument_texts(function)
            block = function.regions[0].blocks[0]
            for argument, attributes in zip(block.arguments, texts, strict=True):
                name = scope_of(argument.location).strip(":")
                told = attributes | ({"name": name} if name else {})
                arguments.append(self._argument(argument, _Place(), told, None))
                self._arrangement.scopeless.add(arguments[-1])
                if GLOBAL_CONSTANT in attributes:
                    self._arrangement.constants[arguments[-1]] = ()
            results = self._region(function.regions[0], _Place())
        return DrawnFunction(
            name=self._name,
            nodes=tuple(self._arrangement.arranged(self._nodes)),
            arguments=tuple(arguments),
            results=tuple([wire for wire in results if wire is not None]),
        )

    def _argument(
        self, argument: ir.Value, place: _Place, attributes: dict[str, str], source: Wire | None
    ) -> str:
        return self._add(ARGUMENT, place.namespace, [source], [argument], attributes)

    def _add(  # noqa: PLR0917
        self,
        name: str,
        namespace: Namespace,
        operands: Sequence[Wire | None],
        results: Sequence[ir.Value],
        attributes: dict[str, str],
        calls: tuple[str, ...] = (),
    ) -> str:
        node = DrawnNode(
            id=f"{_short(name)} {len(self._nodes)}",
            name=name,
            namespace=namespace,
            operands=tuple([wire for wire in operands if wire is not None]),
            results=tuple([type_text(result.type) for result in results]),
            attributes=attributes,
            calls=calls,
        )
        self._nodes.append(node)
        self._wires.update({result: (node.id, i) for i, result in enumerate(results)})
        return node.id

    def _region(self, region: ir.Region, place: _Place) -> list[Wire | None]:
        """Draws what a region holds; returns where what it gives back comes from."""
        returned: list[Wire | None] = []
        for block in region.blocks:
            for operation in block.operations:
                returned = self._drawn(operation.operation, place)
        return returned

    def _drawn(self, operation: ir.Operation, place: _Place) -> list[Wire | None]:
        """Draws an operation; for a terminator, returns where its operands come from."""
        operands = [self._wires.get(value) for value in operation.operands]
        if operation.name in _RETURNS:
            return operands
        called = _called(operation)
        if operation.name in _CALLS and self._is_inlined(operation, *called):
            self._inline(operation, called[0], operands, place)
        else:
            self._draw(operation, operands, place, called)
        return []

    def _is_inlined(self, call: ir.Operation, *called: str) -> bool:
        (name,) = called if len(called) == 1 else ("",)
        sheets = self._sheets
        if name not in sheets.there or name in self._active | sheets.drawn.keys():
            return False
        regions = sheets.there[name].regions
        return (
            sheets.callers[name] == 1
            and len(self._active) < _DEEPEST
            and len(regions) == 1
            and len(regions[0].blocks) == 1
            and len(regions[0].blocks[0].arguments) == len(call.operands)
        )

    def _inline(
        self, call: ir.Operation, name: str, operands: list[Wire | None], place: _Place
    ) -> None:
        self._sheets.inlined.add(name)
        self._active.add(name)
        region = self._sheets.there[name].regions[0]
        for argument, wire in zip(region.blocks[0].arguments, operands, strict=True):
            if wire is not None:
                self._wires[argument] = wire
        scope = _scope(call)
        namespace = place.below(scope) if scope else place.namespace
        inside = namespace if name.startswith(_WRAPPERS) else (*namespace, name)
        returned = self._region(region, _Place(inside, scope or place.scope))
        for result, wire in zip(call.results, returned, strict=False):
            if wire is not None:
                self._wires[result] = wire
        self._active.remove(name)

    def _draw(
        self,
        operation: ir.Operation,
        operands: list[Wire | None],
        place: _Place,
        called: tuple[str, ...],
    ) -> None:
        scope = _scope(operation)
        namespace = place.below(scope) if scope else place.namespace
        attributes = attribute_texts(operation, self._sheets.most_values)
        combiner = combiner_of(operation)
        returned: list[Wire | None] = []
        if combiner:
            attributes["combines with"] = combiner
        elif operation.regions:
            namespace = self._group((*namespace, scope[-1] if scope else _short(operation.name)))
            inside = _Place(namespace, scope or place.scope)
            returned = self._regions(operation, operands, inside)
        node = self._add(
            operation.name,
            namespace,
            operands=[*operands, *returned],
            results=list(operation.results),
            attributes=attributes | ({"scope": "/".join(scope)} if scope else {}),
            calls=tuple([name for name in called if name in self._sheets.there]),
        )
        if not scope and not operation.regions:
            self._arrangement.scopeless.add(node)
        if operation.name in _CONSTANTS:
            self._arrangement.constants[node] = place.namespace

    def _regions(
        self, operation: ir.Operation, operands: list[Wire | None], place: _Place
    ) -> list[Wire | None]:
        returned: list[Wire | None] = []
        count = len(operation.regions)
        for i, region in enumerate(operation.regions):
            names = _REGIONS.get(operation.name, ())
            name = names[i] if i < len(names) else f"branch {i}"
            inside = replace(place, namespace=(*place.namespace, name)) if count > 1 else place
            sources = operands if operation.name in _HANDING_ON else []
            for block in region.blocks:
                for k, argument in enumerate(block.arguments):
                    source = sources[k] if k < len(sources) else None
                    self._argument(argument, inside, {}, source)
            returned += self._region(region, inside)
        return returned

    def _group(self, wanted: Namespace) -> Namespace:
        """Returns a group of its own for an operation with regions."""
        self._groups[wanted] += 1
        count = self._groups[wanted]
        found = wanted if count == 1 else (*wanted[:-1], f"{wanted[-1]} {count}")
        self._arrangement.regions.add(found)
        return found


def _scope(operation: ir.Operation) -> Namespace:
    """Returns the author's scope of an operation, with what it was in JAX as the last part."""
    parts = [part for part in scope_of(operation.location).strip(":").split("/") if part]
    # The functions that were traced as a whole.
    while parts and parts[0].startswith("jit("):
        parts.pop(0)
    return tuple(parts)


def _short(name: str) -> str:
    return name.rpartition(".")[2]
