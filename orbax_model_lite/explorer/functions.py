"""The graph of one function: its inputs and outputs by name, and its StableHLO between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from model_explorer import graph_builder as gb

from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.explorer import nodes
from orbax_model_lite.explorer.nodes import End
from orbax_model_lite.stablehlo.drawn import ARGUMENT, GLOBAL_CONSTANT, DrawnFunction, DrawnNode

_TOKENS: Final = ("jax.token", "!stablehlo.token")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a function takes and gives.

    Attributes:
      inputs: In flatten order, weights included.
      weights: What the weights among the inputs are called, by position.
      outputs: In flatten order.
    """

    inputs: Sequence[End]
    weights: Mapping[int, str]
    outputs: Sequence[End]


def opaque_graph(
    identity: str, interface: Interface, label: str, attributes: Mapping[str, str], forms: list[str]
) -> gb.Graph:
    """Returns the graph of a function whose program is not shown: one node between its ends.

    Args:
      identity: Of the graph.
      interface: What the function takes and gives.
      label: Name of the function.
      attributes: What is known about it.
      forms: Graphs of its StableHLO form.
    """
    taken = [
        nodes.node(
            f"input {i}",
            f"{'weight' if i in interface.weights else 'input'} {end.name}",
            "weight" if i in interface.weights else "input",
            {"path": end.name, "type": str(end.leaf), "of": interface.weights.get(i, "")},
            [nodes.described(end)],
            namespace="weights" if i in interface.weights else "",
        )
        for i, end in enumerate(interface.inputs)
    ]
    function = nodes.node(
        "function",
        label,
        "problem" if attributes.get("problem") else "stage",
        attributes,
        [nodes.described(end) for end in interface.outputs],
        incomingEdges=[nodes.edge(end.id, 0, i) for i, end in enumerate(taken)],
        subgraphIds=forms,
    )
    given = nodes.end_nodes("output", interface.outputs)
    for i, end in enumerate(given):
        end.incomingEdges = [nodes.edge("function", i, 0)]
    return gb.Graph(id=identity, nodes=[*taken, function, *given])


def module_graphs(
    identity: str,
    function: ShloFunction,
    interface: Interface,
    drawn: Sequence[DrawnFunction],
) -> list[gb.Graph]:
    """Returns the graph of a StableHLO function, then those of functions that it calls often.

    Args:
      identity: Of the graph; the others' names begin with it.
      function: Of the bundle.
      interface: What it takes and gives.
      drawn: Its module; "main" comes first.
    """
    identities = {f.name: identity if f.name == "main" else f"{identity} / {f.name}" for f in drawn}
    linked = _first_callers(drawn)
    graphs: list[gb.Graph] = []
    for one in drawn:
        is_main = one.name == "main"
        ends = _main_ends(one, function, interface) if is_main else _private_ends(one)
        links = {name: identities[name] for name in linked.get(one.name, ())}
        graphs.append(_graph(identities[one.name], one, ends, links))
    return graphs


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """The nodes of a graph's arguments by id, and those that its results flow to."""

    arguments: Mapping[str, gb.GraphNode]
    results: Sequence[gb.GraphNode]


def _graph(identity: str, drawn: DrawnFunction, ends: _Ends, links: Mapping[str, str]) -> gb.Graph:
    made = [ends.arguments.get(found.id) or _operation(found, links) for found in drawn.nodes]
    for end, (source, result) in zip(ends.results, drawn.results, strict=False):
        end.incomingEdges = [nodes.edge(source, result, 0)]
    return gb.Graph(id=identity, nodes=[*made, *ends.results])


def _operation(found: DrawnNode, links: Mapping[str, str]) -> gb.GraphNode:
    attributes = {"repeats": found.copy_of, "calls": ", ".join(found.calls)}
    if found.name != ARGUMENT:
        attributes["operation"] = found.name
    attributes |= found.attributes
    return nodes.node(
        found.id,
        _label(found),
        attributes=attributes,
        results=[{"shape": kind} for kind in found.results],
        namespace=nodes.group_path(found.namespace),
        incomingEdges=[
            nodes.edge(source, result, i) for i, (source, result) in enumerate(found.operands)
        ],
        subgraphIds=[links[name] for name in found.calls if name in links],
    )


