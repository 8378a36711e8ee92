"""Where the nodes of a drawn function go that belong to no scope: to what uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import final

from orbax_model_lite.stablehlo.drawn import DrawnNode, Namespace, Wire


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What a drawing notes of its nodes on the way.

    Attributes:
      scopeless: Ids of nodes without a scope of their own.
      constants: By id, the group in which a node was drawn that means the same everywhere.
      regions: Groups that are regions of an operation, which nothing is moved into.
    """

    scopeless: set[str] = field(default_factory=set)
    constants: dict[str, Namespace] = field(default_factory=dict)
    regions: set[Namespace] = field(default_factory=set)

    def arranged(self, nodes: Sequence[DrawnNode]) -> Iterator[DrawnNode]:
        """Gives the nodes, each constant once in every group that uses it.

        Else a few constants would tie all groups to each other, and a front end would take minutes
        to find room for the edges.

        Args:
          nodes: A node comes after those that it takes from, as in what is given.
        """
        moved = self._moved(nodes)
        by_id = {node.id: node for node in moved}
        used = {source for node in moved for source, _ in node.operands}
        copies: dict[tuple[str, Namespace], str] = {}
        counts = Counter[str]()
        for node in moved:
            if node.id in self.constants:
                if node.id not in used:
                    yield node
                continue
            operands: list[Wire] = []
            for source, result in node.operands:
                place = self._place_of_constant(source, node)
                if place is not None and (source, place) not in copies:
                    counts[source] += 1
                    copy = _copy(by_id[source], place, counts[source])
                    copies[source, place] = copy.id
                    yield copy
                operands.append((source if place is None else copies[source, place], result))
            yield replace(node, operands=tuple(operands))

    def _moved(self, nodes: Sequence[DrawnNode]) -> list[DrawnNode]:
        """Returns the nodes, those without a scope in the innermost group of all their users."""
        homes: dict[str, Namespace] = {}
        moved: list[DrawnNode] = []
        for node in reversed(nodes):
            place = node.namespace
            if node.id in self.scopeless:
                place = self._outside_of_regions(homes.get(node.id, place), place)
            for source, _ in node.operands:
                homes[source] = common(homes.get(source, place), place)
            moved.append(replace(node, namespace=place))
        return moved[::-1]

    def _place_of_constant(self, source: str, user: DrawnNode) -> Namespace | None:
        if source not in self.constants:
            return None
        return self._outside_of_regions(user.namespace, self.constants[source])

    def _outside_of_regions(self, home: Namespace, least: Namespace) -> Namespace:
        """Returns as much of `home` as leads into no region that `least` is not in."""
        if home[: len(least)] != least:
            return least
        for i in range(len(least), len(home)):
            if home[: i + 1] in self.regions:
                return home[:i]
        return home


def common(one: Namespace, other: Namespace) -> Namespace:
    """Returns the groups that two namespaces begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return one[:count]


def _copy(node: DrawnNode, namespace: Namespace, count: int) -> DrawnNode:
    if count == 1:
        return replace(node, namespace=namespace)
    return replace(node, id=f"{node.id} ({count})", namespace=namespace, copy_of=node.id)
