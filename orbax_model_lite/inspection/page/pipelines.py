"""Pipelines as a row of boxes, with what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import PolymorphicFunction
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.description import (
    Description,
    PipelineDescription,
    StageDescription,
)
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.parts import Places, badge, breakable, section, shape
from orbax_model_lite.inspection.page.weights import held_bytes
from orbax_model_lite.inspection.signatures import SignatureLine, signature_lines
from orbax_model_lite.inspection.wording import size_text

_MOST_PIPELINES: Final = 100
_MOST_ENDS: Final = 5
_ROLES: Final = {"pre": "pre-processor", "model": "model", "post": "post-processor"}


def pipelines(bundle: Bundle, found: Description, places: Places) -> Html:
    """Returns the section of the pipelines; nothing where there are none."""
    if not found.pipelines:
        return Html()
    figures = [_figure(bundle, found, p, places) for p in found.pipelines[:_MOST_PIPELINES]]
    count = len(found.pipelines)
    more = f"{count - _MOST_PIPELINES:,} more" if count > _MOST_PIPELINES else None
    title = "Pipeline" if count == 1 else "Pipelines"
    return section("pipelines", title, figures, element("p", more, class_="dim") if more else None)


def _figure(
    bundle: Bundle, found: Description, pipeline: PipelineDescription, places: Places
) -> Html:
    name = [
        element("span", pipeline.name, class_="name"),
        badge("default", "quiet") if pipeline.is_default else None,
    ]
    if not pipeline.stages:
        return element("figure", element("figcaption", name, " has no stages"), class_="card")
    first, last = pipeline.stages[0], pipeline.stages[-1]
    boxes = [
        _end("in", "call with", _inputs(bundle, first)),
        *[_stage(found, stage, places) for stage in pipeline.stages],
        _end("out", "returns", _outputs(bundle, last)),
    ]
    return element(
        "figure", element("figcaption", name), element("ol", boxes, class_="flow"), class_="card"
    )


def _stage(found: Description, stage: StageDescription, places: Places) -> Html:
    where = places.functions.get(stage.function)
    name: Content = breakable(stage.function)
    if where is not None:
        name = element("a", name, href=f"#{where}")
    parts = [
        element("span", _ROLES.get(stage.role, stage.role), class_="role"),
        element("span", name, class_="name"),
        kind_badge(stage.kind),
    ]
    if stage.weights is not None:
        sizes = {w.name: held_bytes(w) for w in found.weights}
        name = breakable(stage.weights)
        anchor = places.weights.get(stage.weights)
        held = element("a", name, href=f"#{anchor}") if anchor else name
        size = element("span", size_text(sizes.get(stage.weights)), class_="number")
        parts.append(element("span", "holds ", held, ", ", size, class_="holds"))
    return element("li", parts, class_=f"stage {kind_class(stage.kind)}")


def kind_badge(kind: str) -> Html:
    """Returns the label of a kind of program."""
    return badge(kind, kind_class(kind))


def kind_class(kind: str) -> str:
    """Returns the class that colours a kind of program."""
    return {"StableHLO": "hlo", "TensorFlow": "tf", "missing": "error"}.get(kind, "other")


def _end(side: str, title: str, lines: list[SignatureLine]) -> Html:
    rows = [
        element(
            "li",
            element("span", breakable(line.key), class_="obm-key") if line.key else None,
            element("span", line.dtype or line.kind, class_="obm-dtype"),
            element("span", shape(line.shape), class_="obm-shape") if line.shape else None,
        )
        for line in lines[:_MOST_ENDS]
    ]
    if len(lines) > _MOST_ENDS:
        rows.append(element("li", f"and {len(lines) - _MOST_ENDS:,} more", class_="obm-none"))
    return element("li", element("span", title, class_="role"), element("ul", rows), class_=side)


def _inputs(bundle: Bundle, stage: StageDescription) -> list[SignatureLine]:
    inputs, _ = _lines(bundle, stage.function)
    bound = 0 if stage.weights is None else 1
    argument = -1
    asked: list[SignatureLine] = []
    for line in inputs:
        argument += line.depth == 0
        if argument >= bound:
            asked.append(_counted_from(line, bound) if line.depth == 0 else line)
    return list(_leaves(asked))


def _counted_from(line: SignatureLine, bound: int) -> SignatureLine:
    """Returns an argument as the caller of a pipeline counts, who does not pass the weights."""
    number, _, name = line.key.partition(" ")
    if not number.isdecimal():
        return line
    return replace(line, key=f"{int(number) - bound} {name}".strip())


def _outputs(bundle: Bundle, stage: StageDescription) -> list[SignatureLine]:
    _, outputs = _lines(bundle, stage.function)
    return list(_leaves(outputs))


def _leaves(lines: list[SignatureLine]) -> Iterator[SignatureLine]:
    """Gives the leaves, each with the whole of its key path."""
    keys: list[str] = []
    for line in lines:
        del keys[line.depth :]
        keys.append(line.key)
        if line.kind in ("array", "token"):
            yield replace(line, key=".".join(filter(None, keys)))


def _lines(bundle: Bundle, name: str) -> tuple[list[SignatureLine], list[SignatureLine]]:
    function = bundle.functions.get(name)
    if isinstance(function, PolymorphicFunction) and function.functions:
        function = function.functions[0]
    if function is None or isinstance(function, PolymorphicFunction):
        return [], []
    try:
        return signature_lines(function, bundle.read_bytes)
    except ObmError:  # said where the function itself is shown
        return [], []
