"""The table of verdicts as Markdown, and its place in docs/lift.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from tests.lift.conformance.left_out import LEFT_OUT

if TYPE_CHECKING:
    from tests.lift.conformance.checking import Verdict

DOCUMENT = Path(__file__).parents[3] / "docs" / "lift.md"
_BEGIN = "<!-- begin: written by `make coverage-lift` -->"
_END = "<!-- end: written by `make coverage-lift` -->"
_COLUMNS = ("f32", "i32", "bf16", "f64", "c64", "symbolic", "grad", "vmap")
_SYMBOLIC = " symbolic"


def write(verdicts: Sequence[Verdict], dtypes: Sequence[str] = ()) -> None:
    """Replaces the written part of the document.

    Args:
      verdicts: Of all rows.
      dtypes: Which columns were asked for; empty means all.
    """
    only = f"Of the dtypes only {', '.join(dtypes)} was tried this time.\n\n" if dtypes else ""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    written = f"{_BEGIN}\n\n## Result\n\n{only}{summary(verdicts)}\n{_table(verdicts)}\n{_END}"
    DOCUMENT.write_text(before + written + after, encoding="utf-8")


def is_passed(verdict: Verdict) -> bool:
    """Returns whether a row is right in each of its cells."""
    return not wrong_cells(verdict)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Returns the percentages, as a paragraph and a small table."""
    counted = [v for v in verdicts if not v.left_out]
    passed = sum(map(is_passed, counted))
    left = len(LEFT_OUT) + len(verdicts) - len(counted)
    told = (
        f"With JAX {jax.__version__}, **{_percent(passed, len(counted))}** of the rows pass in "
        f"every cell: {passed} of {len(counted)}. {left} callables are left out; the last section "
        "says why."
    )
    lines = [
        told,
        "",
        "| cells | pass | of | |",
        "|---|---|---|---|",
    ]
    for column in _COLUMNS:
        marks = [m for v in counted for m in _marks(v, column)]
        good = sum(m == "pass" for m in marks)
        lines.append(f"| {column} | {good} | {len(marks)} | {_percent(good, len(marks))} |")
    return "\n".join(lines) + "\n"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _marks(verdict: Verdict, column: str) -> list[str]:
    """Returns the cells that a column stands for; the symbolic one for one of each dtype."""
    if column == "symbolic":
        return [mark for cell, mark in verdict.cells.items() if cell.endswith(_SYMBOLIC)]
    return [verdict.cells[column]] if column in verdict.cells else []


def _table(verdicts: Sequence[Verdict]) -> str:
    counted = sorted((v for v in verdicts if not v.left_out), key=lambda v: v.name)
    head = ["| callable | " + " | ".join(_COLUMNS) + " | note |", "|" + "---|" * 10]
    refused = {v.name: v.left_out for v in verdicts if v.left_out}
    return "\n".join(
        ["## Rows", "", *head, *map(_row, counted), "", "## Left out", "", *_reasons(refused), ""]
    )


def _row(verdict: Verdict) -> str:
    cells = [_cell(_marks(verdict, column)) for column in _COLUMNS]
    wrong = [f"{cell}: {why}" for cell, why in wrong_cells(verdict).items()]
    note = wrong[0].replace("|", "\\|")[:160] if wrong else ""
    return f"| `{verdict.name.removeprefix('jax.')}` | {' | '.join(cells)} | {note} |"


def _cell(marks: Sequence[str]) -> str:
    if not marks:
        return ""
    return "yes" if all(mark == "pass" for mark in marks) else "NO"


def _reasons(refused: dict[str, str]) -> Iterable[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted((LEFT_OUT | refused).items()):
        by_reason.setdefault(_short(reason), []).append(f"`{name.removeprefix('jax.')}`")
    for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        yield f"- {reason}: {', '.join(names)}"


def _short(reason: str) -> str:
    kind = reason.split(":")
    return f"`jax.export` refuses it ({kind[1].strip()})" if kind[0] == "jax.export" else reason


def wrong_cells(verdict: Verdict) -> dict[str, str]:
    """Returns what is wrong with a row, by cell."""
    return {cell: why for cell, why in verdict.cells.items() if why != "pass"}
