"""What changed between two bundles, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orbax_model_lite.cli.console import Console, clean, counted
from orbax_model_lite.cli.tables import Column, wrapped, write_table
from orbax_model_lite.inspection import (
    ArrayChange,
    Change,
    CountChange,
    Difference,
    WeightsDifference,
)

_MOST_ROWS: Final = 40
_LONGEST: Final = 300
_SECTIONS: Final = ("signatures", "pipelines", "platforms", "programs")


def write_difference(console: Console, found: Difference) -> None:
    """Writes all sections in which something changed, then the verdict."""
    for section in _SECTIONS:
        _write_changes(console, section, [c for c in found.changes if c.section == section])
    _write_counts(console, "operations", found.operations)
    _write_counts(console, "custom calls", found.custom_calls)
    _write_weights(console, found)
    _write_changes(console, "metadata", [c for c in found.changes if c.section == "metadata"])
    if not found.is_empty:
        console.line()
    names = f"{clean(found.before)} -> {clean(found.after)}"
    if console.width and len(names) > console.width // 2:
        for line in wrapped(names, console.width):
            console.line(line)
        names = "in all"
    console.line(f"{names}: {_verdict(console, found)}")


def _verdict(console: Console, found: Difference) -> str:
    if found.is_empty:
        is_untold = any(w.unread_count and w.has_other_files is None for w in found.weights)
        aside = ", values of weights aside" if is_untold else ""
        return console.styled("no difference", "green") + aside
    unsure = ", something could not be compared" if found.is_inconclusive else ""
    if found.is_damaged:
        unsure = ", " + console.styled("damaged weights", "red")
    breaking = len(found.breaking)
    if breaking:
        text = counted(breaking, "breaking change")
        return console.styled(text, "red") + unsure
    return console.styled("compatible", "yellow" if unsure else "green") + unsure


def _write_changes(console: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    console.heading(title)
    columns = [Column(), Column(is_flexible=True), Column(is_flexible=True)]
    rows = [
        ["breaking" if change.is_breaking else "", change.where, _change_text(change)]
        for change in changes[:_MOST_ROWS]
    ]
    write_table(console, columns, rows)
    _write_more(console, len(changes))


def _change_text(change: Change) -> str:
    old, new = _shortened(change.before), _shortened(change.after)
    match change.kind:
        case "added":
            text = f"added: {new}"
        case "removed":
            text = f"removed: {old}"
        case "renamed":
            text = f"renamed: {old} -> {new}"
        case _:
            text = f"{old or 'nothing'} -> {new or 'nothing'}"
    return f"{text} ({change.reason})" if change.reason else text


def _write_counts(console: Console, title: str, counts: Sequence[CountChange]) -> None:
    if not counts:
        return
    console.heading(title)
    columns = [
        Column(is_flexible=True),
        Column(is_flexible=True),
        *(Column(align="right") for _ in range(3)),
    ]
    rows = [
        [c.function, c.name, f"{c.before:,}", f"-> {c.after:,}", f"{c.after - c.before:+,}"]
        for c in counts[:_MOST_ROWS]
    ]
    write_table(console, columns, rows)
    _write_more(console, len(counts))


def _write_weights(console: Console, found: Difference) -> None:
    changes = [change for change in found.changes if change.section == "weights"]
    _write_changes(console, "weights", changes)
    for weights in found.weights:
        if weights.is_empty:
            continue
        console.heading(f"weights {clean(weights.name)}: {_summary(weights)}")
        if weights.problem:
            for line in wrapped(f"not compared: {weights.problem}", (console.width or 10**6) - 2):
                console.line(f"  {clean(line)}")
        # The largest changes are what one looks for.
        arrays = sorted(weights.arrays, key=lambda array: -(array.relative_norm or 0))
        if arrays:
            columns = [Column(is_flexible=True), Column(is_flexible=True), Column(is_flexible=True)]
            write_table(console, columns, [_array_row(array) for array in arrays[:_MOST_ROWS]])
        _write_more(console, len(arrays))


def _summary(weights: WeightsDifference) -> str:
    counts = {
        kind: sum(array.kind == kind for array in weights.arrays)
        for kind in ("added", "removed", "renamed", "changed")
    }
    parts = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    if weights.problem and not (parts or weights.unread_count):
        return "damaged" if weights.is_damaged else "not compared"
    if weights.unchanged_count:
        parts.append(f"{weights.unchanged_count:,} unchanged")
    if weights.unread_count:
        files = {True: ", in files that differ", False: "", None: ""}[weights.has_other_files]
        parts.append(f"{weights.unread_count:,} of the same type and size{files}")
    return ", ".join(parts) or "no array"


def _array_row(array: ArrayChange) -> list[str]:
    if array.kind == "renamed":
        return [array.name or ".", array.after, f"renamed from {array.before_name or '.'}"]
    if array.kind == "added":
        return [array.name or ".", array.after, "added"]
    if array.kind == "removed":
        return [array.name or ".", array.before, "removed"]
    is_other = array.before != array.after
    types = f"{array.before} -> {array.after}" if is_other else array.after
    return [array.name or ".", types, _distance_text(array)]


def _distance_text(array: ArrayChange) -> str:
    if array.problem:
        return f"not compared: {array.problem}"
    if array.changed_count is None:
        return ""
    if array.changed_count == 0:
        return "the same values"
    elements = counted(array.changed_count, "element")
    if array.relative_norm is None:
        return f"{elements} changed"
    return f"changed by {array.relative_norm:.3g} of its norm ({elements})"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _write_more(console: Console, count: int) -> None:
    if count > _MOST_ROWS:
        console.line(f"  ... and {count - _MOST_ROWS:,} more; --json lists all")
