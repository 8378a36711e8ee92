"""Payloads of a bundle as bytes: from memory, or from a file, its digest checked first.

The only place where a bundle's files are opened for what is in them, the manifest's own among them.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import posixpath
from collections.abc import Mapping
from typing import BinaryIO

from orbax_model_lite.core import paths
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.errors import InvalidBundleError

Digests = Mapping[str, FileDigest]

_CHUNK_BYTES = 1 << 20


def read_payload(
    root: pathlib.Path,
    digests: Digests,
    data: Data,
    where: str,
    *,
    max_bytes: int | None = None,
) -> bytes:
    """Returns the bytes of a payload; text is given as UTF-8.

    Args:
      root: The bundle's folder.
      digests: Recorded digests by path; a file among them is read and checked as a whole.
      data: The payload.
      where: Beginning of a message, for example "function 'f', module".
      max_bytes: Refuse a longer payload; None takes any.

    Raises:
      InvalidBundleError: If there is no content, its path leads nowhere or out of the bundle, its
        range is not in the file, the file's digest is another one, or it is too long.
      StorageError: If the file system refuses.
    """
    content = data.inline_bytes
    if content is None and data.file is None:
        raise InvalidBundleError(
            f"{where}: expected bytes or a file; found neither; the bundle is damaged, save it "
            "again"
        )
    if content is None and data.file is not None:
        content = read_range(root, digests, data.file, where, max_bytes=max_bytes)
    if max_bytes is not None and len(content or b"") > max_bytes:
        raise _too_long(where, max_bytes)
    return content or b""


def read_range(
    root: pathlib.Path,
    digests: Digests,
    place: FileRange,
    where: str,
    *,
    max_bytes: int | None = None,
) -> bytes:
    """Returns the bytes of a file, or of a part of it.

    Args:
      root: See `read_payload`.
      digests: See `read_payload`.
      place: The file and the part.
      where: See `read_payload`.
      max_bytes: See `read_payload`.

    Raises:
      InvalidBundleError: See `read_payload`.
      StorageError: See `read_payload`.
    """
    found = paths.resolve(root, place.path, where)
    file = paths.require_file(found, place.path, where)
    expected = recorded(root, digests, place.path, file)
    try:
        with file.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            begin, end = _bounds(place, size, where)
            if max_bytes is not None and end - begin > max_bytes:
                raise _too_long(where, max_bytes)
            if expected is None:
                stream.seek(begin)
                return _exactly(stream, end - begin, place, where)
            _require_size(size, expected, place.path, where)
            return _checked(
                stream, expected, (begin, end), f"{where}: expected file {place.path!r}"
            )
    except OSError as e:
        raise paths.refused(e, f"{where}, file {place.path!r}") from e


def recorded(
    root: pathlib.Path, digests: Digests, path: str, file: pathlib.Path
) -> FileDigest | None:
    """Returns the digest recorded for a file, by its name or by the name that links lead to.

    Args:
      root: The bundle's folder.
      digests: By path.
      path: As the bundle spells it.
      file: What `paths.resolve` found for it.
    """
    digest = digests.get(posixpath.normpath(path))
    if digest is None and digests:
        digest = digests.get(file.relative_to(root.resolve()).as_posix())
    return digest


def _bounds(place: FileRange, size: int, where: str) -> tuple[int, int]:
    begin = place.offset or 0
    if begin < 0:
        begin += size
    end = size if place.size is None else begin + place.size
    if not 0 <= begin <= end <= size:
        length = "to its end" if place.size is None else f"of {place.size} bytes"
        raise InvalidBundleError(
            f"{where}: expected a range {length} from byte {place.offset or 0} of file "
            f"{place.path!r}; found a file of {size} bytes; the bundle is damaged, copy or save it "
            "again"
        )
    return begin, end


def _exactly(stream: BinaryIO, count: int, place: FileRange, where: str) -> bytes:
    parts: list[bytes] = []
    left = count
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    if left:
        raise InvalidBundleError(
            f"{where}: expected {count} bytes of file {place.path!r}; found {count - left}, as it "
            "was changed meanwhile; read it again"
        )
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require_size(size: int, expected: FileDigest, path: str, where: str) -> None:
    if size != expected.size_bytes:
        raise InvalidBundleError(
            f"{where}: expected file {path!r} to have {expected.size_bytes} bytes, as its digest "
            f"says; found {size}; copy the bundle again"
        )


def _checked(stream: BinaryIO, expected: FileDigest, bounds: tuple[int, int], head: str) -> bytes:
    """Returns a part of a file of which every byte went into the digest that is compared."""
    digest = hashlib.sha256()
    position, parts = 0, []
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        begin, end = (min(max(bound - position, 0), len(chunk)) for bound in bounds)
        parts.append(chunk[begin:end])
        position += len(chunk)
    if digest.digest() != expected.sha256:
        raise InvalidBundleError(
            f"{head} to have the SHA-256 that the bundle records; found another, so it was changed "
            "or damaged; copy the bundle again"
        )
    return b"".join(parts)


def _too_long(where: str, max_bytes: int) -> InvalidBundleError:
    return InvalidBundleError(
        f"{where}: expected at most {max_bytes} bytes; found more; "
        "if the bundle is to be trusted, read it with larger limits"
    )
