"""A file's digest worked out while the file is written, so that nobody has to read it for that.

What is digested after somebody else has written it is the matter of `digests`.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from orbax_model_lite.core import storage
from orbax_model_lite.core.digests import FileDigest

_PIECE_BYTES: Final = 4 << 20
_FLUSHED_BYTES: Final = 64 << 20
# A lead that keeps the hasher busy while the file system makes the writer wait.
_PIECES_AHEAD: Final = 24
_O_BINARY: Final = getattr(os, "O_BINARY", 0)


def write_hashed(path: Path, contents: Iterable[bytes | memoryview]) -> FileDigest:
    """Writes a new file and returns its digest; its content is on the disk then.

    One thread writes, one hashes and one flushes, so the slowest of the three takes all the time.

    Args:
      path: A file that does not exist.
      contents: Its content in order. The buffers must not change before this returns.

    Raises:
      OSError: If the file system refuses. Nothing is left behind then.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
    try:
        return _written(handle, contents)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(handle)


def _written(handle: int, contents: Iterable[bytes | memoryview]) -> FileDigest:
    flush = getattr(os, "fdatasync", os.fsync)
    digest, size_bytes, flushed_bytes = hashlib.sha256(), 0, 0
    hashed: deque[Future[None]] = deque()
    flushed: list[Future[None]] = []
    with ThreadPoolExecutor(1) as hasher, ThreadPoolExecutor(1) as flusher:
        for piece in _pieces(contents):
            hashed.append(hasher.submit(digest.update, piece))
            storage.write_all(handle, piece)
            size_bytes += len(piece)
            if size_bytes - flushed_bytes >= _FLUSHED_BYTES:
                flushed.append(flusher.submit(flush, handle))
                flushed_bytes = size_bytes
            while len(hashed) > _PIECES_AHEAD:
                hashed.popleft().result()
        flushed.append(flusher.submit(os.fsync, handle))
        for job in (*hashed, *flushed):
            job.result()
    return FileDigest(size_bytes=size_bytes, sha256=digest.digest())


def _pieces(contents: Iterable[bytes | memoryview]) -> Iterable[memoryview]:
    for content in contents:
        whole = memoryview(content).cast("B")
        for start in range(0, len(whole), _PIECE_BYTES):
            yield whole[start : start + _PIECE_BYTES]
