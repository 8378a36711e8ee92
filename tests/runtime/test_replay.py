"""How far a replayed output may be from the recorded one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.core.comparison import DEFAULT_TOLERANCES, difference
from orbax_model_lite.core.examples import Tolerance


@pytest.mark.parametrize(
    ("dtype", "relative"),
    [("float32", 1e-5), ("float64", 1e-12), ("bfloat16", 1e-2), ("float16", 1e-2)],
)
def test_the_default_tolerance_is_relative_to_the_largest_magnitude(dtype, relative):
    tolerance = DEFAULT_TOLERANCES[dtype]
    assert tolerance == Tolerance(relative=relative)
    old = np.array([0.0, 100.0])
    assert difference(old, old + 0.9 * relative * 100, tolerance).is_within
    assert not difference(old, old + 1.1 * relative * 100, tolerance).is_within


def test_the_figures_are_the_largest_difference_absolute_and_relative():
    found = difference(np.array([1.0, -4.0]), np.array([1.5, -3.0]), Tolerance(absolute=2))
    assert (found.absolute, found.relative, found.is_within) == (1.0, 0.25, True)


@pytest.mark.parametrize(
    "dtype", [np.int32, np.uint8, np.bool_, ml_dtypes.int4], ids=lambda d: np.dtype(d).name
)
def test_integers_must_be_equal(dtype):
    old, new = np.array([0, 1], dtype), np.array([1, 1], dtype)
    assert difference(old, old, Tolerance()).is_within
    assert not difference(old, new, Tolerance()).is_within


def test_strings_must_be_equal():
    old = np.array([b"a", b"b"], object)
    assert difference(old, old.copy(), Tolerance()).is_within
    assert not difference(old, old[::-1], Tolerance()).is_within


def test_nan_and_infinity_are_equal_to_themselves_only():
    old = np.array([np.nan, np.inf, 1.0])
    assert difference(old, old.copy(), Tolerance()).is_within
    assert not difference(old, np.array([0.0, np.inf, 1.0]), Tolerance(absolute=9)).is_within
    assert not difference(old, np.array([np.nan, -np.inf, 1.0]), Tolerance(absolute=9)).is_within


def test_a_difference_from_zeros_is_infinite_relative():
    found = difference(np.zeros(2), np.array([0, 1e-9]), Tolerance(relative=1))
    assert found.relative == np.inf
    assert not found.is_within
