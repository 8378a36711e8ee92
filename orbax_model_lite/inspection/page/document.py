"""The page as a whole: sections in their order, style, script and the policy that binds them."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.report import Report
from orbax_model_lite.core.storage import storage_errors, write_file
from orbax_model_lite.errors import StorageError
from orbax_model_lite.inspection.describing import describe
from orbax_model_lite.inspection.description import Description
from orbax_model_lite.inspection.page import functions, weights
from orbax_model_lite.inspection.page.examples import examples
from orbax_model_lite.inspection.page.findings import findings, inspected, verdict
from orbax_model_lite.inspection.page.markup import Content, Html, element
from orbax_model_lite.inspection.page.origin import files, origin
from orbax_model_lite.inspection.page.parts import Places, badge, code
from orbax_model_lite.inspection.page.pipelines import pipelines
from orbax_model_lite.inspection.wording import size_text

_PACKAGE: Final = "orbax_model_lite.inspection.page"  # with the style and the script


def page_html(bundle: Bundle, *, report: Report | None = None) -> str:
    """Returns a bundle as one self-contained HTML page.

    Its policy (Content-Security-Policy) lets nothing be fetched and nothing run but its own script;
    what does not depend on the script is there without it.

    Args:
      bundle: What was read.
      report: The findings to show; None checks files, digests, references and wires.

    Raises:
      StorageError: If the file system refuses.
    """
    found = describe(bundle)
    report = inspected(bundle) if report is None else report
    places = Places(functions=functions.anchors(found), weights=weights.anchors(found))
    sections = {
        "pipelines": pipelines(bundle, found, places),
        "functions": functions.functions(bundle, found),
        "weights": weights.weights(bundle, found),
        "examples": examples(bundle, found),
        "findings": findings(report),
        "origin": origin(found),
        "files": files(bundle, found),
    }
    if report.has_errors:
        sections = {"findings": sections["findings"]} | sections
    title = found.metadata.get("name") or bundle.path.resolve().name
    style, script = _asset("page.css"), _asset("page.js")
    body = element(
        "body",
        element("a", "Skip to content", href="#content", class_="skip"),
        _header(title, found, report),
        element(
            "div",
            _contents(sections),
            element("main", _problems(found), sections.values(), id="content", tabindex="-1"),
            class_="columns",
        ),
        element("script", script),
    )
    return f"<!doctype html>\n{element('html', _head(title, style, script), body, lang='en')}\n"


def write_page(
    bundle: Bundle | str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    report: Report | None = None,
) -> None:
    """Writes a bundle as one self-contained HTML page; see `page_html`.

    Args:
      bundle: A folder, or what was read from it.
      file: Where to; a file that is there is replaced when the page is complete.
      report: The findings to show; None checks files, digests, references and wires.

    Raises:
      InvalidBundleError: If it is no bundle, unfinished or damaged beyond reading.
      UnsupportedError: If it is of a version that this reader does not know.
      StorageError: If `file` is no file or is inside the bundle, or the file system refuses.

    Example:
      >>> from orbax_model_lite import core
      >>> core.save({"nothing": core.TupleValue(elements=())}, "m.obm")
      >>> write_page("m.obm", "m.html")
    """
    found = bundle if isinstance(bundle, Bundle) else read(bundle)
    target = Path(file)
    _require_target(found, target)
    content = page_html(found, report=report).encode()
    beside = target.with_name(f".obm-view-{secrets.token_hex(8)}")
    with storage_errors("writing", target):
        try:
            write_file(target, content, beside=beside)
        finally:
            beside.unlink(missing_ok=True)


def _require_target(bundle: Bundle, target: Path) -> None:
    where = f"page {os.fspath(target)!r}"
    if target.exists() and not target.is_file():
        raise StorageError(
            f"{where}: expected the name of a file; found something else there; choose another name"
        )
    if bundle.path.resolve() in target.resolve().parents:
        raise StorageError(
            f"{where}: expected a file outside the bundle; found one inside, which its record of "
            "files does not know; choose another folder"
        )


def _head(title: str, style: Html, script: Html) -> Html:
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · bundle"),
        element("style", style),
    )


def _header(title: str, found: Description, report: Report) -> Html:
    version = found.metadata.get("version")
    return element(
        "header",
        element(
            "div",
            element("h1", title, element("span", version, class_="note") if version else None),
            element("button", "Theme: auto", type="button", id="theme", hidden=True),
            class_="line",
        ),
        element("p", found.metadata.get("description"), class_="lead")
        if found.metadata.get("description")
        else None,
        element("ul", [element("li", tile) for tile in _tiles(found, report)], class_="tiles"),
    )


def _tiles(found: Description, report: Report) -> list[Content]:
    platforms = sorted({p for f in found.functions for p in f.platforms})
    sizes = [weights.held_bytes(w) for w in found.weights]
    held = sum(size or 0 for size in sizes) if any(sizes) else None
    needs = [[code(name), " "] for name in found.needs_tensorflow[:3]]
    if len(found.needs_tensorflow) > 3:
        needs.append([f"and {len(found.needs_tensorflow) - 3:,} more"])
    return [
        [_label("verdict"), element("a", verdict(report), href="#findings")],
        [_label("size"), element("strong", size_text(found.size_bytes))],
        [_label("weights"), element("strong", size_text(held) if found.weights else "none")],
        [_label("functions"), element("strong", f"{len(found.functions):,}")],
        [_label("runs on"), element("span", [badge(p, "quiet") for p in platforms] or "not said")],
        [
            _label("TensorFlow"),
            element("span", ["needed by ", needs] if needs else badge("not needed", "good")),
        ],
    ]


def _label(text: str) -> Html:
    return element("span", text, class_="role")


def _contents(sections: Mapping[str, Html]) -> Html:
    links = [
        element("li", element("a", name.capitalize(), href=f"#{name}"))
        for name, content in sections.items()
        if content
    ]
    return element("nav", element("ul", links), class_="contents", aria_label="sections")


def _problems(found: Description) -> Html | None:
    if not found.problems:
        return None
    items = [element("li", problem) for problem in found.problems]
    return element("ul", items, class_="card problem", role="alert")


def _asset(name: str) -> Html:
    return Html(resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8"))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
