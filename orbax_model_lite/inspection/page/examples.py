"""Recorded calls as tables: a row an item of the batch, pictures as pictures, scores as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.examples import Example, read_example, read_examples_record
from orbax_model_lite.core.function import PolymorphicFunction
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.description import Description
from orbax_model_lite.inspection.page.images import array_uri, picture_uri
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.parts import badge, section
from orbax_model_lite.inspection.wording import counted
from orbax_model_lite.orchestration import parameter_names

_MOST_EXAMPLES: Final = 30
_MOST_ITEMS: Final = 8
_MOST_COLUMNS: Final = 24
_MOST_VALUES: Final = 6
_MOST_LETTERS: Final = 120
_FEWEST_SCORES: Final = 3
_MOST_SCORES: Final = 64
_PICTURE_BYTES: Final = 8 << 20  # of all pictures of a page, as they stand in it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    side: str
    name: str
    array: np.ndarray


def examples(bundle: Bundle, found: Description) -> Html:
    """Returns the section of the recorded calls; nothing where there are none."""
    data = bundle.supplementals.get(layout.KEY_EXAMPLES)
    if data is None:
        return Html()
    try:
        records = read_examples_record(bundle.read_bytes(data))
    except ObmError as e:
        return section("examples", "Recorded examples", element("p", str(e), class_="problem"))
    # What a user calls comes first.
    records.sort(key=lambda record: record.WhichOneof("target") != "pipeline_name")
    writer = _Writer()
    cards = [_card(bundle, found, record, writer) for record in records[:_MOST_EXAMPLES]]
    if len(records) > _MOST_EXAMPLES:
        cards.append(element("p", f"{len(records) - _MOST_EXAMPLES:,} more", class_="dim"))
    return section("examples", "Recorded examples", cards) if cards else Html()


def _card(
    bundle: Bundle, found: Description, record: bundle_info_pb2.Example, writer: _Writer
) -> Html:
    try:
        payload = bundle.read_bytes(Data(content=FileRange(path=record.path)))
        example = read_example(payload, record)
    except ObmError as e:
        return element("article", element("p", str(e), class_="problem"), class_="card")
    platform = f"recorded on {record.platform}" if record.platform else None
    head = element(
        "h3",
        element("span", example.target, class_="name"),
        badge("pipeline" if example.is_pipeline else "function", "quiet"),
        element("span", platform, class_="note") if platform else None,
    )
    names = _argument_names(bundle, found, example)
    table = writer.table(example, names)
    return element("article", head, element("div", table, class_="scroll"), class_="card")


def _argument_names(bundle: Bundle, found: Description, example: Example) -> list[str | None]:
    """Returns the names of the positional arguments without the weights, as far as recorded."""
    stages = [p.stages[0] for p in found.pipelines if p.stages and p.name == example.target]
    if not example.is_pipeline:
        stages = [s for p in found.pipelines for s in p.stages if s.function == example.target]
    function = bundle.functions.get(stages[0].function if stages else example.target)
    if function is None or isinstance(function, PolymorphicFunction):
        return []
    try:
        names = parameter_names(function, bundle.read_bytes)
    except ObmError:  # said where the function itself is shown
        return []
    return list(names[1:] if stages and stages[0].weights is not None else names)


class _Writer:
    """Writes cells, and counts what the pictures in them take."""

    def __init__(self) -> None:
        self._left_bytes = _PICTURE_BYTES

    def table(self, example: Example, names: Sequence[str | None]) -> Html:
        columns: list[_Column] = []
        for i, argument in enumerate(example.args):
            name = names[i] if i < len(names) else None
            columns += _columns("input", argument, (name or f"argument {i}",))
        columns += _columns("input", dict(example.kwargs))
        columns += _columns("output", example.outputs)
        shown = columns[:_MOST_COLUMNS]
        count = _common_rows(shown)
        items = [[c.array for c in shown]] if count is None else _items(shown, count)
        heads = [
            element("th", element("span", c.side, class_=f"role {c.side}"), _title(c), scope="col")
            for c in shown
        ]
        rows = [element("tr", [element("td", self.cell(value)) for value in row]) for row in items]
        notes = []
        if count is not None and count > len(items):
            notes.append(f"{len(items)} of {counted(count, 'item')}")
        if len(columns) > len(shown):
            notes.append(f"{len(shown)} of {counted(len(columns), 'array')}")
        return element(
            "table",
            element("caption", f"Recorded call of {example.target}", class_="unseen"),
            element("thead", element("tr", heads)),
            element("tbody", rows),
            element("tfoot", element("tr", element("td", ", ".join(notes), colspan=len(shown))))
            if notes
            else None,
            class_="items",
        )

    def cell(self, value: Any) -> Content:
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return self._scalar(
                value.item() if isinstance(value, np.generic | np.ndarray) else value
            )
        if value.dtype.kind in "OSU":
            return self._texts(value)
        uri = array_uri(value)
        if uri is not None and self._is_room(uri):
            return _picture(uri, f"picture of {value.dtype.name} {list(value.shape)}")
        if _is_scores(value):
            return _scores(value)
        return element("code", _values(value))

    def _scalar(self, value: Any) -> Content:
        if isinstance(value, bytes):
            uri = picture_uri(value)
            if uri is not None and self._is_room(uri):
                return _picture(uri, f"picture of {len(value):,} bytes")
        return element("code" if isinstance(value, bytes | str) else "span", _value_text(value))

    def _texts(self, array: np.ndarray) -> Content:
        values = array.reshape(-1)[:_MOST_ITEMS].tolist()
        more = f" and {array.size - len(values):,} more" if array.size > len(values) else None
        return [[self._scalar(value), " "] for value in values], more

    def _is_room(self, uri: str) -> bool:
        self._left_bytes -= len(uri)
        return self._left_bytes >= 0


def _columns(side: str, tree: Tree, prefix: Path = ()) -> list[_Column]:
    return [
        _Column(side=side, name=format_path(path), array=np.asarray(leaf))
        for path, leaf in flatten_with_path(tree, prefix)
    ]


def _common_rows(columns: list[_Column]) -> int | None:
    """Returns the size that all arrays begin with; None if they are no batch."""
    counts = {c.array.shape[0] if c.array.ndim else -1 for c in columns}
    (count,) = counts if len(counts) == 1 else (-1,)
    return count if count >= 0 else None


def _items(columns: list[_Column], count: int) -> list[list[Any]]:
    return [[c.array[i] for c in columns] for i in range(min(count, _MOST_ITEMS))]


def _title(column: _Column) -> list[Content]:
    dtype = "string" if column.array.dtype.kind in "OSU" else column.array.dtype.name
    return [
        element("span", column.name, class_="obm-key") if column.name else None,
        element("span", f"{dtype} {list(column.array.shape)}", class_="obm-dtype"),
    ]


def _picture(uri: str, about: str) -> Html:
    return element("img", src=uri, alt=about, title=about)


def _is_scores(array: np.ndarray) -> bool:
    is_float = array.dtype.kind == "f" or "float" in array.dtype.name
    return is_float and array.ndim == 1 and _FEWEST_SCORES <= array.size <= _MOST_SCORES


def _scores(array: np.ndarray) -> Content:
    values = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0).clip(-1e30, 1e30)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = 30 / (high - low or 1)
    best = int(values.argmax())
    rects = [
        element(
            "rect",
            x=i * 4,
            y=f"{(high - max(value, 0)) * scale:.4g}",
            width=3,
            height=f"{max(abs(value) * scale, 0.5):.4g}",
            class_="best" if i == best else None,
        )
        for i, value in enumerate(values.tolist())
    ]
    about = f"largest {_value_text(array[best].item())} at {best}"
    svg = element(
        "svg",
        element("title", _values(array, most=array.size)),
        rects,
        class_="scores",
        viewBox=f"0 0 {4 * array.size} 31",
        role="img",
    )
    return [svg, element("span", about, class_="dim")]


def _values(array: np.ndarray, most: int = _MOST_VALUES) -> str:
    shown = ", ".join(map(_value_text, array.reshape(-1)[:most].tolist()))
    return f"[{shown}, …]" if array.size > most else f"[{shown}]"


def _value_text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = repr(value[:_MOST_LETTERS])
    if isinstance(value, float):
        return f"{value:.4g}"
    shown = str(value)
    return shown if len(shown) <= _MOST_LETTERS else shown[:_MOST_LETTERS] + "…"
