"""Pipelines as a row of boxes, and folders and trees as indented lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orbax_model_lite.cli.console import Console, clean, text_width
from orbax_model_lite.inspection import PipelineDescription, StageDescription

_LINES: Final = "╭─╮│╰╯"
_ASCII: Final = "+-+|++"
_ARROW: Final = " -> "


def write_pipeline(console: Console, pipeline: PipelineDescription) -> None:
    """Writes the stages as boxes from left to right; as a list where the terminal is too narrow."""
    boxes = [_box(stage, _ASCII if console.is_ascii else _LINES) for stage in pipeline.stages]
    height = max(map(len, boxes), default=0)
    total = sum(text_width(box[0]) for box in boxes) + len(_ARROW) * (len(boxes) - 1) + 2
    if console.width is not None and total > console.width:
        for stage in pipeline.stages:
            console.line(f"  {stage.role:<5}  {'  '.join(_texts(stage))}")
        return
    for i in range(height):
        gap = _ARROW if i == 1 else " " * len(_ARROW)
        console.line("  " + gap.join(_row(box, i, height) for box in boxes))


def branches(count: int, *, is_ascii: bool) -> Iterator[tuple[str, str]]:
    """Gives (branch, continuation) for each child of a node: "├─ " and "│  ", or "└─ " and spaces.

    Args:
      count: How many children there are.
      is_ascii: Whether only ASCII can be shown.
    """
    for i in range(count):
        is_last = i == count - 1
        if is_ascii:
            yield ("`- ", "   ") if is_last else ("|- ", "|  ")
        else:
            yield ("└─ ", "   ") if is_last else ("├─ ", "│  ")


def _texts(stage: StageDescription) -> list[str]:
    texts = [clean(stage.function), clean(stage.kind)]
    return [*texts, f"+ {clean(stage.weights)}"] if stage.weights else texts


def _box(stage: StageDescription, lines: str) -> list[str]:
    left, flat, right, side, below_left, below_right = lines
    texts = _texts(stage)
    width = max(map(text_width, [*texts, stage.role + "  "]))
    title = f"{left}{flat} {stage.role} "
    inner = [f"{side} {text}{' ' * (width - text_width(text))} {side}" for text in texts]
    return [
        title + flat * (width + 3 - text_width(title)) + right,
        *inner,
        below_left + flat * (width + 2) + below_right,
    ]


def _row(box: list[str], i: int, height: int) -> str:
    """Returns line i of a box that is stretched to `height` lines."""
    last = len(box) - 1
    if i in (0, height - 1):
        return box[0 if i == 0 else last]
    if i < last:
        return box[i]
    return box[1][0] + " " * (text_width(box[0]) - 2) + box[1][0]
