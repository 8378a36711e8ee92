"""A module as graphs to look at: plain values, which a child process can hand over as JSON.

Made in `drawing`; nothing here imports JAX, so that whoever shows them need not either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

ARGUMENT: Final = "argument"
"""The name of a node that is no operation but an argument of a function or region."""

GLOBAL_CONSTANT: Final = "jax.global_constant"
"""The attribute of an argument that is the platform's index or the size of a dimension."""

Namespace: TypeAlias = tuple[str, ...]
"""The groups around a node, outermost first: scopes, functions, regions."""

Wire: TypeAlias = tuple[str, int]
"""Id of a node, and which of its results."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnNode:
    """One operation, or one argument of a function or region.

    Attributes:
      id: Unique in its graph.
      name: Of the operation, such as "stablehlo.add"; `ARGUMENT` for an argument.
      namespace: See `Namespace`.
      operands: Where its operands come from, then what its regions return.
      results: Their types, such as "f32[?, 10]".
      attributes: As text.
      calls: The functions it refers to that have graphs of their own.
      copy_of: The node that it repeats in another group; "" if it is the first.
    """

    id: str
    name: str
    namespace: Namespace = ()
    operands: tuple[Wire, ...] = ()
    results: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    copy_of: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFunction:
    """One function of a module, with those drawn into it that are called nowhere else.

    Attributes:
      name: Its symbol; "main" is what the bundle's function runs.
      nodes: A node comes after those it takes from.
      arguments: Ids of the nodes of its arguments, in order.
      results: Where its results come from, in order.
    """

    name: str
    nodes: tuple[DrawnNode, ...]
    arguments: tuple[str, ...]
    results: tuple[Wire, ...]


def from_json(values: Any) -> DrawnFunction:
    """Returns a function from what `dataclasses.asdict` and JSON made of it.

    Raises:
      KeyError: If a field is missing.
      TypeError: If a value is of another kind.
      ValueError: If a number is none.
    """
    return DrawnFunction(
        name=str(values["name"]),
        nodes=tuple([_node(node) for node in values["nodes"]]),
        arguments=_texts(values["arguments"]),
        results=_wires(values["results"]),
    )


def _node(values: Any) -> DrawnNode:
    return DrawnNode(
        id=str(values["id"]),
        name=str(values["name"]),
        namespace=_texts(values["namespace"]),
        operands=_wires(values["operands"]),
        results=_texts(values["results"]),
        attributes={str(key): str(value) for key, value in dict(values["attributes"]).items()},
        calls=_texts(values["calls"]),
        copy_of=str(values["copy_of"]),
    )


def _texts(values: Any) -> tuple[str, ...]:
    return tuple([str(value) for value in values])


def _wires(values: Any) -> tuple[Wire, ...]:
    return tuple([(str(node), int(result)) for node, result in values])
