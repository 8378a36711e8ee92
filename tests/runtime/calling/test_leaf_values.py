"""Given values as arrays of the type that an input asks for: what survives, and what is refused."""

from __future__ import annotations

import base64
import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.arrays import StoredArray
from orbax_model_lite.runtime.calling.leaf_values import from_array, from_json
from orbax_model_lite.runtime.calling.outputs import HostTree, json_tree

WHERE = "input 'x'"


def spec(dtype: str, logical: str | None = None) -> Spec:
    return Spec(shape=None, dtype=DType(dtype), logical=logical)


def array(dtype: str, values, logical: str | None = None) -> StoredArray:
    return StoredArray(array=np.array(values, DType(dtype).numpy), logical=logical)


@pytest.mark.parametrize(
    ("into", "of", "values"),
    [
        ("float32", "float64", [0.5, -2.0, np.inf, np.nan]),
        ("float64", "float32", [0.1]),
        ("bfloat16", "float32", [1.5, -0.25]),
        ("float8_e4m3fn", "float32", [1.5, -0.25]),
        ("float32", "bfloat16", [1.5]),
        ("int32", "int64", [2**31 - 1, -(2**31)]),
        ("uint8", "int64", [0, 255]),
        ("int4", "int64", [-8, 7]),
        ("int64", "uint8", [200]),
        ("float32", "uint8", [0, 255]),
        ("float32", "int64", [2**24]),
        ("complex64", "float32", [1.5]),
        ("bool", "bool", [True, False]),
    ],
)
def test_a_cast_that_keeps_every_value_is_made(into, of, values):
    given_array = array(of, values)
    made = from_array(spec(into), given_array, WHERE)
    assert DType.from_numpy(made.dtype) is DType(into)
    np.testing.assert_array_equal(
        made.astype(np.complex128), given_array.array.astype(np.complex128)
    )


@pytest.mark.parametrize(
    ("into", "of", "values", "found"),
    [
        ("float32", "float64", [0.5, 0.1], "0.1, which float32 does not hold exactly"),
        ("float32", "float64", [1e300], "which float32 does not hold exactly"),
        ("float32", "int64", [2**24 + 1], "16777217, which"),
        ("int8", "int64", [128], "128, which int8"),
        ("uint64", "int64", [-1], "-1, which uint64"),
        ("uint8", "int8", [-1], "-1, which uint8"),
        ("int64", "uint64", [2**63], "9223372036854775808, which int64"),
        ("int4", "int64", [8], "8, which int4"),
        ("int32", "float32", [1.0], "float32 [1]"),
        ("float32", "complex64", [1.0], "complex64 [1]"),
        ("float32", "bool", [True], "bool [1]"),
        ("bool", "uint8", [1], "uint8 [1]"),
        ("string", "uint8", [1], "uint8 [1]"),
        ("float32", "string", [b"1"], "string [1]"),
    ],
)
def test_a_cast_that_would_change_something_is_refused(into, of, values, found):
    with pytest.raises(SignatureMismatchError) as caught:
        from_array(spec(into), array(of, values), WHERE)
    assert str(caught.value).startswith(f"{WHERE}: expected {into} [...]; found ")
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("into", "of", "value", "advice"),
    [
        ("float32", "float64", 0.1, "if they may be rounded, save x.astype(np.float32)"),
        ("complex64", "float64", 0.1, "if they may be rounded, save x.astype(np.complex64)"),
        ("bfloat16", "float32", 0.1, "if they may be rounded, save x.astype(ml_dtypes.bfloat16)"),
        ("float32", "float64", 1e300, "give values of that type"),
        ("float8_e4m3fn", "float32", 0.1, "give values of that type"),
        ("int8", "int64", 128, "give values of that type"),
    ],
)
def test_a_refused_cast_that_would_only_round_names_the_way_out(into, of, value, advice):
    with pytest.raises(SignatureMismatchError) as caught:
        from_array(spec(into), array(of, [value]), WHERE)
    assert str(caught.value).endswith(f"; {advice}")


def test_dates_are_refused():
    dates = StoredArray(array=np.array(["2026-01-01"], "M8[D]"))
    with pytest.raises(SignatureMismatchError, match="datetime64"):
        from_array(spec("int64"), dates, WHERE)


def test_what_numpy_saves_of_bfloat16_is_bfloat16_again():
    x = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    made = from_array(spec("bfloat16"), StoredArray(array=x.view("V2")), WHERE)
    np.testing.assert_array_equal(made, x)


def test_words_are_a_key_and_a_key_of_another_kind_is_not():
    words = np.array([1, 2], np.uint32)
    wanted = spec("uint32", "key<fry>")
    assert from_array(wanted, StoredArray(array=words), WHERE) is words
    assert from_array(wanted, StoredArray(array=words, logical="key<fry>"), WHERE) is words
    with pytest.raises(SignatureMismatchError, match=r"found key<rbg> \[2\]"):
        from_array(wanted, StoredArray(array=words, logical="key<rbg>"), WHERE)


