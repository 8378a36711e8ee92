"""The files of one save in place: written one by one, and known as ours if the save is killed.

Before the first of them, a journal with their paths and digests is put beside them. Files get their
names only when complete, so after a kill a file that the journal lists is ours exactly when its
digest is the one that the journal has: such files are removed by the next save. Every other file is
the caller's and is never written, renamed or removed. The journal goes when the save is finished,
and its lock keeps a second save of the same folder out.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

from orbax_model_lite.core import layout, paths, storage, syscalls
from orbax_model_lite.core.digests import FileDigest, digest_file
from orbax_model_lite.errors import BundleExistsError, InvalidBundleError, StorageError


@final
class Journal:
    """The open journal of one save; made by `opened`."""

    __slots__ = ("_handle", "_made", "_root")

    def __init__(self, root: Path, handle: int) -> None:
        """Takes over an open and locked journal file."""
        self._root = root
        self._handle = handle
        self._made: list[Path] = []

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Writes the files of the save in the given order, the last of which finishes it.

        Args:
          files: Content by path relative to the folder, with `/`; nothing has these paths yet. The
            last is at its top, and is written when the others are on the disk.

        Raises:
          OSError: If the file system refuses a step.
        """
        self._record({path: FileDigest.of(content) for path, content in files.items()})
        *others, last = files
        for path in others:
            self._write(path, files[path])
        for folder in {(self._root / path).parent for path in others}:
            storage.fsync_folder(folder)
        self._write(last, files[last])
        storage.fsync_folder(self._root)

    def remove_files(self) -> None:
        """Removes the files that the journal lists and that are still as it says, last first.

        Folders that this save made for them go too.

        Raises:
          OSError: If the file system refuses a step.
        """
        (self._root / layout.UNFINISHED_FILE).unlink(missing_ok=True)
        for path, digest in reversed(self._read().items()):
            file = self._root / path
            if self._is_ours(path, digest):
                file.unlink()
                storage.fsync_folder(file.parent)
        storage.remove_if_empty(self._made)

    def _write(self, path: str, content: bytes) -> None:
        self._made += storage.make_folders((self._root / path).parent)
        unfinished = self._root / layout.UNFINISHED_FILE
        storage.write_file(self._root / path, content, beside=unfinished)

    def _is_ours(self, path: str, digest: FileDigest) -> bool:
        try:
            file = paths.resolve(self._root, path, "journal")
        except (InvalidBundleError, StorageError):
            return False
        # A journal from a stranger may list anything; what a link leads to is never ours.
        if file != self._root.resolve() / path or not file.is_file():
            return False
        return file.stat().st_size == digest.size_bytes and digest_file(file) == digest

    def _record(self, digests: Mapping[str, FileDigest]) -> None:
        listed = {path: [d.size_bytes, d.sha256.hex()] for path, d in digests.items()}
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        storage.write_all(self._handle, json.dumps({"files": listed}).encode())
        os.fsync(self._handle)
        storage.fsync_folder(self._root)

    def _read(self) -> dict[str, FileDigest]:
        """Returns what the journal lists; nothing if it is torn, as no file was written then."""
        os.lseek(self._handle, 0, os.SEEK_SET)
        content = os.read(self._handle, os.fstat(self._handle).st_size)
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            return {
                path: FileDigest(size_bytes=size, sha256=bytes.fromhex(sha256))
                for path, (size, sha256) in json.loads(content)["files"].items()
            }
        return {}


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Journal]:
    """Gives the journal of a save into `root`, after removing what a killed one left there.

    When the block raises, the files that it wrote are removed. The journal is gone afterwards; it
    stays after a kill, or when files of ours could not be removed.

    Args:
      root: An existing folder.

    Raises:
      BundleExistsError: If the folder is a bundle, or another process is saving into it.
      OSError: If the file system refuses a step.
    """
    path = root / layout.JOURNAL_FILE
    require_unmarked(root)
    handle = _open_locked(path)
    try:
        _require_unfinished(root, path)
        journal = Journal(root, handle)
        try:
            journal.remove_files()
            yield journal
        except BaseException:
            with contextlib.suppress(OSError):
                journal.remove_files()
                path.unlink(missing_ok=True)
            raise
        # The bundle is complete, with or without a journal.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            storage.fsync_folder(root)
    finally:
        os.close(handle)


def require_unmarked(root: Path) -> None:
    """Checks that no finished save is in a folder.

    Raises:
      BundleExistsError: If a version marker of any layout is there.
    """
    for marker in (layout.VERSION_FILE, layout.LEGACY_VERSION_FILE):
        if os.path.lexists(root / marker):
            raise BundleExistsError(
                f"target {os.fspath(root)!r}: expected a folder that is not a bundle yet; found "
                f"{marker!r}; choose another target, or replace the whole bundle with overwrite"
            )


def _require_unfinished(root: Path, journal: Path) -> None:
    """Checks again, with the lock, because the files of a finished save must not be removed."""
    try:
        require_unmarked(root)
    except BundleExistsError:
        journal.unlink(missing_ok=True)
        raise


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        handle = os.open(path, flags, 0o666)
        got = syscalls.try_lock(handle)
        if got is False:
            os.close(handle)
            raise BundleExistsError(
                f"target {os.fspath(path.parent)!r}: expected no other save into it; found one "
                "that is running; wait for it or choose another target"
            )
        if syscalls.is_at(handle, path):
            return handle
        # Another save finished and took its journal away before we had the lock.
        os.close(handle)
