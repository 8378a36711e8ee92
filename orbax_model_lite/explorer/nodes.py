"""Nodes of Model Explorer's graphs as this room makes them: named ends, attributes, types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from model_explorer import graph_builder as gb

from orbax_model_lite.core.spec import Leaf
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path

# Borders are seen on light and on dark ground.
BORDERS: Final[Mapping[str, str]] = {
    "input": "#1a73e8",
    "output": "#188038",
    "weight": "#b06000",
    "stage": "#9334e6",
    "problem": "#d93025",
}
_MOST_AT_ROOT: Final = 12


@final
@dataclass(frozen=True, slots=True)
class End:
    """One array that a function takes or gives.

    Attributes:
      name: Its key path; an argument by its name where that is known, else by its index.
      leaf: What it is.
    """

    name: str
    leaf: Leaf


def input_ends(
    args: Sequence[Tree], kwargs: Mapping[str, Tree], names: Sequence[str | None] = ()
) -> list[End]:
    """Returns the leaves of a call's arguments, in flatten order.

    Args:
      args: Positional arguments.
      kwargs: Keyword arguments.
      names: Of the positional arguments; None where unknown.
    """
    ends: list[End] = []
    for i, tree in enumerate(args):
        first = (names[i] if i < len(names) else None) or i
        ends += ends_of(tree, first)
    for name in sorted(kwargs):
        ends += ends_of(kwargs[name], name)
    return ends


def ends_of(tree: Tree, *prefix: str | int) -> list[End]:
    """Returns the leaves of a tree by their key paths."""
    return [End(format_path(path), leaf) for path, leaf in flatten_with_path(tree, prefix)]


def node(
    identity: str,
    label: str,
    kind: str = "",
    attributes: Mapping[str, str] | None = None,
    results: Iterable[Mapping[str, str]] = (),
    **fields: Any,
) -> gb.GraphNode:
    """Returns a node.

    Args:
      identity: Unique in its graph.
      label: What is written on it.
      kind: A key of `BORDERS`; "" has no colour.
      attributes: Shown beside the graph; empty ones are left out.
      results: What is shown of each result; "shape" is written on edges too.
      **fields: Others of `GraphNode`.
    """
    return gb.GraphNode(
        id=identity,
        label=label,
        attrs=pairs(attributes or {}),
        outputsMetadata=[
            gb.MetadataItem(id=str(i), attrs=pairs(result)) for i, result in enumerate(results)
        ],
        style=gb.GraphNodeStyle(borderColor=BORDERS[kind]) if kind else None,
        **fields,
    )


def end_nodes(kind: str, ends: Sequence[End], *, more: str = "") -> list[gb.GraphNode]:
    """Returns a node for each end of a function or pipeline.

    Args:
      kind: "input" or "output".
      ends: In order.
      more: Group for them where there are many of them; "" takes the kind.
    """
    group = (more or f"{kind}s") if len(ends) > _MOST_AT_ROOT else ""
    return [
        node(
            f"{kind} {i}",
            f"{kind} {end.name}".strip(),
            kind,
            {"path": end.name, "type": str(end.leaf)},
            [described(end)] if kind == "input" else [],
            namespace=group,
        )
        for i, end in enumerate(ends)
    ]


def described(end: End) -> dict[str, str]:
    """Returns what is shown of an array at the end of an edge."""
    return {"shape": str(end.leaf), "tensor_name": end.name}


def edge(source: str, result: int, operand: int) -> gb.IncomingEdge:
    """Returns an edge from a node's result to an operand of the node that has the edge."""
    return gb.IncomingEdge(
        sourceNodeId=source, sourceNodeOutputId=str(result), targetNodeInputId=str(operand)
    )


def pairs(values: Mapping[str, str]) -> list[gb.KeyValue]:
    """Returns attributes in Model Explorer's form; empty ones are left out."""
    return [gb.KeyValue(key=key, value=value) for key, value in values.items() if value]


def group_path(namespace: Iterable[str]) -> str:
    """Returns groups in Model Explorer's form, in which slashes and semicolons divide."""
    return "/".join(part.replace("/", "∕").replace(";", ",") for part in namespace)  # noqa: RUF001