def _label(found: DrawnNode) -> str:
    """Returns an operation's name without its dialect; of a call of another program, that too."""
    if found.name == ARGUMENT and _extra_name(found):
        return _extra_name(found)
    called = found.attributes.get("call_target_name", "")
    return " ".join(filter(None, (found.name.rpartition(".")[2], called or " ".join(found.calls))))


def _main_ends(drawn: DrawnFunction, function: ShloFunction, interface: Interface) -> _Ends:
    """Names the arguments and results of a module as the bundle's signature does."""
    by_id = {found.id: found for found in drawn.nodes}
    taken = [identity for identity in drawn.arguments if not _extra_name(by_id[identity])]
    positions: dict[str, int] = {}
    if len(taken) == len(function.kept_inputs):
        positions = dict(zip(taken, function.kept_inputs, strict=True))
    arguments = {}
    for i, identity in enumerate(drawn.arguments):
        found, position = by_id[identity], positions.get(identity, len(interface.inputs))
        if position < len(interface.inputs):
            arguments[identity] = _input(found, position, interface)
        else:
            arguments[identity] = _unnamed(found, _extra_name(found) or f"argument {i}")
    # Tokens of ordered effects come before the results.
    first = len(drawn.results) - len(interface.outputs)
    named = nodes.end_nodes("output", interface.outputs)
    results = [_unnamed_result(f"token {i}") for i in range(first)] + named[max(0, -first) :]
    return _Ends(arguments=arguments, results=results)


def _private_ends(drawn: DrawnFunction) -> _Ends:
    by_id = {found.id: found for found in drawn.nodes}
    return _Ends(
        arguments={
            identity: _unnamed(by_id[identity], _extra_name(by_id[identity]) or f"input {i}")
            for i, identity in enumerate(drawn.arguments)
        },
        results=[_unnamed_result(f"output {i}") for i in range(len(drawn.results))],
    )


def _input(found: DrawnNode, position: int, interface: Interface) -> gb.GraphNode:
    end = interface.inputs[position]
    weights = interface.weights.get(position, "")
    return nodes.node(
        found.id,
        f"{'weight' if weights else 'input'} {end.name}",
        "weight" if weights else "input",
        {"path": end.name, "type": str(end.leaf), "of": weights} | dict(found.attributes),
        [nodes.described(end)],
        # Weights are beside what uses them, so that what flows is not lost among them.
        namespace=nodes.group_path(found.namespace) if weights else "",
    )


def _unnamed(found: DrawnNode, label: str) -> gb.GraphNode:
    return nodes.node(
        found.id,
        label,
        "input",
        found.attributes,
        [{"shape": kind} for kind in found.results],
        namespace=nodes.group_path(found.namespace) if _extra_name(found) else "",
    )


def _unnamed_result(label: str) -> gb.GraphNode:
    return nodes.node(label, label, "output")


def _extra_name(argument: DrawnNode) -> str:
    """Returns what to call an argument that the signature does not have; "" for others."""
    constant = argument.attributes.get(GLOBAL_CONSTANT)
    if constant is not None:
        return "platform index" if constant == "_platform_index" else f"dimension {constant}"
    is_token = _TOKENS[0] in argument.attributes or _TOKENS[1] in argument.results
    return "token" if is_token else ""


def _first_callers(drawn: Sequence[DrawnFunction]) -> dict[str, set[str]]:
    """Returns which graphs each graph leads to: each is reached once, and none in a circle.

    The front end lists a graph under every graph that leads to it, and so on below.
    """
    order = {one.name: i for i, one in enumerate(drawn)}
    reached: set[str] = set()
    found: dict[str, set[str]] = {}
    for one in drawn:
        calls = {call for node in one.nodes for call in node.calls}
        later = {call for call in calls if order.get(call, -1) > order[one.name]}
        found[one.name] = later - reached
        reached |= later
    return found
