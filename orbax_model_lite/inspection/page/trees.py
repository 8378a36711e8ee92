"""Signatures as trees that open and close; the same on the page and in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite.inspection.page.markup import Html, element
from orbax_model_lite.inspection.page.parts import shape
from orbax_model_lite.inspection.signatures import SignatureLine

_MOST_LINES: Final = 1000
_DEEPEST: Final = 40  # a stranger's tree may be deep; what is below stands at this depth
_FEW_LINES: Final = 16


@final
@dataclass(frozen=True, slots=True)
class _Node:
    line: SignatureLine
    below: list[_Node] = field(default_factory=list)


def tree(
    lines: Sequence[SignatureLine], *, most_lines: int = _MOST_LINES, count: int | None = None
) -> Html:
    """Returns one side of a signature.

    Args:
      lines: From `signature_lines`.
      most_lines: How many are shown; the others are counted.
      count: How many there are, where only the first ones are given.
    """
    count = len(lines) if count is None else count
    if not lines:
        return element("p", "nothing", class_="obm-none")
    roots = _nodes(lines[:most_lines])
    is_open = count <= _FEW_LINES
    items = [_item(node, is_open=is_open) for node in roots]
    if count > most_lines:
        items.append(element("li", f"… {count - most_lines:,} more", class_="obm-none"))
    return element("ul", items, class_="obm-tree")


def _nodes(lines: Sequence[SignatureLine]) -> list[_Node]:
    roots: list[_Node] = []
    around: list[_Node] = []
    for line in lines:
        node = _Node(line)
        del around[min(line.depth, _DEEPEST) :]
        (around[-1].below if around else roots).append(node)
        around.append(node)
    return roots


def _item(node: _Node, *, is_open: bool) -> Html:
    line = node.line
    key = element("span", line.key, class_="obm-key") if line.key else None
    if line.kind not in ("array", "token", "None"):
        kind = element("span", f"{line.kind} · {len(node.below):,}", class_="obm-kind")
        below = [_item(child, is_open=is_open) for child in node.below]
        return element(
            "li",
            element(
                "details",
                element("summary", key, " ", kind),
                element("ul", below),
                open=is_open or (line.depth == 0 and len(node.below) <= _FEW_LINES),
            ),
        )
    parts = [
        element("span", line.dtype or line.kind, class_="obm-dtype"),
        element("span", shape(line.shape), class_="obm-shape") if line.shape else None,
        element("span", line.sharding, class_="obm-sharding") if line.sharding else None,
    ]
    return element("li", key, [[" ", part] for part in parts if part is not None])
