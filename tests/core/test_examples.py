"""Recorded calls: what goes into an .npz file comes out of it, without pickle."""

from __future__ import annotations

import io
import zipfile

import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.core import examples as examples_module
from orbax_model_lite.core.examples import (
    Example,
    Tolerance,
    example_bytes,
    examples_data,
    read_example,
    read_examples_record,
    require_size,
)
from orbax_model_lite.core.tree import flatten_with_path, structure_differences
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError


def record_of(example: Example):
    return read_examples_record(examples_data([("examples/0.npz", example)], "cpu").content)[0]


@pytest.fixture
def example() -> Example:
    return Example(
        target="classify",
        is_pipeline=True,
        args=(np.array([b"a", b"\x00\xff"], object), np.float32(3), np.zeros((0, 2), np.int8)),
        kwargs={"b": {"z": np.array(["é"]), "none": None, "empty": {}}},
        outputs=[
            (np.array(2, ml_dtypes.bfloat16), np.array([[1, -8]], ml_dtypes.int4)),
            np.array([1 + 2j], np.complex128),
            np.array([True]),
        ],
        tolerances={"bfloat16": Tolerance(relative=0.5)},
    )


def test_a_recorded_call_comes_back_equal(example):
    found = read_example(example_bytes(example), record_of(example))
    for name in ("args", "kwargs", "outputs"):
        before, after = getattr(example, name), getattr(found, name)
        assert not structure_differences(before, after)
        for (_, b), (_, a) in zip(flatten_with_path(before), flatten_with_path(after), strict=True):
            expected = np.asarray(b)
            if expected.dtype.kind == "U":
                expected = np.char.encode(expected, "utf-8").astype(object)
            assert a.shape == expected.shape
            assert a.dtype == expected.dtype
            np.testing.assert_array_equal(a, expected)
    assert (found.target, found.is_pipeline) == ("classify", True)
    assert found.tolerances == example.tolerances


def test_the_same_call_gives_the_same_bytes(example):
    assert example_bytes(example) == example_bytes(example)


def test_an_array_of_pickled_objects_is_refused(example):
    buffer = io.BytesIO()
    np.savez(buffer, **{"0": np.array([{"a": 1}], object), "index": np.zeros(1, np.uint8)})
    with pytest.raises(InvalidBundleError, match=r"examples/0\.npz"):
        read_example(buffer.getvalue(), record_of(example))


def test_a_truncated_file_is_refused(example):
    with pytest.raises(InvalidBundleError, match="damaged"):
        read_example(example_bytes(example)[:-30], record_of(example))


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(example, monkeypatch):
    monkeypatch.setattr(examples_module, "_MAX_UNPACKED_BYTES", 10_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", bytes(20_000))
    with pytest.raises(InvalidBundleError, match="unpacked"):
        read_example(buffer.getvalue(), record_of(example))


def test_too_large_examples_are_refused_with_the_option_that_allows_them(example):
    with pytest.raises(InvalidModelError, match="max_example_bytes"):
        require_size([example], 3)


def test_an_array_in_another_byte_order_comes_back_with_its_numbers():
    call = Example(
        target="f", is_pipeline=False, args=(np.arange(3, dtype=">f4"),), kwargs={}, outputs=None
    )
    (found,) = read_example(example_bytes(call), record_of(call)).args
    np.testing.assert_array_equal(found, np.arange(3, dtype=np.float32))
