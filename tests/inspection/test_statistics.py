"""Statistics of weights: against NumPy where it is exact, and where it would not be."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orbax_model_lite import core
from orbax_model_lite.core import DType
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.inspection import ArrayStatistics, weights_statistics
from orbax_model_lite.inspection.statistics import Moments

FLOATS = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "float8_e3m4",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e8m0fnu",
    "float4_e2m1fn",
]
WHOLE = ["int2", "int4", "uint4", "int8", "uint8", "int16", "uint32", "int64", "uint64"]


def numpy_dtype(name: str) -> np.dtype:
    return DType(name).numpy


def statistics(bundle: core.Bundle, **options) -> dict[str, ArrayStatistics]:
    value = bundle.values["w"]
    assert isinstance(value, core.ExternalValue)
    return {found.name: found for found in weights_statistics(bundle, "w", value, **options)}


def moments(values: np.ndarray, pieces: int = 1) -> Moments:
    found = Moments(DType.from_numpy(values.dtype))
    for piece in np.array_split(values, pieces):
        found.add(piece)
    return found


@pytest.mark.parametrize("name", FLOATS)
def test_every_type_of_numbers_with_fractions_is_summed_up(name, with_weights):
    values = np.array([[0.5, 1.0, 2.0], [4.0, 1.0, 2.0]]).astype(numpy_dtype(name))
    found = statistics(with_weights({"a": values}))["a"]
    wide = values.astype(np.float64)
    assert (found.dtype, found.shape, found.count) == (name, (2, 3), 6)
    assert (found.minimum, found.maximum) == (0.5, 4.0)
    assert found.mean == pytest.approx(wide.mean(), rel=1e-15)
    assert found.std == pytest.approx(wide.std(), rel=1e-15)


@pytest.mark.parametrize("name", WHOLE)
def test_every_type_of_whole_numbers_is_summed_up_exactly(name, with_weights):
    limits = ml_dtypes.iinfo(numpy_dtype(name))
    values = np.array([limits.min, limits.max, 1, 0], dtype=object).astype(numpy_dtype(name))
    found = statistics(with_weights({"a": values}))["a"]
    assert (found.minimum, found.maximum) == (int(limits.min), int(limits.max))
    assert isinstance(found.minimum, int)
    exact = (int(limits.min) + int(limits.max) + 1) / 4
    assert found.mean == pytest.approx(exact, rel=1e-15)


def test_booleans_count_as_zero_and_one(with_weights):
    found = statistics(with_weights({"a": np.array([True, False, True, True])}))["a"]
    assert (found.minimum, found.maximum, found.mean) == (0, 1, 0.75)


@pytest.mark.parametrize("name", ["complex64", "complex128"])
def test_of_complex_numbers_the_absolute_values_are_summed_up(name, with_weights):
    values = np.array([3 + 4j, 0, complex(math.nan, 0), complex(math.inf, 1)], name)
    found = statistics(with_weights({"a": values}))["a"]
    assert (found.minimum, found.maximum, found.mean) == (0.0, 5.0, 2.5)
    assert (found.nan_count, found.inf_count) == (1, 1)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "float8_e5m2"])
def test_what_is_not_finite_is_counted_and_left_out_of_the_rest(name, with_weights):
    values = np.array([math.nan, 1.0, math.inf, -math.inf, 3.0, math.nan])
    found = statistics(with_weights({"a": values.astype(numpy_dtype(name))}))["a"]
    assert (found.nan_count, found.inf_count) == (2, 2)
    assert (found.minimum, found.maximum, found.mean, found.std) == (1.0, 3.0, 2.0, 1.0)


def test_an_array_without_a_finite_element_has_counts_only(with_weights):
    found = statistics(with_weights({"a": np.full(5, np.nan, np.float32)}))["a"]
    assert (found.nan_count, found.minimum, found.mean, found.std) == (5, None, None, None)


def test_an_empty_array_and_a_scalar_are_summed_up(with_weights):
    found = statistics(with_weights({"e": np.zeros((0, 3), np.float32), "s": np.float32(2.0)[...]}))
    assert (found["e"].count, found["e"].mean) == (0, None)
    assert (found["s"].count, found["s"].mean, found["s"].std) == (1, 2.0, 0.0)


def test_keys_have_no_statistics(with_weights):
    words = np.array([1, 2], np.uint32)
    specs = {"k": core.Spec(shape=(2,), dtype=DType.UINT32, logical="key<fry>")}
    found = statistics(with_weights({"k": words}, specs=specs))["k"]
    assert (found.dtype, found.mean, found.problem) == ("key<fry>", None, "words of key<fry>")


def test_packed_elements_are_named_as_a_problem(tmp_path):
    header = {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(2))
    core.save({"w": core.convert_path_to_value("w.safetensors", "safetensors")}, tmp_path)
    assert "several to a byte" in statistics(core.read(tmp_path))["a"].problem


def test_arrays_are_chosen_by_a_pattern(with_weights):
    one = np.ones(1, np.float32)
    bundle = with_weights({"a": {"kernel": one, "bias": one}})
    assert list(statistics(bundle, pattern="*.k*")) == ["a.kernel"]


def test_progress_ends_at_the_total(with_weights):
    calls: list[tuple[int, int]] = []
    bundle = with_weights({"a": np.ones(10, np.float32), "b": np.ones(2, np.int8)})
    statistics(bundle, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (42, 42)


def test_a_file_that_is_cut_short_is_damaged(with_weights):
    bundle = with_weights({"a": np.ones(10, np.float32)})
    file = bundle.path / "w.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InvalidBundleError, match="weights 'w'"):
        statistics(bundle)


def test_a_large_mean_costs_no_digits_of_the_deviation():
    values = np.array([1e9 + 1, 1e9 + 2, 1e9 + 3] * 100)
    assert moments(values, 7).std == pytest.approx(math.sqrt(2 / 3), rel=1e-12)


def test_whole_numbers_beyond_the_digits_of_a_float_keep_their_deviation():
    values = np.array([2**62 + 1, 2**62 + 2, 2**62 + 3] * 100)
    found = moments(values, 7)
    assert (found.minimum, found.maximum) == (2**62 + 1, 2**62 + 3)
    assert found.std == pytest.approx(math.sqrt(2 / 3), rel=1e-12)


def test_the_largest_floats_do_not_overflow():
    most = np.finfo(np.float64).max
    found = moments(np.array([most, -most, most, -most]), 4)
    assert abs(found.mean) <= most * 1e-15
    assert found.std == pytest.approx(most, rel=1e-12)


@given(
    arrays.arrays(
        np.float64,
        st.integers(1, 60),
        elements=st.floats(-1e6, 1e6, allow_subnormal=False),
    ),
    st.integers(1, 9),
)
def test_pieces_come_to_the_same_as_the_whole(values, pieces):
    found = moments(values, pieces)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
    assert found.std == pytest.approx(values.std(), rel=1e-9, abs=1e-9)


@given(arrays.arrays(np.int64, st.integers(1, 30)), st.integers(1, 5))
def test_whole_numbers_come_to_the_exact_values(values, pieces):
    found = moments(values, pieces)
    exact = [int(value) for value in values]
    mean = sum(exact) / len(exact)
    assert (found.minimum, found.maximum) == (min(exact), max(exact))
    assert found.mean == pytest.approx(mean, rel=1e-12, abs=1e-12 * float(max(map(abs, exact))))
