"""Host memory that parts of weights are read into.

No framework is imported here; how a part becomes an array on a device is in `placement`.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from orbax_model_lite.errors import UnsupportedError

Index: TypeAlias = tuple[slice, ...]
"""A part of an array: one slice with begin and end per dimension, step 1."""

_ALIGNMENT_BYTES: Final = 64
"""JAX on CPU keeps a host buffer with this alignment instead of copying it."""

_LARGE_BYTES: Final = 1 << 22
"""From here on NumPy asks for huge pages."""


def empty(shape: Sequence[int], dtype: np.dtype, where: str) -> np.ndarray:
    """Returns a new array, aligned for JAX.

    Raises:
      UnsupportedError: If the machine has not that much memory.
    """
    size_bytes = math.prod(shape) * dtype.itemsize
    try:
        memory = _memory(size_bytes + _ALIGNMENT_BYTES)
    except (MemoryError, ValueError, OverflowError, OSError) as e:
        raise UnsupportedError(
            f"{where}: expected {size_bytes} bytes of memory for an array {list(shape)}; this "
            "machine has not that much; load fewer arrays by name, or onto more devices"
        ) from e
    start = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[start : start + size_bytes].view(dtype).reshape(tuple(shape))


def _memory(size_bytes: int) -> np.ndarray:
    """Returns new bytes.

    NumPy asks for huge pages where it can, and the kernel then tidies up memory to find some: 1 GB
    took two to three times as long to fill on a machine with two cores.
    """
    if size_bytes < _LARGE_BYTES or not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.empty(size_bytes, np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, size_bytes, flags=flags), np.uint8)


def copied(part: np.ndarray, dtype: np.dtype | None, where: str) -> np.ndarray:
    """Returns a copy of an array in a buffer of its own, with another element type if given."""
    target = empty(part.shape, part.dtype if dtype is None else dtype, where)
    # Values beyond a narrower type become infinite there, as in every framework.
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(target, part, casting="unsafe")
    return target


def whole(shape: Sequence[int]) -> Index:
    """Returns the index of all of an array."""
    return tuple(slice(0, size) for size in shape)


def shape_of(index: Index) -> tuple[int, ...]:
    """Returns the sizes of a part."""
    return tuple(part.stop - part.start for part in index)


def hull(indices: Sequence[Index]) -> Index:
    """Returns the smallest part that contains all of the given ones.

    >>> hull([(slice(0, 2), slice(4, 6)), (slice(2, 3), slice(0, 6))])
    (slice(0, 3, None), slice(0, 6, None))
    """
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*indices, strict=True)
    )


def inside(index: Index, outer: Index) -> Index:
    """Returns a part's place within a larger part that contains it."""
    return tuple(
        slice(part.start - start.start, part.stop - start.start)
        for part, start in zip(index, outer, strict=True)
    )
