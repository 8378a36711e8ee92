"""Weights as one SafeTensors file, written from and read into memory without detours.

The library's Python functions copy every tensor on the way in, order metadata at random on the way
out and know no element type beyond their own, so the format (a JSON header and the raw arrays) is
read and written here; `safetensors_header` reads the header.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, final

import numpy as np

from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.hashing import write_hashed
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.errors import StorageError
from orbax_model_lite.jax2obm.weights import buffers, stored
from orbax_model_lite.jax2obm.weights.buffers import Index, whole
from orbax_model_lite.jax2obm.weights.safetensors_header import (
    CODES,
    MAX_HEADER_BYTES,
    METADATA,
    damaged,
    read_header,
)
from orbax_model_lite.jax2obm.weights.stored import StoredArray

_DATA_ALIGNMENT_BYTES: Final = 64


def planned(specs: Tree) -> Tree:
    """Returns how a file will store weights with these specs, see `stored.plan`."""
    return stored.plan(specs, native=CODES, taken=(METADATA,))


def write(
    path: Path, tree: Tree, values: Callable[[StoredArray], np.ndarray], *, hashed: bool = False
) -> FileDigest | None:
    """Writes a file; the same weights give the same bytes.

    Args:
      path: A file that does not exist.
      tree: What `planned` returned.
      values: Gives the host array of a leaf; called once for each, one after the other.
      hashed: Whether to return the file's digest, which is computed meanwhile. The file is on the
        disk then.

    Raises:
      StorageError: If the file system refuses. Nothing is left behind then.
    """
    contents = _contents(tree, values)
    with storage_errors("writing", path):
        if hashed:
            return write_hashed(path, contents)
        with path.open("xb") as file:
            try:
                for content in contents:
                    file.write(content)
            except BaseException:
                path.unlink()
                raise
    return None


def _contents(
    tree: Tree, values: Callable[[StoredArray], np.ndarray]
) -> Iterator[bytes | memoryview]:
    # The order of the library: large elements first, so that every array is aligned.
    arrays = sorted(
        (array for _, array in flatten_with_path(tree)),
        key=lambda array: (-array.stored_dtype.numpy.itemsize, array.name or ""),
    )
    yield _header(tree, arrays)
    for array in arrays:
        data = array.to_stored(values(array))
        yield memoryview(data.reshape(-1).view(np.uint8))


def _header(tree: Tree, arrays: Sequence[StoredArray]) -> bytes:
    record = json.dumps(stored.to_record(tree), separators=(",", ":"), sort_keys=True)
    header: dict[str, Any] = {METADATA: {stored.RECORD_KEY: record}}
    begin = 0
    for array in arrays:
        end = begin + math.prod(array.stored_shape) * array.stored_dtype.numpy.itemsize
        header[array.name or ""] = {
            "dtype": CODES[array.stored_dtype],
            "shape": list(array.stored_shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER_BYTES - _DATA_ALIGNMENT_BYTES:
        raise StorageError(
            f"SafeTensors file: expected a header of at most {MAX_HEADER_BYTES} bytes; found "
            f"{len(text)} for {len(arrays)} arrays; save the weights as an Orbax checkpoint"
        )
    text += b" " * (-(8 + len(text)) % _DATA_ALIGNMENT_BYTES)
    return len(text).to_bytes(8, "little") + text


@final
class SafeTensorsReader:
    """Arrays of one file, mapped into memory; safe to use from several threads."""

    def __init__(self, path: Path, *, content: np.ndarray | None = None) -> None:
        """Maps the file and checks its header.

        Args:
          path: The file.
          content: All of it, uint8, in memory that nobody changes, where it is there already. It is
            taken as it is then: neither mapped nor copied.

        Raises:
          InvalidBundleError: If it is not a complete SafeTensors file.
          StorageError: If the file system refuses.
        """
        self._where = f"SafeTensors file {str(path)!r}"
        self._is_mapped = content is None
        self._file: BinaryIO | None = None
        self._bytes = self._mapped(path) if content is None else content
        try:
            header = read_header(self._content, len(self._bytes), self._where)
            self._entries, self._tree = header.entries, header.tree
        except BaseException:
            self.close()
            raise

    @property
    def tree(self) -> Tree:
        """The tree with a StoredArray for every leaf; a flat dict in somebody else's file."""
        return self._tree

    @property
    def is_in_memory(self) -> bool:
        """Whether all of the file was given, so that reading takes no time."""
        return not self._is_mapped

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        """Returns the arrays with their specs, which the header gives."""
        return list(arrays)

    def view(self, array: StoredArray) -> np.ndarray:
        """Returns a whole array as a read-only view of the file, which stays mapped meanwhile."""
        entry = self._entries[array.name or ""]
        data = self._bytes[entry.begin : entry.end].view(array.stored_dtype.numpy)
        return array.from_stored(data.reshape(entry.shape))

    def read(
        self, array: StoredArray, indices: Sequence[Index], dtype: np.dtype | None = None
    ) -> list[np.ndarray]:
        """Returns parts of an array in buffers that the file does not share.

        Args:
          array: As `open` returned it.
          indices: The parts.
          dtype: Element type to cast to.

        Raises:
          UnsupportedError: If there is not enough memory.
        """
        where = f"{self._where}, array {format_path(array.path)!r}"
        view = self.view(array)
        if dtype is None and not self._is_mapped and view.flags.aligned:
            return [view[index] for index in indices]
        if dtype is None and self._file is not None and list(indices) == [whole(view.shape)]:
            return [self._copied(self._file, array, where)]
        return [buffers.copied(view[index], dtype, where) for index in indices]

    def close(self) -> None:
        """Lets go of the file; views that were handed out keep it mapped."""
        self._bytes = np.zeros(0, np.uint8)
        if self._file is not None:
            self._file.close()

    def _copied(self, file: BinaryIO, array: StoredArray, where: str) -> np.ndarray:
        """Returns a whole array read into a buffer: half the page faults of a copy of the view."""
        entry = self._entries[array.name or ""]
        target = buffers.empty((entry.end - entry.begin,), np.dtype(np.uint8), where)
        rest, begin = target.data, entry.begin
        with storage_errors("reading", Path(file.name)):
            while rest:
                count = os.preadv(file.fileno(), [rest], begin)
                if not count:
                    raise damaged(self._where, f"{len(self._bytes)} bytes", f"{begin}")
                rest, begin = rest[count:], begin + count
        return array.from_stored(target.view(array.stored_dtype.numpy).reshape(entry.shape))

    def _content(self, begin: int, end: int) -> bytes:
        return self._bytes[begin:end].tobytes()

    def _mapped(self, path: Path) -> np.ndarray:
        with storage_errors("reading", path), contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("rb", buffering=0))
            # An empty file cannot be mapped.
            if os.fstat(file.fileno()).st_size == 0:
                return np.zeros(0, np.uint8)
            if hasattr(os, "preadv"):
                self._file = file
                stack.pop_all()
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
