"""The one resolver of paths that a bundle names: relative, inside the folder, nothing special.

Every file and folder that a manifest or a marker mentions is opened through `resolve`. Names that
the writer chooses are checked by `require_relative` alone, before the file exists.
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
import stat

from orbax_model_lite.errors import InvalidBundleError, StorageError

_DRIVE = re.compile(r"[A-Za-z]:")


def require_relative(path: str, where: str) -> None:
    """Checks the text of a path alone; the file system is not touched.

    Args:
      path: As written in the bundle, with "/" between the parts.
      where: Beginning of the message, for example "weights 'w'".

    Raises:
      InvalidBundleError: If the path is empty, absolute, has a `..` or a NUL byte, or has the form
        of a Windows path.
    """
    if not path:
        raise InvalidBundleError(
            f"{where}: expected a path relative to the bundle; found an empty one; save it again"
        )
    if "\0" in path:
        raise InvalidBundleError(
            f"{where}: expected a path relative to the bundle; found a NUL byte in {path!r}; "
            "refusing to read it"
        )
    if path.startswith("/") or ".." in path.split("/"):
        raise _outside(path, where)
    if "\\" in path or _DRIVE.match(path):
        raise InvalidBundleError(
            f"{where}: expected a relative path with '/' between its parts; found {path!r}, which "
            "leaves the bundle on Windows; refusing to read it"
        )


def resolve(root: pathlib.Path, path: str, where: str) -> pathlib.Path:
    """Returns the existing file or folder that `path` means, with all links followed.

    Args:
      root: The bundle's folder.
      path: Relative to it, with "/" between the parts; one that ends in "/" must be a folder.
      where: Beginning of the message, for example "weights 'w'".

    Raises:
      InvalidBundleError: If `require_relative` refuses the path, a link leads out of the bundle,
        nothing is there, or it is neither a regular file nor a folder.
      StorageError: If the file system does not let us look.
    """
    require_relative(path, where)
    try:
        found = (root / path).resolve(strict=True)
        if not found.is_relative_to(root.resolve(strict=True)):
            raise _outside(path, where)
        mode = found.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as e:
        raise InvalidBundleError(
            f"{where}: expected {_kind(path)} {path!r} in the bundle; found nothing; "
            "the bundle is incomplete, copy or save it again"
        ) from e
    except RuntimeError as e:  # how Python 3.11 and 3.12 report a loop of links
        raise InvalidBundleError(
            f"{where}: expected {_kind(path)} {path!r}; found a loop of links; refusing to read it"
        ) from e
    except OSError as e:
        raise _translated(e, path, where) from e
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidBundleError(
            f"{where}: expected {path!r} to be a regular file or a folder; found a device, socket "
            "or pipe; refusing to read it"
        )
    if path.endswith("/") and not stat.S_ISDIR(mode):
        raise InvalidBundleError(
            f"{where}: expected {path!r} to be a folder; found a file; save it again"
        )
    return found


def read_file(root: pathlib.Path, path: str, where: str, max_bytes: int | None = None) -> bytes:
    """Returns the content of a file of the bundle.

    Args:
      root: The bundle's folder.
      path: See `resolve`.
      where: See `resolve`.
      max_bytes: Refuse a larger file; None reads any.

    Raises:
      InvalidBundleError: See `resolve`; or if it is a folder, or too large.
      StorageError: If the file system refuses.
    """
    file = require_file(resolve(root, path, where), path, where)
    try:
        with file.open("rb") as stream:
            content = stream.read() if max_bytes is None else stream.read(max_bytes + 1)
    except OSError as e:
        raise _translated(e, path, where) from e
    if max_bytes is not None and len(content) > max_bytes:
        raise InvalidBundleError(
            f"{where}: expected file {path!r} to have at most {max_bytes} bytes; found more; "
            "if the bundle is to be trusted, read it with larger limits"
        )
    return content


def require_file(file: pathlib.Path, path: str, where: str) -> pathlib.Path:
    """Returns `file` when it is not a folder.

    Raises:
      InvalidBundleError: If it is a folder.
    """
    if file.is_dir():
        raise InvalidBundleError(
            f"{where}: expected {path!r} to be a file; found a folder; save it again"
        )
    return file


def _outside(path: str, where: str) -> InvalidBundleError:
    return InvalidBundleError(f"{where}: file {path!r} is outside the bundle; refusing to read it")


def _kind(path: str) -> str:
    return "folder" if path.endswith("/") else "file"


def _translated(error: OSError, path: str, where: str) -> InvalidBundleError | StorageError:
    if error.errno in {errno.ELOOP, errno.ENAMETOOLONG}:
        return InvalidBundleError(
            f"{where}: expected {_kind(path)} {path[:80]!r} in the bundle; found "
            f"{os.strerror(error.errno).lower()}; refusing to read it"
        )
    return refused(error, f"{where}, {_kind(path)} {path!r}")


def refused(error: OSError, where: str) -> StorageError:
    """Returns the error that says that the file system did not let us read `where`."""
    translated = StorageError(
        f"{where}: expected to be able to read it; the file system says "
        f"{error.strerror or type(error).__name__!r}; check its permissions and the disk"
    )
    translated.errno = error.errno
    return translated
