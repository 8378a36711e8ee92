"""Checks of the folder itself: is it whole, can its files be read, is its layout known?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.report import Finding
from orbax_model_lite.errors import ObmError
from orbax_model_lite.orchestration import check_orchestration
from orbax_model_lite.runtime.diagnosis.checks import Check, listed, refusal
from orbax_model_lite.runtime.loading import read_orchestration


def folder_checks(
    bundle: Bundle, *, with_digests: bool, progress: Progress | None
) -> Iterator[Check]:
    """Yields the checks of a folder that could be read.

    Args:
      bundle: What was read from it.
      with_digests: Whether every file is read and digested.
      progress: Called with (bytes done, total) while files are digested.
    """
    report = check(bundle.path, with_digests=with_digests, progress=progress)
    yield _whole(bundle, report.findings, with_digests=with_digests)
    yield _readable(bundle.path)
    found = f"format {layout.FORMAT_VERSION} in the layout of {bundle.layout}"
    yield Check(name="layout", verdict="ok", found=found)


def _whole(bundle: Bundle, findings: tuple[Finding, ...], *, with_digests: bool) -> Check:
    problems = [f"{f.where}: {f.message}" for f in findings if f.severity == "error"]
    problems += _of_pipelines(bundle)
    if problems:
        more = f" (and {len(problems) - 1} more; obm verify lists all)" if problems[1:] else ""
        told = refusal("bundle", problems[0])
        return Check(name="bundle", verdict="problem", found=told.found + more, advice=told.advice)
    if bundle.digests is None:
        return Check(
            name="bundle",
            verdict="note",
            found="all that it names is there; it records no digests",
            advice="save it again to have changes noticed",
        )
    unjudged = [f"{f.where}: {f.message}" for f in findings if f.severity == "inconclusive"]
    if unjudged:
        # A load leaves alone what it does not know; what it needs is the matter of other checks.
        return refusal("bundle", unjudged[0], "note")
    # The record of digests, and what marks the folder as a bundle, are in no record.
    count = sum(len(names) for _, _, names in os.walk(bundle.path))
    what = "digests" if with_digests else "sizes"
    found = (
        f"{count:,} files are there; the {len(bundle.digests):,} recorded ones have their {what}"
    )
    return Check(name="bundle", verdict="ok", found=found)


def _of_pipelines(bundle: Bundle) -> list[str]:
    try:
        orchestration = read_orchestration(bundle)
        return check_orchestration(orchestration, bundle.objects, bundle.read_bytes)
    except ObmError as e:
        return [str(e)]


def _readable(root: Path) -> Check:
    closed = []
    for folder, _, names in os.walk(root, onerror=lambda e: closed.append(str(e.filename))):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue  # `check` has said it
            try:
                with path.open("rb", buffering=0) as file:
                    file.read(1)
            except OSError:
                closed.append(os.fspath(path.relative_to(root)))
    if closed:
        return Check(
            name="files",
            verdict="problem",
            found=f"cannot be read: {listed(sorted(closed))}",
            advice="change their permissions, or check the disk",
        )
    return Check(name="files", verdict="ok", found="all can be opened and read")
