"""Two arrays of weights compared piece by piece: which elements differ, and by how much in all.

Whole numbers are subtracted exactly; everything else as float64. Sums of squares are kept as
lengths, scaled, so that neither large nor small numbers leave the range of float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.streams import Index, WeightsStream, indices
from orbax_model_lite.jax2obm.weights.stored import StoredArray

_BLOCK: Final = 1 << 18
# Between these, a sum of the squares of a block neither overflows nor loses what matters.
_SMALL: Final = 1e-140
_LARGE: Final = 1e140
_COMPLEX: Final = (DType.COMPLEX64, DType.COMPLEX128)


@final
class ArrayDistance:
    """How far one array is from another of the same sizes, summed up."""

    def __init__(self, before: DType, after: DType) -> None:
        """Begins with no element.

        Args:
          before: Element type of the one.
          after: Element type of the other.
        """
        self._is_complex = before in _COMPLEX or after in _COMPLEX
        self._is_whole = _is_whole(before) and _is_whole(after)
        self.changed_count = 0
        self._change = 0.0
        self._before = 0.0

    @property
    def relative_norm(self) -> float | None:
        """||after - before|| / ||before||; None where the latter is 0 or no number comes out."""
        if self._before == 0.0:
            return None
        found = self._change / self._before
        return found if math.isfinite(found) else None

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Takes a piece of both into account."""
        old, new = before.reshape(-1), after.reshape(-1)
        for begin in range(0, old.size, _BLOCK):
            block = slice(begin, begin + _BLOCK)
            # Numbers out of range and NaN are accounted for.
            with np.errstate(over="ignore", invalid="ignore"):
                self._add(old[block], new[block])

    def _add(self, old: np.ndarray, new: np.ndarray) -> None:
        wide_old, wide_new = self._wide(old), self._wide(new)
        if self._is_whole:
            distance = _whole_distance(wide_old, wide_new)
            self.changed_count += int(np.count_nonzero(distance))
            self._sum_up(distance, wide_old.astype(np.float64))
            return
        distance = wide_new - wide_old
        if np.isfinite(distance).all():
            # Then the numbers are finite too, and the difference is 0 only of equal ones.
            self.changed_count += int(np.count_nonzero(distance))
            self._sum_up(distance, wide_old)
            return
        differs = (wide_old != wide_new) & ~(np.isnan(wide_old) & np.isnan(wide_new))
        self.changed_count += int(np.count_nonzero(differs))
        is_finite = np.isfinite(wide_old) & np.isfinite(wide_new)
        self._sum_up(distance[is_finite], wide_old[is_finite])

    def _sum_up(self, distance: np.ndarray, before: np.ndarray) -> None:
        self._change = math.hypot(self._change, _length(distance))
        self._before = math.hypot(self._before, _length(before))

    def _wide(self, block: np.ndarray) -> np.ndarray:
        if self._is_whole:
            return block if block.dtype == np.uint64 else block.astype(np.int64)
        return block.astype(np.complex128 if self._is_complex else np.float64)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedArray:
    """An opened array of one of the two bundles."""

    side: Side
    stream: WeightsStream
    stored: StoredArray

    @property
    def spec(self) -> Spec:
        """Shape and element type; for PRNG keys those of their words."""
        return self.stored.known_spec

    @property
    def size_bytes(self) -> int:
        """Of all elements in memory."""
        return math.prod(self.stored.shape) * self.stored.dtype.itemsize

    def read(self, index: Index) -> np.ndarray:
        """Returns a part; errors say which bundle it is of."""
        with self.side.errors():
            return self.stream.read(self.stored, index)

    def grid(self) -> tuple[int, ...]:
        """Returns the sizes of its chunks."""
        return self.stream.grid(self.stored)


def paired_pieces(
    before: StreamedArray, after: StreamedArray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gives the same parts of two arrays of the same sizes.

    Where their chunks differ, those of the finer one may be read more than once.
    """
    grid = [max(pair) for pair in zip(before.grid(), after.grid(), strict=True)]
    item_bytes = max(before.stored.dtype.itemsize, after.stored.dtype.itemsize)
    for index in indices(before.stored.shape, item_bytes, grid):
        yield before.read(index), after.read(index)


def is_equal(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two pieces of one element type have the same bytes."""
    one, other = np.ascontiguousarray(before), np.ascontiguousarray(after)
    return bool(np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8)))


def _is_whole(dtype: DType) -> bool:
    return dtype is DType.BOOL or dtype.value.startswith(("int", "uint"))


def _whole_distance(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns how far int64 or uint64 numbers are apart, as float64: 0 only of equal ones."""
    below = np.zeros(())
    if old.dtype != new.dtype:
        # NumPy's common type of the two is float64, to which large neighbours are equal.
        signed, unsigned = (old, new) if old.dtype == np.int64 else (new, old)
        below = np.maximum(-signed.astype(np.float64), 0)
        old, new = np.maximum(signed, 0).view(np.uint64), unsigned
    # Unsigned subtraction of the smaller wraps around to the right distance.
    most, least = np.maximum(old, new), np.minimum(old, new)
    return (most.view(np.uint64) - least.view(np.uint64)).astype(np.float64) + below


def _length(values: np.ndarray) -> float:
    if not values.size:
        return 0.0
    largest = float(np.abs(values).max())
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    if _SMALL < largest < _LARGE:
        return math.sqrt(float(np.sum(_squares(values))))
    return largest * math.sqrt(float(np.sum(_squares(values / largest))))


def _squares(values: np.ndarray) -> np.ndarray:
    # A product of vectors by the library of NumPy would start threads, which wait for each other.
    if np.iscomplexobj(values):
        return np.square(np.real(values)) + np.square(np.imag(values))
    return np.square(values)
