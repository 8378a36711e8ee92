"""The page as a whole: sections in their order, style, script and the policy that binds them."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from importlib import resources
from pathlib import Path

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.report import Report
from orbax_model_lite.core.storage import storage_errors, write_file
from orbax_model_lite.errors import StorageError
from orbax_model_lite.inspection.describing import describe
from orbax_model_lite.inspection.page.markup import Html, element


def page_html(bundle: Bundle, *, report: Report | None = None) -> str:
    """Returns a bundle as one self-contained HTML page; see `write_page`."""
    found = describe(bundle)
    report = check(bundle) if report is None else report
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", found.metadata.get("name") or bundle.path.name),
        element("style", style),
    )
    body = element("body", element("pre", str(report)), element("script", script))
    return "<!doctype html>\n" + element("html", head, body, lang="en")


def write_page(
    bundle: Bundle, file: str | os.PathLike[str], *, report: Report | None = None
) -> None:
    """Writes a bundle as one self-contained HTML page, which needs no network.

    Args:
      bundle: What was read.
      file: Where to; a file that is there is replaced when the page is complete.
      report: The findings to show; None checks structure and files.

    Raises:
      StorageError: If `file` is a folder, or the file system refuses.
    """
    target = Path(file)
    text = page_html(bundle, report=report)
    if target.exists() and not target.is_file():
        raise StorageError(
            f"page {os.fspath(file)!r}: expected the name of a file; found something else there; "
            "choose another name"
        )
    root = bundle.path.resolve()
    if root in target.resolve().parents:
        raise StorageError(
            f"page {os.fspath(file)!r}: expected a file outside the bundle; found one inside, "
            "where its digests would not fit any more; choose another folder"
        )
    beside = target.with_name(f".obm-view-{secrets.token_hex(8)}")
    with storage_errors("writing", target):
        try:
            write_file(target, text.encode(), beside=beside)
        finally:
            beside.unlink(missing_ok=True)


def _asset(name: str) -> Html:
    return Html(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
