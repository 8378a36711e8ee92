"""Statistics of weights, read in a stream: least, greatest, mean, deviation, what is not finite.

Pieces are summed up on their own, two passes each, and then combined, so that neither a large mean
nor many elements cost digits. Arrays of any size take the memory of one piece.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.inspection.streams import open_weights
from orbax_model_lite.jax2obm.weights.stored import StoredArray

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes done, bytes in total)."""

_BLOCK: Final = 1 << 18
# The sum of a block of larger numbers could overflow float64.
_LARGE: Final = 1e300


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayStatistics:
    """One array of the weights, summed up.

    Booleans count as 0 and 1; of complex numbers, the absolute values are summed up.

    Attributes:
      name: Its dotted key path.
      dtype: Name of its element type, such as "float32" or "key<fry>"; None if it is no array.
      shape: Sizes; None if it is no array.
      size_bytes: Of all elements in memory.
      count: Elements.
      minimum: Of the finite elements; an int, exact, of integers. None where there is none.
      maximum: Likewise.
      mean: Of the finite elements; None where there is none.
      std: Their standard deviation (of the population).
      nan_count: Elements that are NaN.
      inf_count: Elements that are infinite.
      problem: Why there are no numbers: PRNG keys have none, text neither; "" if there are.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    size_bytes: int = 0
    count: int = 0
    minimum: int | float | None = None
    maximum: int | float | None = None
    mean: float | None = None
    std: float | None = None
    nan_count: int = 0
    inf_count: int = 0
    problem: str = ""


def weights_statistics(
    bundle: Bundle,
    name: str,
    value: ExternalValue,
    *,
    pattern: str = "*",
    progress: Progress | None = None,
) -> list[ArrayStatistics]:
    """Returns the statistics of arrays, in the order of their tree.

    Args:
      bundle: The bundle.
      name: Of the weights, for messages.
      value: Of the bundle.
      pattern: Glob that the dotted key path of an array has to match, case and all.
      progress: Told how much has been read.

    Raises:
      InvalidBundleError: If the weights are missing or damaged.
      MissingDependencyError: If they are a checkpoint and TensorStore is not installed.
      StorageError: If the file system refuses.
      UnsupportedError: If their format is unknown.
    """
    with open_weights(bundle, name, value) as stream:
        names = [key for key in stream.arrays if fnmatch.fnmatchcase(key, pattern)]
        opened = stream.open(names)
        total = sum(map(_size_bytes, opened.values()))
        done = 0
        found = []
        for key in names:
            if key not in opened:
                problem = stream.arrays[key].problem or ""
                found.append(ArrayStatistics(name=key, problem=problem))
                continue
            array = opened[key]
            moments = Moments(array.known_spec.dtype)
            for piece in () if array.known_spec.logical else stream.pieces(array):
                moments.add(piece)
                done += piece.nbytes
                if progress is not None:
                    progress(done, total)
            found.append(_statistics(key, array, moments))
    return found


@final
class Moments:
    """A running sum-up of the elements of one type."""

    def __init__(self, dtype: DType) -> None:
        """Begins with no element."""
        self._is_complex = dtype in (DType.COMPLEX64, DType.COMPLEX128)
        self._is_whole = dtype is DType.BOOL or dtype.value.startswith(("int", "uint"))
        self.minimum: int | float | None = None
        self.maximum: int | float | None = None
        self.nan_count = 0
        self.inf_count = 0
        self._count = 0
        # The mean is base + mean: a difference of bases is exact where means lie close together.
        self._base: int | float = 0
        self._mean = 0.0
        self.std: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean of the finite elements; None where there is none."""
        return float(self._base + self._mean) if self._count else None

    def add(self, piece: np.ndarray) -> None:
        """Takes the elements of an array into account."""
        flat = piece.reshape(-1)
        for begin in range(0, flat.size, _BLOCK):
            block = flat[begin : begin + _BLOCK]
            if self._is_whole:
                self._add_whole(block)
            else:
                self._add_finite(self._finite(block))

    def _finite(self, block: np.ndarray) -> np.ndarray:
        # Numbers that are not finite are counted below, and need no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            if self._is_complex:
                wide = np.abs(block.astype(np.complex128))
            else:
                wide = block.astype(np.float64)
        is_finite = np.isfinite(wide)
        if is_finite.all():
            return wide
        is_nan = np.isnan(block) if self._is_complex else np.isnan(wide)
        self.nan_count += int(is_nan.sum())
        self.inf_count += int((~is_finite & ~is_nan).sum())
        return wide[is_finite & ~is_nan]

    def _add_whole(self, block: np.ndarray) -> None:
        wide = block if block.dtype in (np.int64, np.uint64) else block.astype(np.int64)
        least, most = int(wide.min()), int(wide.max())
        # Unsigned subtraction wraps around, and so is right for every distance.
        distance = wide.view(np.uint64) - wide.min().view(np.uint64)
        base, mean, std = _mean_and_std(distance.astype(np.float64))
        self._merge(block.size, least, base + mean, std)
        self._widen(least, most)

    def _add_finite(self, block: np.ndarray) -> None:
        if block.size:
            self._merge(block.size, *_mean_and_std(block))
            self._widen(float(block.min()), float(block.max()))

    def _widen(self, least: float, most: float) -> None:
        self.minimum = least if self.minimum is None else min(self.minimum, least)
        self.maximum = most if self.maximum is None else max(self.maximum, most)

    def _merge(self, count: int, base: float, mean: float, std: float) -> None:
        if self.std is None:
            self._count, self._base, self._mean, self.std = count, base, mean, std
            return
        total = self._count + count
        old, new = self._count / total, count / total
        share = math.sqrt(old * new)
        far = mean + (base - self._base)
        step = share * (far - self._mean)
        if math.isinf(step):
            step = share * far - share * self._mean
        self.std = math.hypot(math.sqrt(old) * self.std, math.sqrt(new) * std, step)
        self._mean = old * self._mean + new * far
        self._count = total


def _mean_and_std(values: np.ndarray) -> tuple[float, float, float]:
    """Returns (a, b, deviation) of finite float64 values, whose mean is a + b; none overflows."""
    largest = float(np.abs(values).max())
    scale = largest if largest > _LARGE else 1.0
    scaled = values / scale if scale != 1.0 else values
    mean = float(scaled.mean())
    rest = scaled - mean
    correction = float(rest.mean())
    rest -= correction
    spread = float(np.abs(rest).max())
    std = 0.0
    if spread:
        rest /= spread
        std = math.sqrt(float(np.mean(np.square(rest)))) * spread
    if scale != 1.0:  # the difference of two such means could overflow
        return 0.0, (mean + correction) * scale, std * scale
    return mean, correction, std


def _statistics(name: str, array: StoredArray, moments: Moments) -> ArrayStatistics:
    spec = array.known_spec
    return ArrayStatistics(
        name=name,
        dtype=spec.logical or spec.dtype.value,
        shape=array.shape,
        size_bytes=_size_bytes(array),
        count=math.prod(array.shape),
        minimum=moments.minimum,
        maximum=moments.maximum,
        mean=moments.mean,
        std=moments.std,
        nan_count=moments.nan_count,
        inf_count=moments.inf_count,
        problem=f"words of {spec.logical}" if spec.logical else "",
    )


def _size_bytes(array: StoredArray) -> int:
    return math.prod(array.shape) * array.dtype.itemsize
