"""Weights: where the bytes are, and every array in a table that the page's script pages through.

The first rows stand in the page itself, for a printer and for a browser without scripts. All of
them are data, a column a list, because a hundred thousand table rows would take a browser minutes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.description import Description, WeightsDescription
from orbax_model_lite.inspection.page.markup import Html, data_script, element, joined
from orbax_model_lite.inspection.page.parts import bar, code, facts, section, shape, stack
from orbax_model_lite.inspection.weights import ListedArray, is_weights, list_weights
from orbax_model_lite.inspection.wording import clean, counted, size_text

ROWS: Final = 50
"""Rows that are shown at a time; `page.js` has the same number from the table."""

_MOST_SETS: Final = 100
_MOST_GROUPS: Final = 10
_LEAST_SHARE: Final = 0.01


def weights(bundle: Bundle, found: Description) -> Html:
    """Returns the section of the weights; nothing where there are none."""
    if not found.weights:
        return Html()
    shown = found.weights[:_MOST_SETS]
    cards = [_card(bundle, about, i) for i, about in enumerate(shown)]
    if len(found.weights) > len(shown):
        cards.append(element("p", f"{len(found.weights) - len(shown):,} more", class_="dim"))
    return section("weights", "Weights", cards)


def anchors(found: Description) -> dict[str, str]:
    """Returns the anchor of each set of weights by its name."""
    return {w.name: f"weights-{i}" for i, w in enumerate(found.weights[:_MOST_SETS])}


def held_bytes(about: WeightsDescription) -> int | None:
    """Returns the size of all arrays, or of their files if no header tells; None if damaged."""
    return None if about.problem else about.size_bytes or about.disk_bytes


def _card(bundle: Bundle, about: WeightsDescription, number: int) -> Html:
    arrays, problem = _arrays(bundle, about)
    elements = sum(math.prod(a.shape) for a in arrays if a.shape is not None)
    summary = facts(
        [
            ("arrays", f"{len(arrays):,}" if arrays else None),
            ("parameters", f"{elements:,}" if elements else None),
            ("size", size_text(about.size_bytes) if about.size_bytes else None),
            ("types", ", ".join(about.dtypes) if len(about.dtypes) == 1 else None),
            ("on disk", size_text(about.disk_bytes)),
            ("format", about.format),
            ("path", code(about.path) if about.path else None),
        ]
    )
    return element(
        "article",
        element("h3", element("span", about.name, class_="name")),
        element("p", problem, class_="problem") if problem else None,
        summary,
        _types(about),
        _groups(arrays),
        _table(about.name, arrays, number) if arrays else None,
        class_="card weights",
        id=f"weights-{number}",
    )


def _arrays(bundle: Bundle, about: WeightsDescription) -> tuple[list[ListedArray], str]:
    value = bundle.values[about.name]
    if about.problem or not (isinstance(value, ExternalValue) and is_weights(value)):
        return [], about.problem
    try:
        return list_weights(bundle, about.name, value), ""
    except (ObmError, OSError) as e:
        return [], str(e)


def _types(about: WeightsDescription) -> Html:
    total = sum(about.dtypes.values())
    if not total or len(about.dtypes) == 1:
        return Html()
    shares = [(f"{name} {size_text(size)}", size / total) for name, size in about.dtypes.items()]
    return element("div", element("h4", "Types"), stack(shares))


def _groups(arrays: list[ListedArray]) -> Html:
    """Returns where the bytes are: the largest groups of arrays whose names begin alike."""
    sizes = _by_beginning(arrays)
    total, most = sizes.total(), max(sizes.values(), default=0)
    # Where no group stands out, ten of many say nothing.
    if len(sizes) < 2 or most < _LEAST_SHARE * total:
        return Html()
    items = [
        element(
            "li",
            element("button", code(name), type="button", data_query=clean(name), disabled=True),
            bar(size / most),
            element("span", f"{size_text(size)} · {size / total:.1%}", class_="number"),
        )
        for name, size in sizes.most_common(_MOST_GROUPS)
    ]
    if len(sizes) > _MOST_GROUPS:
        rest = f"and {counted(len(sizes) - _MOST_GROUPS, 'smaller group')}"
        items.append(element("li", rest, class_="dim"))
    return element(
        "div", element("h4", "Where the bytes are"), element("ul", items, class_="groups")
    )


def _by_beginning(arrays: list[ListedArray]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for depth in (1, 2, 3):
        sizes = Counter()
        for array in arrays:
            if array.size_bytes:
                sizes[".".join(array.name.split(".")[:depth])] += array.size_bytes
        if len(sizes) > 1:
            break
    return sizes


def _table(name: str, arrays: list[ListedArray], number: int) -> Html:
    most = max((a.size_bytes or 0 for a in arrays), default=0)
    search = element(
        "div",
        element(
            "label",
            "Search ",
            element(
                "input",
                type="search",
                autocomplete="off",
                spellcheck="false",
                placeholder="name, type or shape",
            ),
        ),
        element("output", _state(arrays), aria_live="polite"),
        class_="controls",
        hidden=True,
    )
    titles = (("name", "Name"), ("type", "Type"), ("shape", "Shape"), ("bytes", "Size"))
    head = [
        element("th", title, scope="col", data_key=key, aria_sort="none") for key, title in titles
    ]
    caption = element("caption", f"Arrays of {name}", class_="unseen")
    table = element(
        "table",
        caption,
        element("thead", element("tr", head)),
        element("tbody", _rows(arrays[:ROWS], most)),
        class_="arrays",
        data_rows=ROWS,
    )
    without = f"The first {ROWS:,} of {len(arrays):,} arrays; a browser with scripts shows all."
    return joined(
        [
            search,
            element("div", table, class_="scroll"),
            element("nav", class_="pager", aria_label=f"pages of {clean(name)}", hidden=True),
            element("noscript", element("p", without)) if len(arrays) > ROWS else None,
            data_script(f"weights-{number}-data", _columns(arrays)),
        ]
    )


def _state(arrays: list[ListedArray]) -> str:
    return counted(len(arrays), "array")


def _rows(arrays: list[ListedArray], most: int) -> Iterator[Html]:
    for array in arrays:
        size = [
            element("span", size_text(array.size_bytes), class_="number"),
            bar((array.size_bytes or 0) / (most or 1)),
        ]
        yield element(
            "tr",
            element("th", code(array.name or "."), scope="row"),
            element("td", _type(array)),
            element("td", shape(_shape(array))),
            element("td", size),
        )


def _columns(arrays: list[ListedArray]) -> dict[str, Any]:
    types = {_type(array): None for array in arrays}
    number = {name: i for i, name in enumerate(types)}
    return {
        "names": [clean(array.name or ".") for array in arrays],
        "types": [clean(name) for name in types],
        "type": [number[_type(array)] for array in arrays],
        "shape": [_shape(array) for array in arrays],
        "bytes": [array.size_bytes for array in arrays],
    }


def _type(array: ListedArray) -> str:
    return array.dtype or array.problem or "not recorded"


def _shape(array: ListedArray) -> str:
    return "?" if array.shape is None else str(list(array.shape))
