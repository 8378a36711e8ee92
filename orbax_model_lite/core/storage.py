"""Files written so that they survive a crash, and the file system's refusals in our words.

A file appears under its name only when it is complete (written beside, flushed, renamed). Which
files a save writes, and in which order, is the business of `save`; whole folders are `staging`'s.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from orbax_model_lite.errors import ObmError, StorageError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose a target on another disk",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another target",
    errno.EFBIG: "the file system does not take files this big; choose a target on another one",
    errno.EROFS: "the file system is read-only; choose a target elsewhere",
    errno.EACCES: "permission was denied; make the folder writable or choose another target",
    errno.EPERM: "permission was denied; make the folder writable or choose another target",
    errno.EEXIST: "something else has that name; choose another target",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another target",
    errno.EBUSY: "the folder is a mount point or in use; choose a target inside it",
    errno.ENAMETOOLONG: "the path is too long for the file system; choose a shorter one",
    errno.ELOOP: "symbolic links lead in a circle; remove them",
}
# Where nothing is written, another target is no way out.
_READING = "reading"
_ADVICE_READING = _ADVICE | {
    errno.EACCES: "permission was denied; make it readable, with the folders that it is in",
    errno.EPERM: "permission was denied; make it readable, with the folders that it is in",
    errno.ENOENT: "nothing is there; fetch or save it again",
    errno.EISDIR: "a folder stands where a file is needed; fetch or save it again",
    errno.ENOTDIR: "a file stands where a folder is needed; fetch or save it again",
    errno.EIO: "the disk is damaged or gone; check it",
}
_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Some network file systems have no fsync of a folder; one that may not be listed cannot be opened.
_NO_FOLDER_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
_CHUNK_BYTES = 32 << 20
_O_BINARY = getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def storage_errors(doing: str, path: Path, *, only_out_of_room: bool = False) -> Iterator[None]:
    """Turns an OSError of the block into a StorageError that names the path and a way out.

    Args:
      doing: What the block does, as the beginning of a message: "writing".
      path: The file or folder it does it to; the error's own path is preferred when it has one.
      only_out_of_room: Leave every error alone that does not mean that nothing more can be
        written, for blocks in which somebody else's code runs.

    Raises:
      StorageError: In place of the OSError, with its `errno`. Errors of ours pass unchanged.
    """
    try:
        yield
    except OSError as e:
        if isinstance(e, ObmError) or (only_out_of_room and e.errno not in _OUT_OF_ROOM):
            raise
        raise storage_error(doing, path, e) from e


def storage_error(doing: str, path: Path, cause: OSError) -> StorageError:
    """Returns the StorageError for a refusal of the file system."""
    where = os.fspath(path) if cause.filename is None else os.fsdecode(cause.filename)
    reason = cause.strerror or str(cause)
    known = _ADVICE_READING if doing == _READING else _ADVICE
    advice = known.get(cause.errno or 0, "repair the cause and repeat")
    error = StorageError(
        f"{doing} {where!r}: expected the file system to do it; {reason}; {advice}"
    )
    error.errno = cause.errno
    return error


def write_file(path: Path, content: bytes, *, beside: Path) -> None:
    """Writes a file that is either absent or complete, whenever the process or machine dies.

    That its name is on the disk is for `fsync_folder` to say.

    Args:
      path: The file; its folder exists. A file that is there is replaced.
      content: All of its bytes.
      beside: Name to use until it is complete, on the same file system.
    """
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
    try:
        write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)


def write_all(handle: int, content: bytes | memoryview) -> None:
    """Writes all bytes to an open file, however little the system takes at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest[:_CHUNK_BYTES]) :]


def fsync_file(path: Path) -> None:
    """Waits until the content of a file is on the disk, where a reader may ask for it."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system has such a call."""
    if os.name == "nt":
        return
    try:
        fsync_file(path)
    except OSError as e:
        if e.errno not in _NO_FOLDER_FSYNC:
            raise


def fsync_tree(root: Path) -> None:
    """Waits until every file below a folder and every name in it is on the disk."""
    files: list[Path] = []
    # Who only reads does not wait for this import.
    from concurrent.futures import ThreadPoolExecutor

    folders: list[Path] = []
    for folder, _, names in os.walk(root):
        folders.append(Path(folder))
        files += [Path(folder, name) for name in names]
    regular = [path for path in files if stat.S_ISREG(path.lstat().st_mode)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(fsync_file, regular))
    for folder in reversed(folders):
        fsync_folder(folder)


def make_folders(path: Path) -> list[Path]:
    """Makes a folder with its parents and returns the ones it made, outermost first."""
    made: list[Path] = []
    try:
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                made.append(folder)
                fsync_folder(folder.parent)
    except BaseException:
        remove_if_empty(made)
        raise
    return made


def remove_if_empty(folders: list[Path]) -> None:
    """Removes folders that nothing was put into, innermost first."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()
