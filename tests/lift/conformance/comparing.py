"""Compares arrays number by number, with what each dtype allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_TOLERANCES = {"bfloat16": 1e-2, "float16": 2e-3, "float32": 1e-5, "float64": 1e-12}
_TOLERANCES |= {"complex64": 1e-5, "complex128": 1e-12}


def difference(expected: Sequence[Any], found: Sequence[Any], *, times: float = 1) -> str | None:
    """Returns what is wrong with the first array that differs; None if all are equal.

    Dtypes, shapes, NaNs and infinities must be the same. Finite floats may differ by the tolerance
    of their dtype times their own magnitude, or that of the largest in the array, at most 1.

    Args:
      expected: The original's.
      found: The lifted function's.
      times: Multiplies the tolerance.
    """
    if len(expected) != len(found):
        return f"{len(found)} results instead of {len(expected)}"
    for index, (wanted, given) in enumerate(zip(expected, found, strict=True)):
        reason = _difference(np.asarray(wanted), np.asarray(given), times)
        if reason:
            return f"result {index}: {reason}"
    return None


def _difference(wanted: np.ndarray, given: np.ndarray, times: float) -> str | None:
    if (wanted.dtype, wanted.shape) != (given.dtype, given.shape):
        return f"{given.dtype}{list(given.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind in "iub" or wanted.dtype.name.startswith(("int", "uint")):
        return None if np.array_equal(wanted, given) else _example(wanted, given, wanted != given)
    tolerance = _TOLERANCES.get(wanted.dtype.name, 0)
    if wanted.dtype.kind == "c":
        parts = ((wanted.real, given.real), (wanted.imag, given.imag))
    else:
        parts = ((wanted.astype(np.float64), given.astype(np.float64)),)
    for one, other in parts:
        wrong = _wrong(one, other, tolerance * times)
        if wrong.any():
            return _example(wanted, given, wrong)
    return None


def _wrong(wanted: np.ndarray, given: np.ndarray, tolerance: float) -> np.ndarray:
    finite = np.isfinite(wanted)
    magnitude = np.abs(np.where(finite, wanted, 0)).astype(np.float64)
    allowed = tolerance * (magnitude + min(magnitude.max(initial=0), 1))
    distance = np.abs(np.where(finite, wanted, 0) - np.where(np.isfinite(given), given, 0))
    same = (wanted == given) | (np.isnan(wanted) & np.isnan(given))
    return ~(same | (finite & np.isfinite(given) & (distance <= allowed)))


def _example(wanted: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> str:
    place = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
    return f"{given[place]} instead of {wanted[place]} at {list(place)}"
