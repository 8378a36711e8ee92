"""`obm show --weights --stats`: what the arrays hold, summed up."""

from __future__ import annotations

from collections.abc import Sequence

from orbax_model_lite.cli.console import Console, clean, counted, size_text
from orbax_model_lite.cli.tables import Column, write_table
from orbax_model_lite.inspection import ArrayStatistics


def write_statistics(console: Console, name: str, arrays: Sequence[ArrayStatistics]) -> None:
    """Writes a table of the arrays of one set of weights."""
    total = size_text(sum(array.size_bytes for array in arrays))
    odd = sum(array.nan_count + array.inf_count > 0 for array in arrays)
    verdict = f"{odd:,} not finite" if odd else "all finite"
    title = f"{clean(name)}: {counted(len(arrays), 'array')}, {total}, "
    style = "red" if odd else "green"
    console.line(console.styled(title, "bold") + console.styled(verdict, style))
    columns = [
        Column(title="path", is_flexible=True),
        Column(title="type"),
        Column(title="shape", is_flexible=True),
        *(Column(title=t, align="right") for t in ("min", "max", "mean", "std", "NaN", "Inf")),
    ]
    if arrays:
        write_table(console, columns, [_row(array) for array in arrays])


def _row(array: ArrayStatistics) -> list[str]:
    start = [
        array.name or ".",
        array.dtype or array.problem,
        "" if array.shape is None else str(list(array.shape)),
    ]
    if array.problem:
        return [*start, *[""] * 6]
    numbers = [array.minimum, array.maximum, array.mean, array.std]
    counts = [f"{array.nan_count:,}", f"{array.inf_count:,}"]
    return [*start, *map(_number_text, numbers), *counts]


def _number_text(number: float | None) -> str:
    if number is None:
        return "-"
    if isinstance(number, int):
        return f"{number:,}" if abs(number) < 10**9 else f"{number:.3e}"
    return f"{number:.4g}"
