"""A folder that becomes a bundle in one step: made beside the target, flushed, renamed.

Until the last rename the target is as it was, and from then on it is the new bundle. Beside it, for
a target `m.obm`, are `.m.obm.obm-staging-<16 hex digits>` while it is made, and, only where two
folders cannot be exchanged in one step, `.m.obm.obm-old-<16 hex digits>` between two renames.
Their makers hold a lock on them; those without one are what killed processes left, and go at next
use. Where the file system has no locks nobody can tell, so they stay.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from orbax_model_lite.core import layout, storage, syscalls
from orbax_model_lite.errors import BundleExistsError, InvalidBundleError

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_MAX_STEM_BYTES = 100


@contextlib.contextmanager
def staged(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Gives an empty folder that takes the place of `target` when the block ends well.

    The block must save a bundle into it. When the block raises, KeyboardInterrupt included, the
    folder is removed and the target stays as it was. Of several processes that save to one target
    without `overwrite`, one wins.

    Args:
      target: Where the bundle is to be. Missing parents are made. An empty folder may be there; a
        link is followed.
      overwrite: Replace a bundle that is there. Nothing but a folder with a version marker is ever
        replaced.

    Raises:
      BundleExistsError: If something is there that may not be replaced.
      InvalidBundleError: If the block ended without a version marker in the folder.
      StorageError: If the file system refuses a step, e.g. because the disk is full.
    """
    place = Path(os.path.realpath(target))
    with storage.storage_errors("saving to", place):
        recover(place)
        _require_free(place, overwrite)
        made = storage.make_folders(place.parent)
    try:
        with _staging_folder(place) as folder:
            with storage.storage_errors("saving to", place, only_out_of_room=True):
                yield folder
            with storage.storage_errors("saving to", place):
                _require_marker(folder, place)
                storage.fsync_tree(folder)
                _publish(folder, place, overwrite)
    except BaseException:
        storage.remove_if_empty(made)
        raise


def is_bundle(path: Path) -> bool:
    """Whether a folder has a version marker, so that the save of it finished."""
    return (path / layout.VERSION_FILE).is_file()


def recover(target: Path) -> None:
    """Undoes what killed processes left beside a target.

    A bundle that was moved aside and not replaced gets its name back; folders that were to replace
    it are removed. What may not be touched, or belongs to a running process, is left as it is.

    Args:
      target: The bundle's path; it need not exist.
    """
    for path in _siblings(target, "old"):
        with contextlib.suppress(OSError), syscalls.locked_folder(path) as is_ours:
            # Without locks: putting it back into an empty place takes nothing from anybody.
            if is_ours is not False and is_bundle(path) and not os.path.lexists(target):
                path.rename(target)
                storage.fsync_folder(target.parent)
            elif is_ours:
                _remove(path)
    for path in _siblings(target, "staging"):
        with contextlib.suppress(OSError), syscalls.locked_folder(path) as is_ours:
            if is_ours:
                _remove(path)


def _stem(target: Path) -> str:
    name = target.name
    if len(os.fsencode(name)) <= _MAX_STEM_BYTES:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def _siblings(target: Path, kind: str) -> list[Path]:
    pattern = re.compile(re.escape(f".{_stem(target)}.obm-{kind}-") + "[0-9a-f]{16}")
    try:
        present = sorted(target.parent.iterdir())
    except OSError:
        return []
    return [path for path in present if pattern.fullmatch(path.name) and not path.is_symlink()]


@contextlib.contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """Gives a new locked folder beside the target; what is at its name afterwards is removed."""
    is_ours: bool | None = False
    while is_ours is False:
        folder = target.with_name(f".{_stem(target)}.obm-staging-{secrets.token_hex(8)}")
        with contextlib.ExitStack() as stack:
            with storage.storage_errors("saving to", target):
                stack.callback(_remove, folder)
                folder.mkdir()
                is_ours = stack.enter_context(syscalls.locked_folder(folder))
            # False: before its lock was held, somebody took the folder for a dead one.
            if is_ours is not False:
                yield folder


def _require_free(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target) or (overwrite and is_bundle(target)):
        return
    if not target.is_dir():
        raise BundleExistsError(
            f"target {os.fspath(target)!r}: expected nothing there"
            f"{' but a bundle' if overwrite else ''}; found a file; choose another target"
        )
    if is_bundle(target):
        raise BundleExistsError(
            f"target {os.fspath(target)!r}: expected nothing there; found a bundle; "
            "pass overwrite=True to replace it or choose another target"
        )
    present = sorted(path.name for path in target.iterdir())
    if present:
        listed = ", ".join(map(repr, present[:4])) + (", ..." if len(present) > 4 else "")
        raise BundleExistsError(
            f"target {os.fspath(target)!r}: expected nothing there; found a folder without "
            f"{layout.VERSION_FILE!r}, so not a bundle, that holds {listed}; "
            "choose another target or remove it yourself"
        )


def _require_marker(folder: Path, target: Path) -> None:
    if not is_bundle(folder):
        raise InvalidBundleError(
            f"target {os.fspath(target)!r}: expected a finished save to move there; found no "
            f"{layout.VERSION_FILE!r} in the staging folder; call save into it first"
        )


def _publish(folder: Path, target: Path, overwrite: bool) -> None:
    """Gives a finished folder the target's name; what had it before is at the folder's name."""
    _require_free(target, overwrite)
    # Without overwrite, a bundle that appears just now makes the rename fail, as it must.
    if not (overwrite and is_bundle(target)):
        _move(folder, target)
        _flush_names(target.parent, lambda: target.rename(folder))
    elif syscalls.exchange(folder, target):
        _flush_names(target.parent, lambda: syscalls.exchange(folder, target))
    else:
        _replace_in_two_steps(folder, target)


def _flush_names(parent: Path, undo: Callable[[], object]) -> None:
    """Waits until new names are on the disk; where that fails, they are taken back."""
    try:
        storage.fsync_folder(parent)
    except BaseException:
        undo()
        raise


def _move(folder: Path, target: Path) -> None:
    if target.is_dir():
        # The mode that the owner of an empty folder gave it stays.
        folder.chmod(stat.S_IMODE(target.stat().st_mode))
        if os.name == "nt":
            target.rmdir()
    try:
        # Renaming a folder succeeds over nothing and over an empty folder only.
        folder.rename(target)
    except OSError as e:
        if e.errno in _TAKEN:
            raise BundleExistsError(
                f"target {os.fspath(target)!r}: expected nothing there; found what another "
                "process has put there meanwhile; choose another target"
            ) from e
        raise


def _replace_in_two_steps(folder: Path, target: Path) -> None:
    old = target.with_name(folder.name.replace(".obm-staging-", ".obm-old-"))
    with syscalls.locked_folder(target) as is_ours:
        if is_ours is False:
            raise BundleExistsError(
                f"target {os.fspath(target)!r}: expected no other save; found another process "
                "replacing it; repeat when that is done"
            )
        try:
            target.rename(old)
            _move(folder, target)
            _flush_names(target.parent, lambda: target.rename(folder))
        except BaseException:
            if not os.path.lexists(target):
                old.rename(target)
            raise
        _remove(old)


def _remove(folder: Path) -> None:
    """Removes a folder of ours, read-only or not; what cannot go now is tried at next use."""
    with contextlib.suppress(OSError):
        # What is left of it after a kill must not pass for a bundle.
        folder.chmod(0o700)
        (folder / layout.VERSION_FILE).unlink(missing_ok=True)
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                if not (path := Path(parent, name)).is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder)
