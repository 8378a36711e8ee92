"""Where a file name that an operation of a SavedModel is given comes from.

A name is followed back through arguments, captures and plain calls to the asset or the constant it
began as. Anything else counts as unknown: a name computed at run time can be any name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, final

from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.core import paths
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.tf2obm.program import Program, called_functions

_PLAIN_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_PASS_ON = frozenset({"Identity", "GuaranteeConst", "StopGradient", "EnsureShape"})


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """The beginning of a file name.

    Attributes:
      kind: "asset": a file of the SavedModel; "constant": text in the program; "unknown".
      name: The asset's name in the folder of assets, or the text; "" when unknown.
    """

    kind: Literal["asset", "constant", "unknown"]
    name: str = ""

    def __str__(self) -> str:
        """Returns for example "constant '/etc/passwd'"."""
        return f"{self.kind} {self.name!r}" if self.name else f"{self.kind} name"


UNKNOWN = Origin("unknown")


@final
class Origins:
    """Answers where inputs come from, for one program.

    Every call in the library counts as a call, whether or not somebody reaches it; so an answer may
    name too many origins, never too few.
    """

    def __init__(self, program: Program) -> None:
        """Indexes the callers of every function."""
        self._program = program
        self._nodes = {
            name: {node.name: node for node in function.node_def}
            for name, function in program.functions.items()
        }
        self._callers: dict[str, list[tuple[str, saved_model_pb2.NodeDef]]] = defaultdict(list)
        for name, function in program.functions.items():
            for node in function.node_def:
                for called in {node.op, *called_functions(node)} & program.functions.keys():
                    self._callers[called].append((name, node))

    def of_input(self, function: str, node: saved_model_pb2.NodeDef, index: int) -> set[Origin]:
        """Returns the origins of a node's input.

        Args:
          function: The library function that holds the node.
          node: The operation.
          index: Which input, counted from 0.
        """
        inputs = _data_inputs(node)
        if index >= len(inputs):
            return {UNKNOWN}
        return self._trace(function, inputs[index], set())

    def _trace(self, function: str, reference: str, seen: set[tuple[str, str]]) -> set[Origin]:
        base = reference.partition(":")[0]
        if (function, base) in seen:
            return set()
        seen.add((function, base))
        definition = self._program.functions[function]
        node = self._nodes[function].get(base)
        if node is None:
            names = [argument.name for argument in definition.signature.input_arg]
            return self._argument(function, names.index(base), seen) if base in names else {UNKNOWN}
        if node.op == "Const":
            return {_constant(node)}
        inputs = _data_inputs(node)
        if node.op in _PASS_ON and inputs:
            return self._trace(function, inputs[0], seen)
        return {UNKNOWN}

    def _argument(self, function: str, position: int, seen: set[tuple[str, str]]) -> set[Origin]:
        found: set[Origin] = set()
        graph = self._program.meta_graph.object_graph_def
        if function in graph.concrete_functions:
            found.add(self._captured(function, position))
        for caller, node in self._callers[function]:
            inputs = _data_inputs(node)
            is_plain = node.op in _PLAIN_CALLS or node.op == function
            if is_plain and position < len(inputs):
                found |= self._trace(caller, inputs[position], seen)
            else:
                found.add(UNKNOWN)
        return found or {UNKNOWN}

    def _captured(self, function: str, position: int) -> Origin:
        """Returns what an object of the model passes for an argument; callers' own are unknown."""
        graph = self._program.meta_graph.object_graph_def
        captures = graph.concrete_functions[function].bound_inputs
        arguments = self._program.functions[function].signature.input_arg
        index = position - (len(arguments) - len(captures))
        if index < 0 or not 0 <= captures[index] < len(graph.nodes):
            return UNKNOWN
        node = graph.nodes[captures[index]]
        kind = node.WhichOneof("kind")
        if kind == "asset" and not node.registered_name:
            return _asset(self._program, node.asset.asset_file_def_index)
        if kind == "constant":
            nodes = self._program.meta_graph.graph_def.node
            constants = [n for n in nodes if n.name == node.constant.operation]
            return _constant(constants[0]) if len(constants) == 1 else UNKNOWN
        return UNKNOWN


def is_inside(asset: str) -> bool:
    """Whether an asset's name keeps to the folder of assets."""
    try:
        paths.require_relative(asset, "asset")
    except InvalidBundleError:
        return False
    return True


def _asset(program: Program, index: int) -> Origin:
    names = program.assets
    return Origin("asset", names[index]) if 0 <= index < len(names) else UNKNOWN


def _constant(node: saved_model_pb2.NodeDef) -> Origin:
    values = node.attr["value"].tensor.string_val if "value" in node.attr else ()
    if len(values) != 1:
        return UNKNOWN
    return Origin("constant", values[0].decode(errors="backslashreplace"))


def _data_inputs(node: saved_model_pb2.NodeDef) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
