"""The record of a bundle's files: path, size and SHA-256 of each, in `integrity.pb`.

It lists every file but itself, the version marker and what a save keeps while it runs. Whether a
bundle agrees with its record is the business of `check`; when it is written, of `save`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from orbax_model_lite._proto import integrity_pb2
from orbax_model_lite.core import layout, paths, storage
from orbax_model_lite.core.digests import FileDigest, Progress, digest_folder
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

ALGORITHM: Final = "sha256"
RECORD_VERSION: Final = "1"
MAX_RECORD_BYTES: Final = 256 << 20
"""A record larger than this is refused unread; it would list about three million files."""


def to_bytes(digests: Mapping[str, FileDigest]) -> bytes:
    """Returns the content of integrity.pb; the same digests give the same bytes."""
    record = integrity_pb2.Integrity(algorithm=ALGORITHM, format_version=RECORD_VERSION)
    for path, digest in sorted(digests.items()):
        record.files.add(path=path, size_bytes=digest.size_bytes, sha256=digest.sha256)
    return record.SerializeToString(deterministic=True)


def from_bytes(content: bytes, where: str) -> dict[str, FileDigest]:
    """Returns the digests by path that the content of an integrity.pb lists.

    Args:
      content: All bytes of the file.
      where: The bundle, as the beginning of a message.

    Raises:
      InvalidBundleError: If it does not parse, or an entry is damaged or repeated.
      UnsupportedError: If it was written for another algorithm or a newer version.
    """
    record = integrity_pb2.Integrity()
    try:
        record.ParseFromString(content)
    except DecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected {layout.INTEGRITY_FILE} to be a record of digests; found bytes "
            "that do not parse; fetch the bundle again"
        ) from e
    if (record.algorithm, record.format_version) != (ALGORITHM, RECORD_VERSION):
        raise UnsupportedError(
            f"{where}: expected {layout.INTEGRITY_FILE} with {ALGORITHM!r}, version "
            f"{RECORD_VERSION!r}; found {record.algorithm!r}, version {record.format_version!r}; "
            "upgrade orbax_model_lite"
        )
    digests: dict[str, FileDigest] = {}
    for file in record.files:
        if file.path in digests or len(file.sha256) != 32:
            raise InvalidBundleError(
                f"{where}: expected {layout.INTEGRITY_FILE} to list each file once with 32 bytes "
                f"of SHA-256; found {file.path!r} otherwise; fetch the bundle again"
            )
        digests[file.path] = FileDigest(size_bytes=file.size_bytes, sha256=file.sha256)
    return digests


def write_integrity(
    root: Path, *, known: Mapping[str, FileDigest] | None = None, progress: Progress | None = None
) -> str:
    """Writes integrity.pb for the files that are in a folder and returns the content hash.

    The bytes depend on paths and contents only.

    Args:
      root: The bundle's folder.
      known: Digests by path that a writer computed already; these files are not read again.
      progress: Called while the other files are read, see `Progress`.

    Raises:
      InvalidModelError: If the folder holds what a bundle may not, see `list_files`.
      StorageError: If a file cannot be read or the record not be written.
    """
    with storage.storage_errors("recording the digests of", root):
        content = to_bytes(digest_folder(root, known=known or {}, progress=progress))
        beside = root / layout.UNFINISHED_FILE
        storage.write_file(root / layout.INTEGRITY_FILE, content, beside=beside)
        storage.fsync_folder(root)
    return hashlib.sha256(content).hexdigest()


def load_integrity(root: Path) -> Mapping[str, FileDigest] | None:
    """Returns the digests by path that a bundle records, None when it has no integrity.pb.

    Raises:
      InvalidBundleError: If the record is damaged, too large or not a regular file.
      UnsupportedError: If it is of another kind.
      StorageError: If it cannot be read.
    """
    content = _read_record(root)
    return None if content is None else from_bytes(content, f"bundle {os.fspath(root)!r}")


def content_hash(root: Path) -> str | None:
    """Returns the content hash of a bundle: SHA-256 of its integrity.pb in hexadecimal, or None.

    Two bundles with one hash have the same files (but for the version marker).

    Raises:
      InvalidBundleError: If the record is too large or not a regular file.
      StorageError: If it cannot be read.
    """
    content = _read_record(root)
    return None if content is None else hashlib.sha256(content).hexdigest()


def _read_record(root: Path) -> bytes | None:
    if not os.path.lexists(root / layout.INTEGRITY_FILE):
        return None
    where = f"bundle {os.fspath(root)!r}"
    return paths.read_file(root, layout.INTEGRITY_FILE, where, MAX_RECORD_BYTES)
