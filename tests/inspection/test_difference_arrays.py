"""Two arrays compared in pieces: the norm of NumPy, whatever the pieces and their formats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orbax_model_lite.core import DType
from orbax_model_lite.inspection.differences.arrays import ArrayDistance

# NumPy squares what it adds up, so that very small numbers are lost to it.
FLOATS = st.one_of(st.just(0.0), st.floats(1e-3, 1e6), st.floats(-1e6, -1e-3))


def distance(before: np.ndarray, after: np.ndarray, pieces: int = 1) -> ArrayDistance:
    found = ArrayDistance(DType.from_numpy(before.dtype), DType.from_numpy(after.dtype))
    for pair in zip(np.array_split(before, pieces), np.array_split(after, pieces), strict=True):
        found.add(*pair)
    return found


@st.composite
def pairs(draw, dtype):
    shape = draw(st.integers(1, 40))
    elements = FLOATS if dtype is np.float64 else None
    return tuple(draw(arrays.arrays(dtype, shape, elements=elements)) for _ in range(2))


@given(pairs(np.float64), st.integers(1, 7))
def test_the_norm_is_that_of_numpy_in_any_pieces(pair, pieces):
    before, after = pair
    found = distance(before, after, pieces)
    norm = np.linalg.norm(before)
    assert found.changed_count == np.count_nonzero(before != after)
    if norm == 0:
        assert found.relative_norm is None
    else:
        change = np.linalg.norm(after - before)
        assert found.relative_norm == pytest.approx(change / norm, rel=1e-12)


@given(pairs(np.int64))
def test_whole_numbers_are_subtracted_as_python_does(pair):
    before, after = pair
    found = distance(before, after)
    norm = math.sqrt(sum(int(n) ** 2 for n in before))
    change = math.sqrt(sum((int(b) - int(a)) ** 2 for a, b in zip(before, after, strict=True)))
    assert found.changed_count == np.count_nonzero(before != after)
    assert (found.relative_norm or 0.0) * norm == pytest.approx(change if norm else 0.0, rel=1e-12)


@given(arrays.arrays(np.float32, st.integers(1, 40)), st.integers(1, 7))
def test_an_array_has_no_distance_from_itself_whatever_it_holds(values, pieces):
    found = distance(values, values.copy(), pieces)
    assert found.changed_count == 0
    assert found.relative_norm in (0.0, None)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_neither_small_nor_large_numbers_leave_the_range(scale):
    found = distance(np.array([3.0, 4.0]) * scale, np.array([3.0, 4.5]) * scale)
    assert found.relative_norm == pytest.approx(0.1, rel=1e-12)


def test_complex_numbers_are_compared_by_their_absolute_difference():
    found = distance(np.array([3 + 4j, 0]), np.array([3 + 4j, 3 + 4j]))
    assert (found.changed_count, found.relative_norm) == (1, 1.0)


def test_what_becomes_infinite_is_counted_and_left_out_of_the_norm():
    found = distance(np.array([3.0, 4.0, 1.0]), np.array([3.0, 4.5, math.inf]))
    assert (found.changed_count, found.relative_norm) == (2, pytest.approx(0.1))


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (np.array([2**53 + 1, 5, -1]), np.array([2**53, 5, 2**64 - 1], np.uint64), 2),
        (np.array([2**53, 5], np.uint64), np.array([2**53 + 1, 5]), 1),
        (np.array([-3, 4], np.int8), np.array([-3, 4], np.int64), 0),
        (np.array([False, True]), np.array([0, 1], np.uint64), 0),
    ],
    ids=["int64 to uint64", "uint64 to int64", "int8 to int64", "bool to uint64"],
)
def test_whole_numbers_of_two_types_are_compared_exactly(before, after, changed):
    found = ArrayDistance(DType.from_numpy(before.dtype), DType.from_numpy(after.dtype))
    found.add(before, after)
    assert found.changed_count == changed
