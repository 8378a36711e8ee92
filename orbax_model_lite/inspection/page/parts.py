"""Pieces that several sections are made of: cards, badges, bars, tables of facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite.inspection.page.markup import Content, Html, element, joined, text

_SYMBOL: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|\?)")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where on the page things are, since their names are no good as anchors.

    Attributes:
      functions: Name of a function to the anchor of its card.
      weights: Name of a set of weights to the anchor of its card.
    """

    functions: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)


def section(name: str, title: str, *content: Content, note: Content = None) -> Html:
    """Returns a section with its heading; `name` is its anchor."""
    return element(
        "section",
        element("h2", title, element("span", note, class_="note") if note else None),
        content,
        id=name,
    )


def badge(label: str, kind: str = "") -> Html:
    """Returns a label with a border; `kind` chooses its colour."""
    return element("span", label, class_=f"obm-badge {kind}".rstrip())


def facts(rows: Iterable[tuple[str, Content]]) -> Html:
    """Returns names with values; rows without a value are left out."""
    shown = [
        element("div", element("dt", name), element("dd", value)) for name, value in rows if value
    ]
    return element("dl", shown, class_="facts") if shown else Html()


def table(
    caption: str, titles: Sequence[str], rows: Iterable[Sequence[Content]], kind: str = ""
) -> Html:
    """Returns a table; the first cell of a row is its heading."""
    head = element("tr", [element("th", title, scope="col") for title in titles])
    body = [
        element("tr", element("th", row[0], scope="row"), [element("td", c) for c in row[1:]])
        for row in rows
    ]
    return element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", body),
        class_=kind or None,
    )


def bar(share: float, kind: str = "") -> Html:
    """Returns a bar that is filled to a share between 0 and 1; text beside it says the number."""
    width = f"{100 * min(max(share, 0), 1):.4g}"
    return element(
        "svg",
        element("rect", width=width, height=8),
        class_=f"bar {kind}".rstrip(),
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def stack(shares: Sequence[tuple[str, float]]) -> Html:
    """Returns a bar of several colours with its legend; each part is (label, share)."""
    rects, legend, begin = [], [], 0.0
    for i, (label, share) in enumerate(shares):
        width = f"{100 * share:.4g}"
        rects.append(element("rect", x=f"{begin:.4g}", width=width, height=8, class_=f"c{i % 6}"))
        legend.append(element("li", element("i", class_=f"c{i % 6}"), label))
        begin += 100 * share
    svg = element(
        "svg",
        rects,
        class_="bar stack",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    return joined([svg, element("ul", legend, class_="legend")])


def shape(sizes: str) -> Html:
    """Returns a shape such as "[b, 28]" whose symbolic and unknown sizes stand out."""
    parts = _SYMBOL.split(sizes)
    return joined([element("b", p) if i % 2 else text(p) for i, p in enumerate(parts)])


def code(value: str) -> Html:
    """Returns text in a fixed width."""
    return element("code", breakable(value))


def breakable(name: str) -> Html:
    """Returns a name that may go on in the next line after a dot, a slash or an underscore."""
    pieces = re.split(r"(?<=[./_])", name)
    return joined([[[piece, element("wbr")] for piece in pieces[:-1]], pieces[-1]])
