"""System calls that not every system or file system has, and the answer "it has none".

The exchange of two folders in one step (renameat2 of Linux), and the lock by which one process can
tell whether another is alive. What they are used for: `staging` and `journal`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def exchange(first: Path, second: Path) -> bool:
    """Swaps the names of two folders in one step; False where the system has no such call.

    At every moment both names exist. The two are on one file system.

    Raises:
      OSError: If the file system refuses it for another reason.
    """
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    ctypes.set_errno(0)
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _NO_EXCHANGE:
        return False
    raise OSError(error, os.strerror(error), os.fspath(first), None, os.fspath(second))


def _renameat2() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library older than the call
        return None
    end = (ctypes.c_int, ctypes.c_char_p)
    function.argtypes = [*end, *end, ctypes.c_uint]
    return function


def try_lock(handle: int) -> bool | None:
    """Tries to get the only lock on an open file or folder, without waiting.

    The lock goes with the handle, and with the process however it dies.

    Returns:
      Whether it was got; None where the system or the file system has no such locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def locked_folder(path: Path) -> Iterator[bool | None]:
    """Holds the lock on a folder during the block, where it can be had; see `try_lock`.

    Gives False, too, when nothing is at `path` any more once the lock is held.

    Raises:
      OSError: If the folder cannot be opened.
    """
    if fcntl is None:
        yield None
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        got = try_lock(handle)
        yield is_at(handle, path) if got else got
    finally:
        os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether the open file or folder is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False
