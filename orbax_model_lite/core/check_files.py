"""The files of a bundle against its record of digests; a part of `check`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from orbax_model_lite.core import digests, integrity, layout
from orbax_model_lite.core.digests import FileDigest, Progress
from orbax_model_lite.core.report import Finding, severity_of
from orbax_model_lite.errors import ObmError


def check_files(
    root: Path, progress: Progress | None = None, *, with_digests: bool = True
) -> Iterator[Finding]:
    """Gives a finding for each file that is missing, changed, unlisted, or may not be there.

    Args:
      root: The bundle's folder.
      progress: Called with (bytes done, total) while files are digested.
      with_digests: Whether files are read and digested; else their names and sizes are compared.
    """
    closed: dict[str, OSError] = {}
    files, problems = digests.scan(root, closed.__setitem__)
    for path, error in closed.items():
        yield _unreadable(path, error)
    for path, problem in problems:
        message = f"expected a regular file; found {problem}; fetch the bundle again"
        yield Finding("error", f"file {path!r}", message)
    for name in (layout.JOURNAL_FILE, layout.UNFINISHED_FILE):
        if os.path.lexists(root / name):
            yield Finding("info", f"file {name!r}", "left by a save that was killed; may go")
    try:
        listed = integrity.load_integrity(root)
    except ObmError as e:
        yield of_error(e)
        return
    if listed is None:
        message = (
            f"expected {layout.INTEGRITY_FILE!r} with a digest of each file; found none, so that "
            "changes cannot be noticed; save the bundle again to have one"
        )
        yield Finding("inconclusive", f"bundle {os.fspath(root)!r}", message)
        return
    hidden = {path for path in listed if any(PurePosixPath(path).is_relative_to(c) for c in closed)}
    named = hidden | {path for path, _ in problems}
    yield from _compare_names(set(files), listed, named)
    present = {path: listed[path] for path in files if path in listed}
    if with_digests:
        yield from _compare_contents(root, present, progress)
    else:
        for path, digest in present.items():
            yield from _compare_size(root, path, digest)


def of_error(error: ObmError) -> Finding:
    """Returns the finding for an error that reading a bundle has raised."""
    where, _, message = str(error).partition(": ")
    return Finding(severity_of(error), where, message)


def _compare_names(
    files: set[str], listed: Mapping[str, FileDigest], named: set[str]
) -> Iterator[Finding]:
    for path in sorted(set(listed) - files - named):
        message = "expected by the record of digests; found nothing; fetch the bundle again"
        yield Finding("error", f"file {path!r}", message)
    for path in sorted(files - set(listed)):
        message = (
            "expected only files that the save has recorded; found one more, so it was added "
            "afterwards; remove it or save the bundle again"
        )
        yield Finding("error", f"file {path!r}", message)


def _compare_contents(
    root: Path, present: Mapping[str, FileDigest], progress: Progress | None
) -> Iterator[Finding]:
    readable: list[str] = []
    for path, digest in present.items():
        problems = list(_compare_size(root, path, digest))
        yield from problems
        if not problems:
            readable.append(path)
    failed: dict[str, OSError] = {}
    found = digests.digest_files(root, readable, progress=progress, on_error=failed.__setitem__)
    for path, error in failed.items():
        yield _unreadable(path, error)
    for path in readable:
        if path in found and found[path] != present[path]:
            message = (
                f"expected SHA-256 {present[path].sha256.hex()[:16]}...; found "
                f"{found[path].sha256.hex()[:16]}..., so it was changed or damaged; "
                "fetch the bundle again"
            )
            yield Finding("error", f"file {path!r}", message)


def _compare_size(root: Path, path: str, digest: FileDigest) -> Iterator[Finding]:
    try:
        size = (root / path).stat().st_size
    except OSError as e:
        yield _unreadable(path, e)
        return
    if size != digest.size_bytes:
        message = f"expected {digest.size_bytes} bytes; found {size}; fetch the bundle again"
        yield Finding("error", f"file {path!r}", message)


def _unreadable(path: str, error: OSError) -> Finding:
    message = f"expected to read it; {error.strerror or error}; check its permissions"
    return Finding("inconclusive", f"file {path!r}", message)