@pytest.mark.parametrize(
    ("into", "value", "made"),
    [
        ("float32", [0.1, 1], np.array([0.1, 1], np.float32)),
        ("float32", 3, np.array(3, np.float32)),
        ("bfloat16", [0.1], np.array([0.1], ml_dtypes.bfloat16)),
        ("float32", ["NaN", "-Infinity", 1], np.array([np.nan, -np.inf, 1], np.float32)),
        ("float32", [], np.zeros(0, np.float32)),
        ("float32", [[], []], np.zeros((2, 0), np.float32)),
        ("int64", [2**62], np.array([2**62])),
        ("uint64", [2**64 - 1], np.array([2**64 - 1], np.uint64)),
        ("int4", [-8], np.array([-8], ml_dtypes.int4)),
        ("bool", [[True], [False]], np.array([[True], [False]])),
        ("complex64", {"real": [1.5], "imag": [-2]}, np.array([1.5 - 2j], np.complex64)),
        ("complex64", [1], np.array([1], np.complex64)),
        ("unspecified", [1, 2], np.array([1, 2])),
    ],
)
def test_json_becomes_an_array_of_the_type(into, value, made):
    found = from_json(spec(into), value, WHERE)
    assert found.dtype == made.dtype
    assert found.shape == made.shape
    np.testing.assert_array_equal(found.astype(made.dtype), made)


@pytest.mark.parametrize(
    ("into", "value", "found"),
    [
        ("float32", [1e39], "1e+39, which is out of its range"),
        ("float16", [70000.0], "70000, which is out of its range"),
        ("float8_e4m3fn", [1000.0], "1000, which is out of its range"),
        ("float32", [2**24 + 1], "16777217, which float32 does not hold exactly"),
        ("int32", [0.5], "float64 [1]"),
        ("int32", [1.0], "float64 [1]"),
        ("int32", [2**40], "1099511627776, which int32"),
        ("int32", [2**80], "[1208925819614629174706176]"),
        ("int32", [True], "bool [1]"),
        ("int32", [1, True], "true or false among numbers"),
        ("int32", [[1], [2, 3]], "lists of different lengths"),
        ("int32", ["1"], "['1']"),
        ("int32", "NaN", "'NaN'"),
        ("int32", None, "None"),
        ("float32", {"a": 1}, "{'a': 1}"),
        ("bool", [1], "int64 [1]"),
        ("complex64", {"real": [1], "imag": [1, 2]}, "parts of [1] and [2]"),
        ("string", [1], "1"),
        ("string", ["a", ["b"]], "lists of different lengths"),
        ("string", {"base64": "?"}, "base64 that does not parse"),
        ("string", None, "None"),
    ],
)
def test_json_that_does_not_fit_is_refused(into, value, found):
    with pytest.raises(SignatureMismatchError) as caught:
        from_json(spec(into), value, WHERE)
    assert str(caught.value).startswith(f"{WHERE}: expected {into} [...]; found ")
    assert found in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "string", "complex64"])
@pytest.mark.parametrize("depth", [70, 500, 900])
def test_lists_within_lists_without_end_are_refused(dtype, depth):
    value: object = "a" if dtype == "string" else 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(SignatureMismatchError):
        from_json(spec(dtype), value, WHERE)


def test_strings_of_json_are_text_or_base64():
    value = ["ä", {"base64": base64.b64encode(b"\xff\0").decode()}]
    made = from_json(spec("string"), value, WHERE)
    assert made.tolist() == ["ä".encode(), b"\xff\0"]


NUMBERS = [
    "bool",
    "int4",
    "int8",
    "int64",
    "uint64",
    "float16",
    "bfloat16",
    "float8_e5m2",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@st.composite
def arrays_of(draw: st.DrawFn, dtype: str) -> np.ndarray:
    wanted = DType(dtype).numpy
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3))
    if wanted.isbuiltin == 1:
        return draw(hnp.arrays(wanted, shape))
    bits = draw(hnp.arrays(f"u{wanted.itemsize}", shape))
    return bits.astype(np.int8).astype(wanted) if dtype == "int4" else bits.view(wanted)


@pytest.mark.parametrize("dtype", NUMBERS)
@given(data=st.data())
def test_what_is_written_as_json_is_read_back_value_for_value(dtype, data):
    x = data.draw(arrays_of(dtype))
    text = json.dumps(json_tree(HostTree(tree=x, logical={})), allow_nan=False)
    back = from_json(spec(dtype), json.loads(text), WHERE)
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    wide = object if x.dtype.kind in "iu" else np.complex128
    np.testing.assert_array_equal(back.astype(wide), x.astype(wide))


@given(st.lists(st.binary(), max_size=4))
def test_bytes_written_as_json_are_read_back(texts):
    x = np.empty(len(texts), object)
    x[:] = texts
    text = json.dumps(json_tree(HostTree(tree=x, logical={})), allow_nan=False)
    assert from_json(spec("string"), json.loads(text), WHERE).tolist() == texts
