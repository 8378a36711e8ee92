"""Sizes and SHA-256 digests of the files of a folder, read on several threads.

Which files a bundle may hold is said here too. The record that keeps the digests is `integrity`'s.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias, final

from orbax_model_lite.core import layout, storage
from orbax_model_lite.errors import InvalidModelError

UNLISTED: Final = frozenset(
    {layout.INTEGRITY_FILE, layout.VERSION_FILE, layout.JOURNAL_FILE, layout.UNFINISHED_FILE}
)
"""Files at the top of a bundle that its record does not list."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes done, bytes in total), from one thread at a time."""

OnError: TypeAlias = Callable[[str, OSError], None]
"""Called with a path relative to the folder and why it could not be read."""

_BUFFER_BYTES = 1 << 20
_THREADS = min(8, os.cpu_count() or 1)


def _raise(path: str, error: OSError) -> None:
    raise error


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """Size and SHA-256 of one file.

    Attributes:
      size_bytes: Length of the file.
      sha256: 32 bytes.
    """

    size_bytes: int
    sha256: bytes

    def __post_init__(self) -> None:
        """Checks the sizes."""
        if len(self.sha256) != 32 or self.size_bytes < 0:
            raise ValueError(
                "file digest: expected 32 bytes of SHA-256 and a size of zero or more; "
                f"found {len(self.sha256)} bytes and {self.size_bytes}"
            )

    @classmethod
    def of(cls, content: bytes) -> FileDigest:
        """Returns the digest of a file with this content."""
        return cls(size_bytes=len(content), sha256=hashlib.sha256(content).digest())


def digest_file(path: Path, progress: Callable[[int], None] | None = None) -> FileDigest:
    """Returns size and SHA-256 of a file, read once in large pieces.

    Args:
      path: A regular file.
      progress: Called with the number of bytes of each piece.

    Raises:
      OSError: If it cannot be read.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    size = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
            if progress is not None:
                progress(count)
    return FileDigest(size_bytes=size, sha256=digest.digest())


def digest_files(
    root: Path,
    paths: Iterable[str],
    *,
    progress: Progress | None = None,
    on_error: OnError = _raise,
) -> dict[str, FileDigest]:
    """Returns the digests of files below `root`, read largest first on several threads.

    Args:
      root: The bundle's folder.
      paths: Relative to `root`, with `/`.
      progress: See `Progress`.
      on_error: Called for a file that cannot be read, which is left out then; by default its
        OSError is raised.
    """
    # Who only reads the record of digests does not wait for this import.
    from concurrent.futures import ThreadPoolExecutor

    by_size = sorted(((root / path).stat().st_size, path) for path in paths)
    report = _report(sum(size for size, _ in by_size), progress)

    def digest(path: str) -> FileDigest | OSError:
        try:
            return digest_file(root / path, report)
        except OSError as e:
            return e

    order = [path for _, path in reversed(by_size)]
    digests: dict[str, FileDigest] = {}
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        for path, found in zip(order, pool.map(digest, order), strict=True):
            if isinstance(found, OSError):
                on_error(path, found)
            else:
                digests[path] = found
    return digests


def _report(total: int, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    lock = threading.Lock()
    done = 0

    def report(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            progress(done, total)

    progress(0, total)
    return report


def digest_folder(
    root: Path,
    *,
    known: Mapping[str, FileDigest],
    flush: bool = False,
    progress: Progress | None = None,
) -> dict[str, FileDigest]:
    """Returns the digests of all files that a record of `root` lists.

    Args:
      root: The bundle's folder.
      known: Digests by path that a writer computed already; these files are not read again.
      flush: Also wait until every file is on the disk, which goes on while they are read.
      progress: See `Progress`.

    Raises:
      InvalidModelError: If the folder holds what a bundle may not, see `list_files`.
      OSError: If a file cannot be read.
    """
    from concurrent.futures import ThreadPoolExecutor

    paths = list_files(root)
    unknown = [path for path in paths if path not in known]
    with ThreadPoolExecutor(max_workers=_THREADS) as flushers:
        flushed = [flushers.submit(storage.fsync_file, root / path) for path in paths if flush]
        read = digest_files(root, unknown, progress=progress)
        for job in flushed:
            job.result()
    return {path: read[path] if path in read else known[path] for path in paths}


def list_files(root: Path) -> list[str]:
    """Returns the files that a record of `root` lists: sorted paths relative to it, with `/`.

    Raises:
      InvalidModelError: If a link leads out of the folder or to a folder, a file is neither regular
        nor a link to one, or a name is not Unicode; all of them are named.
      OSError: If a folder cannot be read.
    """
    found, problems = scan(root)
    if problems:
        listed = "\n  ".join(f"{path!r}: {problem}" for path, problem in problems)
        raise InvalidModelError(
            f"folder {os.fspath(root)!r}: expected regular files only; found\n  {listed}\n"
            "replace links by what they lead to and remove the rest"
        )
    return found


def scan(root: Path, on_error: OnError = _raise) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the files of a bundle, and (path, what is wrong with it) of those it may not hold.

    Both are sorted; paths are relative to `root`, with `/`.

    Args:
      root: The bundle's folder.
      on_error: Called for a folder that cannot be listed; by default its OSError is raised.
    """
    files: list[str] = []
    problems: list[tuple[str, str]] = []
    inside = root.resolve()

    def failed(error: OSError) -> None:
        on_error(Path(error.filename).relative_to(root).as_posix(), error)

    for folder, folders, names in os.walk(root, onerror=failed):
        below = Path(folder)
        links = [name for name in folders if (below / name).is_symlink()]
        for name in (*names, *links):
            path = PurePosixPath(below.relative_to(root).as_posix(), name).as_posix()
            if path in UNLISTED:
                continue
            problem = _problem(below / name, path, inside)
            if problem is None:
                files.append(path)
            else:
                problems.append((path, problem))
    return sorted(files), sorted(problems)


def _problem(path: Path, relative: str, root: Path) -> str | None:
    try:
        relative.encode()
        if path.is_symlink():
            return _link_problem(path, root)
        is_regular = stat.S_ISREG(path.lstat().st_mode)
    except UnicodeEncodeError:
        return "its name is not valid Unicode"
    return None if is_regular else "neither a regular file nor a folder"


def _link_problem(path: Path, root: Path) -> str | None:
    try:
        target = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        target = path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: how Python before 3.13 reports a loop
        return "a link that leads in a circle"
    if not target.is_relative_to(root):
        return f"a link that leads out of the folder, to {os.fspath(path.readlink())!r}"
    if target.is_dir():
        return "a link to a folder"
    return None if target.is_file() else "a link to nothing"
