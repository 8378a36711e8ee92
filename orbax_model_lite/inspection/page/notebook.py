"""What Model, Bundle, Signature and Report show in a notebook: a fragment with its own style.

It has no script, inherits colours and fonts from the notebook, light or dark, and stays below
`MOST_BYTES` whatever is in the bundle: what is too much is counted. Called by `_repr_html_`, which
must not fail, so that damage is told in the fragment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ConcreteFunction
from orbax_model_lite.core.report import Report
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.describing import describe
from orbax_model_lite.inspection.description import (
    Description,
    FunctionDescription,
    PipelineDescription,
    StageDescription,
    WeightsDescription,
)
from orbax_model_lite.inspection.page.findings import finding_item, verdict
from orbax_model_lite.inspection.page.functions import concrete
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.parts import badge
from orbax_model_lite.inspection.page.trees import tree
from orbax_model_lite.inspection.signatures import (
    SignatureLine,
    plain_signature_lines,
    signature_lines,
)
from orbax_model_lite.inspection.wording import counted, size_text
from orbax_model_lite.orchestration import Orchestration

MOST_BYTES: Final = 1_000_000
"""More than a fragment ever takes."""

_TREE_BYTES: Final = 100_000
_LIST_BYTES: Final = 250_000
_MOST_LINES: Final = 300
_MOST_ITEMS: Final = 50
_MOST_LETTERS: Final = 300


def bundle_html(bundle: Bundle) -> str:
    """Returns what a bundle is: pipelines, functions with their trees, weights, versions."""
    return _described(bundle, "Bundle", None)


def model_html(bundle: Bundle, orchestration: Orchestration) -> str:
    """Returns the same of a loaded model, whose pipelines may be other than the bundle's."""
    return _described(bundle, "Model", orchestration)


def signature_html(signature: Signature) -> str:
    """Returns inputs and outputs as trees."""
    return _fragment(_sides(*plain_signature_lines(signature)))


def report_html(report: Report) -> str:
    """Returns the verdict and the findings."""
    items = (
        finding_item(replace(f, where=_short(f.where), message=_short(f.message)))
        for f in report.findings
    )
    title = element("p", "Report ", verdict(report), class_="obm-title")
    return _fragment(title, _fitted("ul", items, class_="obm-findings"))


def _fragment(*content: Content) -> str:
    style = resources.files("orbax_model_lite.inspection.page").joinpath("notebook.css")
    text = Html(style.read_text(encoding="utf-8"))
    return element("div", element("style", text), content, class_="obm-lite")


def _described(bundle: Bundle, what: str, orchestration: Orchestration | None) -> str:
    title = element("p", f"{what} ", element("code", _short(bundle.path.name)), class_="obm-title")
    try:
        found = describe(bundle, orchestration=orchestration)
    except (ObmError, OSError) as e:
        return _fragment(title, element("p", _short(str(e))))
    functions = zip(found.functions, concrete(bundle), strict=True)
    return _fragment(
        title,
        element("p", _summary(found), class_="obm-dim"),
        _fitted("div", (_pipeline(p) for p in found.pipelines)),
        _fitted("ul", (_function(bundle, about, f) for about, f in functions)),
        _fitted("ul", (_weights(w) for w in found.weights)),
        _fitted("ul", (element("li", f"damaged: {_short(p)}") for p in found.problems)),
    )


def _summary(found: Description) -> str:
    name = " ".join(filter(None, (found.metadata.get("name"), found.metadata.get("version"))))
    size = f"{size_text(found.size_bytes)} in {counted(found.file_count, 'file')}"
    count = len(found.needs_tensorflow)
    needs = f"needs TensorFlow for {counted(count, 'function')}" if count else "no TensorFlow"
    examples = counted(found.example_count, "recorded example") if found.example_count else ""
    written = ", ".join(f"{name} {version}" for name, version in list(found.versions.items())[:9])
    parts = (name, size, needs, examples, f"written by {written}" if written else "")
    return " · ".join(_short(part) for part in parts if part)


def _pipeline(pipeline: PipelineDescription) -> Html:
    boxes: list[Content] = [element("span", _short(pipeline.name), class_="obm-key")]
    for i, stage in enumerate(pipeline.stages[:_MOST_ITEMS]):
        boxes += [element("span", "→", class_="obm-dim") if i else None, _stage(stage)]
    if len(pipeline.stages) > _MOST_ITEMS:
        boxes.append(f"and {len(pipeline.stages) - _MOST_ITEMS:,} more")
    return element("div", boxes, class_="obm-flow")


def _stage(stage: StageDescription) -> Html:
    held = f" + {_short(stage.weights)}" if stage.weights is not None else ""
    name = element("code", _short(stage.function))
    about = element("span", f" {_short(stage.kind)}{held}", class_="obm-dim")
    return element("span", name, about, class_="obm-stage")


def _function(bundle: Bundle, about: FunctionDescription, function: ConcreteFunction) -> Html:
    try:
        body: Content = _sides(*signature_lines(function, bundle.read_bytes))
    except ObmError as e:
        body = element("p", _short(str(e)))
    title = element(
        "summary",
        element("code", _short(about.name), class_="obm-key"),
        [" ", badge(_short(about.kind))],
        element("span", f" {_short(about.signature)}", class_="obm-dim"),
    )
    return element("li", element("details", title, element("div", body, class_="obm-body")))


def _weights(about: WeightsDescription) -> Html:
    count = "?" if about.array_count is None else counted(about.array_count, "array")
    types = ", ".join(list(about.dtypes)[:9])
    size = size_text(about.size_bytes or about.disk_bytes)
    text = about.problem or f" {about.format}: {count}, {size} {types}"
    name = element("code", _short(about.name), class_="obm-key")
    return element("li", name, element("span", f" {_short(text)}", class_="obm-dim"))


def _sides(inputs: Sequence[SignatureLine], outputs: Sequence[SignatureLine]) -> Html:
    return element(
        "div",
        [
            element(
                "div", element("span", title, class_="obm-dim"), _tree(lines), class_="obm-side"
            )
            for title, lines in (("inputs", inputs), ("outputs", outputs))
        ],
    )


def _tree(lines: Sequence[SignatureLine]) -> Html:
    shown = [
        replace(
            line, key=_short(line.key), shape=_short(line.shape), sharding=_short(line.sharding)
        )
        for line in lines[:_MOST_LINES]
    ]
    for most_lines in (_MOST_LINES, 20):
        found = tree(shown, most_lines=most_lines, count=len(lines))
        if len(found) <= _TREE_BYTES:
            return found
    return element("p", f"{len(lines):,} lines, too long to show", class_="obm-none")


def _fitted(tag: str, items: Iterable[Html], class_: str | None = None) -> Html | None:
    """Returns a list of as many items as there is room for, and the number of the others."""
    shown: list[Html] = []
    size = left_out = 0
    for item in items:
        if left_out or len(shown) == _MOST_ITEMS or size + len(item) > _LIST_BYTES:
            left_out += 1
            continue
        size += len(item)
        shown.append(item)
    if left_out:
        inner = "li" if tag == "ul" else "p"
        shown.append(element(inner, f"and {left_out:,} more", class_="obm-none"))
    return element(tag, shown, class_=class_) if shown else None


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…"
