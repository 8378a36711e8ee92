"""Weights as one SafeTensors file, written from and read into memory without detours.

The library's Python functions copy every tensor on the way in, order metadata at random on the way
out and know no element type beyond their own, so the format (a JSON header and the raw arrays) is
read and written here. Headers are checked as strictly as the library checks them.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, final

import numpy as np

from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.hashing import write_hashed
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.errors import InvalidBundleError, StorageError
from orbax_model_lite.jax2obm import buffers, stored
from orbax_model_lite.jax2obm.buffers import Index, whole
from orbax_model_lite.jax2obm.stored import StoredArray

_METADATA: Final = "__metadata__"
_MAX_HEADER_BYTES: Final = 100_000_000
_MAX_RANK: Final = 64
_DATA_ALIGNMENT_BYTES: Final = 64

_CODES: Final[Mapping[DType, str]] = {
    DType.BOOL: "BOOL",
    DType.INT8: "I8",
    DType.INT16: "I16",
    DType.INT32: "I32",
    DType.INT64: "I64",
    DType.UINT8: "U8",
    DType.UINT16: "U16",
    DType.UINT32: "U32",
    DType.UINT64: "U64",
    DType.FLOAT8_E4M3FN: "F8_E4M3",
    DType.FLOAT8_E4M3FNUZ: "F8_E4M3FNUZ",
    DType.FLOAT8_E5M2: "F8_E5M2",
    DType.FLOAT8_E5M2FNUZ: "F8_E5M2FNUZ",
    DType.FLOAT8_E8M0FNU: "F8_E8M0",
    DType.FLOAT16: "F16",
    DType.BFLOAT16: "BF16",
    DType.FLOAT32: "F32",
    DType.FLOAT64: "F64",
    DType.COMPLEX64: "C64",
}
_DTYPES: Final = {code: dtype for dtype, code in _CODES.items()}
# Types with several elements to a byte; their arrays are measured, not read.
_PACKED_BITS: Final = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def planned(specs: Tree) -> Tree:
    """Returns how a file will store weights with these specs, see `stored.plan`."""
    return stored.plan(specs, native=_CODES, taken=(_METADATA,))


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
    header: dict[str, Any] = {_METADATA: {stored.RECORD_KEY: record}}
    begin = 0
    for array in arrays:
        end = begin + math.prod(array.stored_shape) * array.stored_dtype.numpy.itemsize
        header[array.name or ""] = {
            "dtype": _CODES[array.stored_dtype],
            "shape": list(array.stored_shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > _MAX_HEADER_BYTES - _DATA_ALIGNMENT_BYTES:
        raise StorageError(
            f"SafeTensors file: expected a header of at most {_MAX_HEADER_BYTES} bytes; found "
            f"{len(text)} for {len(arrays)} arrays; save the weights as an Orbax checkpoint"
        )
    text += b" " * (-(8 + len(text)) % _DATA_ALIGNMENT_BYTES)
    return len(text).to_bytes(8, "little") + text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What the header says of one array; begin and end count bytes from the start of the file."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


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
            if len(self._bytes) < 8:
                raise self._damaged("at least 8 bytes", f"{len(self._bytes)}")
            self._entries, metadata = self._checked_header()
            record = metadata.get(stored.RECORD_KEY)
            self._tree = self._flat_tree() if record is None else self._recorded_tree(record)
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
                    raise self._damaged(f"{len(self._bytes)} bytes", f"{begin}")
                rest, begin = rest[count:], begin + count
        return array.from_stored(target.view(array.stored_dtype.numpy).reshape(entry.shape))

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

    def _checked_header(self) -> tuple[dict[str, _Entry], Mapping[str, Any]]:
        length = int.from_bytes(self._bytes[:8].tobytes(), "little")
        most = min(_MAX_HEADER_BYTES, len(self._bytes) - 8)
        if length > most:
            raise self._damaged(f"a header of at most {most} bytes", f"{length}")
        try:
            header = json.loads(
                self._bytes[8 : 8 + length].tobytes(), object_pairs_hook=_without_repetition
            )
        except (ValueError, RecursionError) as e:
            raise self._damaged("a JSON header", f"{e}") from e
        if not isinstance(header, dict):
            raise self._damaged("a JSON object as header", f"{header!r:.80}")
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise self._damaged(f"text values in {_METADATA!r}", f"{metadata!r:.80}")
        start = 8 + length
        entries = {name: self._checked_entry(name, v, start) for name, v in header.items()}
        end = start
        for name, entry in sorted(entries.items(), key=lambda e: (e[1].begin, e[1].end)):
            if entry.begin != end:
                kind = "overlaps" if entry.begin < end else "a gap"
                raise self._damaged("arrays one behind the other", f"{kind} before {name!r:.80}")
            end = entry.end
        if end != len(self._bytes):
            raise self._damaged(f"{end} bytes", f"{len(self._bytes)}")
        return entries, metadata

    def _checked_entry(self, name: str, value: Any, start: int) -> _Entry:
        match value:
            case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end]}:
                sizes = [*shape, begin, end]
                if all(type(n) is int and 0 <= n < 1 << 63 for n in sizes) and begin <= end:
                    bits = self._element_bits(name, code) * math.prod(shape)
                    if bits == 8 * (end - begin) and len(shape) <= _MAX_RANK:
                        return _Entry(
                            code=code, shape=tuple(shape), begin=start + begin, end=start + end
                        )
        raise self._damaged(
            f"dtype, shape and matching data_offsets for {name!r:.80}", f"{value!r:.200}"
        )

    def _element_bits(self, name: str, code: str) -> int:
        if code in _PACKED_BITS:
            return _PACKED_BITS[code]
        if code not in _DTYPES:
            raise self._damaged(f"a known element type for {name!r:.80}", f"{code!r:.80}")
        return 8 * _DTYPES[code].numpy.itemsize

    def _flat_tree(self) -> Tree:
        return dict(self._flat_arrays())

    def _flat_arrays(self) -> Iterator[tuple[str, StoredArray]]:
        for name, entry in self._entries.items():
            if entry.code in _PACKED_BITS:
                problem = f"elements of type {entry.code}, several to a byte"
                yield name, StoredArray(path=(name,), name=name, problem=problem)
                continue
            spec = Spec(shape=entry.shape, dtype=_DTYPES[entry.code])
            yield name, StoredArray(path=(name,), name=name, spec=spec)

    def _recorded_tree(self, record: str) -> Tree:
        try:
            parsed = json.loads(record)
        except (ValueError, RecursionError) as e:
            raise self._damaged("a JSON record of the weights", f"{e}") from e
        tree = stored.from_record(parsed, self._where)
        left = dict(self._entries)
        for path, array in flatten_with_path(tree):
            entry = left.pop(array.name or "", None)
            known = None if entry is None else (entry.shape, _DTYPES.get(entry.code))
            if known != (array.stored_shape, array.stored_dtype):
                wanted = Spec(shape=array.stored_shape, dtype=array.stored_dtype)
                raise self._damaged(
                    f"{wanted} for {format_path(path)!r:.80} as recorded", f"{known}"
                )
        if left:
            raise self._damaged("the arrays of the record", f"besides them {sorted(left)!r:.200}")
        return tree

    def _damaged(self, expected: str, found: str) -> InvalidBundleError:
        return InvalidBundleError(
            f"{self._where}: expected {expected}; found {found}; "
            "the file is damaged or was not saved completely, copy or save it again"
        )


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
