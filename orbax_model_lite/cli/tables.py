"""Aligned columns; where a terminal is too narrow, cells become lines, and tables several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from orbax_model_lite.cli.console import Console, clean, text_width

_GAP: Final = "  "
_NARROWEST: Final = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its title, where its cells stand, and whether they may be broken into lines."""

    title: str = ""
    align: Literal["left", "right"] = "left"
    is_flexible: bool = False


def write_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    indent: str = "  ",
    keys: int = 0,
) -> None:
    """Writes rows below each other; a column without any text is left out.

    Args:
      console: Where to.
      columns: What each cell of a row is.
      rows: Texts, cleaned here.
      indent: Before each line.
      keys: So many first columns name the row. If it is not 0, columns that do not fit beside each
        other are written as several tables, each with the keys.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    shown = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    columns = [columns[i] for i in shown]
    cells = [[row[i] for i in shown] for row in cells]
    titles = [column.title for column in columns]
    widths = [max(map(text_width, texts)) for texts in zip(titles, *cells, strict=True)]
    available = None if console.width is None else console.width - len(indent)
    keys = sum(i < keys for i in shown)
    for number, part in enumerate(_parts(columns, widths, keys, available)):
        if number:
            console.line()
        part_columns, part_widths = [columns[i] for i in part], [widths[i] for i in part]
        if available is not None:
            _shrink(part_widths, part_columns, available)
        if any(titles):
            for line in _lines(part_columns, part_widths, [titles[i] for i in part]):
                console.line(indent + console.styled(line, "dim"))
        for row in cells:
            for line in _lines(part_columns, part_widths, [row[i] for i in part]):
                console.line(indent + line)


def wrapped(text: str, width: int) -> list[str]:
    """Returns a text in lines of at most `width` columns, broken at spaces where there are any."""
    lines = []
    while text_width(text) > width:
        end = _fitting(text, width)
        space = text.rfind(" ", 1, end + 1)
        cut = space if space > 0 else end
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]


def _fitting(text: str, width: int) -> int:
    if text.isascii():
        return width
    end = 1
    while end < len(text) and text_width(text[: end + 1]) <= width:
        end += 1
    return end


def _parts(
    columns: Sequence[Column], widths: Sequence[int], keys: int, available: int | None
) -> list[list[int]]:
    """Returns the columns of each table that a table comes to."""
    if available is None or not keys:
        return [list(range(len(columns)))]
    least = [
        min(width, _NARROWEST) if column.is_flexible else width
        for column, width in zip(columns, widths, strict=True)
    ]
    parts = [list(range(keys))]
    for i in range(keys, len(columns)):
        wanted = sum(least[k] + len(_GAP) for k in parts[-1]) + least[i]
        if wanted > available and len(parts[-1]) > keys:
            parts.append(list(range(keys)))
        parts[-1].append(i)
    return parts


def _shrink(widths: list[int], columns: Sequence[Column], available: int) -> None:
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - available
    flexible = [i for i, column in enumerate(columns) if column.is_flexible]
    # The widest first, so that short cells of another flexible column stay whole.
    for i in sorted(flexible, key=lambda i: -widths[i]):
        if excess > 0:
            taken = min(excess, max(0, widths[i] - _NARROWEST))
            widths[i] -= taken
            excess -= taken


def _lines(columns: Sequence[Column], widths: list[int], row: Sequence[str]) -> list[str]:
    broken = [
        wrapped(cell, width) if column.is_flexible else [cell]
        for column, width, cell in zip(columns, widths, row, strict=True)
    ]
    lines = []
    for i in range(max(map(len, broken), default=0)):
        parts = []
        for column, width, cell in zip(columns, widths, broken, strict=True):
            text = cell[i] if i < len(cell) else ""
            space = " " * max(0, width - text_width(text))
            parts.append(space + text if column.align == "right" else text + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines
