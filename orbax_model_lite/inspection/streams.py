"""Weights read in pieces of bounded size, whatever their format; no array is ever held whole.

A SafeTensors file is read with NumPy alone. A checkpoint is read through TensorStore, which is
imported when one is opened; JAX and Orbax are not. What becomes of the pieces is for others to say.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias, final

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.inspection.weights import disk_bytes
from orbax_model_lite.jax2obm.weights.safetensors_header import damaged, read_header
from orbax_model_lite.jax2obm.weights.stored import StoredArray

PIECE_BYTES: Final = 32 << 20
"""Size that a piece has at most, unless the file's own chunks are larger."""

# Chunks of one value are compressed this far at the very most, and those of nothing but zeros are
# not written at all.
_MOST_COMPRESSED: Final = 1 << 15
_ALWAYS_READ_BYTES: Final = 64 << 30

Index: TypeAlias = tuple[slice, ...]
"""A part of an array: one slice with begin and end per dimension, step 1."""


class _Source(Protocol):
    """Arrays of one file or folder."""

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        """Returns the arrays with their specs."""
        ...

    def chunk_shape(self, array: StoredArray) -> tuple[int | None, ...] | None:
        """Returns what is read at a time anyway; None where any part can be read."""
        ...

    def read(self, array: StoredArray, index: Index) -> np.ndarray:
        """Returns a part of an opened array."""
        ...

    def close(self) -> None:
        """Lets go of what is open."""
        ...


@final
class WeightsStream:
    """The arrays of one value, by dotted key path in the order of their tree."""

    def __init__(self, arrays: Mapping[str, StoredArray], source: _Source) -> None:
        """Takes over the source, which `close` closes."""
        self.arrays = dict(arrays)
        self._source = source

    def __enter__(self) -> Self:
        """Returns the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets go of the file."""
        self._source.close()

    def open(self, names: Iterable[str]) -> dict[str, StoredArray]:
        """Returns arrays by name, with their specs; what is no array is left out.

        Raises:
          InvalidBundleError: If one is missing or damaged.
        """
        chosen = {name: self.arrays[name] for name in names if not self.arrays[name].problem}
        opened = self._source.open(list(chosen.values()))
        return dict(zip(chosen, opened, strict=True))

    def grid(self, array: StoredArray) -> tuple[int, ...]:
        """Returns the sizes whose multiples are best read at once; all 1 where any part is good."""
        found = self._source.chunk_shape(array)
        if found is None:
            return (1,) * len(array.shape)
        sizes = zip(found[: len(array.shape)], array.shape, strict=True)
        return tuple(max(1, min(chunk or 1, size)) for chunk, size in sizes)

    def read(self, array: StoredArray, index: Index) -> np.ndarray:
        """Returns a part of an opened array.

        Raises:
          InvalidBundleError: If it is missing or damaged.
          StorageError: If the file system refuses.
        """
        return self._source.read(array, index)

    def pieces(self, array: StoredArray) -> Iterator[np.ndarray]:
        """Gives all parts of an opened array, one after the other."""
        for index in indices(array.shape, array.dtype.itemsize, self.grid(array)):
            yield self.read(array, index)


def open_weights(bundle: Bundle, name: str, value: ExternalValue) -> WeightsStream:
    """Returns the weights of a bundle as something to read in pieces.

    Args:
      bundle: The bundle.
      name: Of the value, for messages.
      value: Of the bundle.

    Raises:
      InvalidBundleError: If the weights are missing or damaged.
      MissingDependencyError: If they are a checkpoint and TensorStore is not installed.
      StorageError: If the file system refuses.
      UnsupportedError: If their format is unknown.
    """
    where = f"weights {name!r}"
    path = bundle.resolve(value.data, where=where)
    match layout.canonical_mime_type(value.data.mime_type):
        case layout.MIME_SAFETENSORS:
            source = _SafeTensorsFile(path, where)
            tree = source.tree
        case layout.MIME_ORBAX_CHECKPOINT:
            from orbax_model_lite.jax2obm.checkpoint.folder import locate, read_folder

            folder = read_folder(locate(path))
            tree, source = folder.tree, _Checkpoint(folder, where)
        case other:
            raise UnsupportedError(
                f"{where}: expected an Orbax checkpoint or a SafeTensors file; found {other!r}; "
                "read it with the program that wrote it"
            )
    return WeightsStream({format_path(p): array for p, array in flatten_with_path(tree)}, source)


def indices(
    shape: Sequence[int], item_bytes: int, grid: Sequence[int], most_bytes: int = PIECE_BYTES
) -> Iterator[Index]:
    """Gives parts that cover an array once: boxes of whole chunks, last dimension first.

    Args:
      shape: Of the array.
      item_bytes: Of one element.
      grid: Sizes of a chunk; a box is a multiple of it, but for the edges of the array.
      most_bytes: Of a box, unless a single chunk is larger.

    >>> list(indices((4, 3), 1, (1, 1), most_bytes=6))
    [(slice(0, 2, None), slice(0, 3, None)), (slice(2, 4, None), slice(0, 3, None))]
    """
    if 0 in shape:
        return
    box = list(grid)
    for axis in reversed(range(len(shape))):
        fitting = most_bytes // max(1, math.prod(box) * item_bytes)
        box[axis] = min(shape[axis], box[axis] * max(1, fitting))
        if box[axis] < shape[axis]:
            break
    counts = [-(-size // step) for size, step in zip(shape, box, strict=True)]
    at = [0] * len(counts)
    # No list of all places is made: a header may claim any size.
    for _ in range(math.prod(counts)):
        yield tuple(
            slice(i * step, min((i + 1) * step, size))
            for i, step, size in zip(at, box, shape, strict=True)
        )
        for axis in reversed(range(len(at))):
            at[axis] = (at[axis] + 1) % counts[axis]
            if at[axis]:
                break


@final
class _SafeTensorsFile:
    """Arrays of a SafeTensors file: a part that lies together is read, another one mapped."""

    def __init__(self, path: Path, where: str) -> None:
        self._path, self._where = path, where
        with storage_errors("reading", path), contextlib.ExitStack() as stack:
            self._file = stack.enter_context(path.open("rb", buffering=0))
            size_bytes = path.stat().st_size
            header = read_header(
                lambda begin, end: bytes(self._bytes(begin, end)), size_bytes, where
            )
            stack.pop_all()
        self.tree, self._entries = header.tree, header.entries

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        return list(arrays)

    def chunk_shape(self, array: StoredArray) -> tuple[int, ...] | None:
        return None

    def read(self, array: StoredArray, index: Index) -> np.ndarray:
        shape = tuple(part.stop - part.start for part in index)
        begin, item = self._entries[array.name or ""].begin, array.dtype.itemsize
        with storage_errors("reading", self._path):
            if not _is_contiguous(index, array.shape):
                # Mapped for this part alone, so that pages do not pile up.
                whole = np.memmap(self._path, array.dtype, "r", begin, array.shape)
                return np.array(whole[index])
            strides = [math.prod(array.shape[axis + 1 :]) for axis in range(len(index))]
            first = sum(p.start * stride for p, stride in zip(index, strides, strict=True))
            begin += first * item
            raw = self._bytes(begin, begin + math.prod(shape) * item)
        return np.frombuffer(raw, array.dtype).reshape(shape)

    def close(self) -> None:
        self._file.close()

    def _bytes(self, begin: int, end: int) -> bytearray:
        content = bytearray(end - begin)
        rest = memoryview(content)
        self._file.seek(begin)
        while rest:
            count = self._file.readinto(rest) or 0
            if not count:
                raise damaged(self._where, f"{end} bytes", f"{end - len(rest)}")
            rest = rest[count:]
        return content


@final
class _Checkpoint:
    """Arrays of a checkpoint, through the reader of `jax2obm`."""

    def __init__(self, folder: Any, where: str) -> None:
        reader = _lazy.load(
            "orbax_model_lite.jax2obm.checkpoint.reading:CheckpointReader",
            purpose=f"reading the arrays of {where}, an Orbax checkpoint,",
        )
        self._reader = reader(folder)
        self._path, self._where = folder.path, where

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        opened = self._reader.open(arrays)
        self._require_bytes(sum(math.prod(a.shape) * a.dtype.itemsize for a in opened))
        return opened

    def _require_bytes(self, claimed: int) -> None:
        """Refuses arrays that their chunks cannot hold: reading what is not there has no end."""
        held = disk_bytes(self._path)
        most = _ALWAYS_READ_BYTES + _MOST_COMPRESSED * held
        if claimed > most:
            raise InvalidBundleError(
                f"{self._where}: expected at most {most} bytes of arrays from {held} bytes on "
                f"disk; found headers that claim {claimed}; the checkpoint is damaged, copy or "
                "save it again"
            )

    def chunk_shape(self, array: StoredArray) -> tuple[int | None, ...] | None:
        return self._reader.chunk_shape(array)

    def read(self, array: StoredArray, index: Index) -> np.ndarray:
        return self._reader.read(array, [index])[0]

    def close(self) -> None:
        self._reader.close()


def _is_contiguous(index: Index, shape: Sequence[int]) -> bool:
    """Whether a part lies together in an array whose last dimension varies fastest."""
    is_inner = True
    for part, size in zip(reversed(index), reversed(shape), strict=True):
        length = part.stop - part.start
        if not is_inner and length > 1:
            return False
        is_inner = is_inner and length == size
    return True
