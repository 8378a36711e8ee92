"""TensorFlow functions packed, read back and run: each gives what the author's gave."""

from __future__ import annotations

import collections

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite import tf2obm
from orbax_model_lite.core.tree import flatten_with_path

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
VECTOR = S([None, 2], tf.float32)
X = np.arange(6, dtype=np.float32).reshape(3, 2)
Pair = collections.namedtuple("Pair", "first second")


def traced(*specs):
    return tf.function(input_signature=specs)


def everything_nested():
    @tf.function
    def f(a, *rest, k, **others):
        return Pair(a["x"] + 1, {"o": others["z"], "n": None}), [rest[0], k * 2]

    scalar = S([], tf.float32)
    return f.get_concrete_function(
        collections.OrderedDict(x=scalar, b=S([1], tf.int32)), S([2], tf.bool), k=scalar, z=VECTOR
    )


CASES = {
    "tensor": (traced(VECTOR)(lambda x: 2 * x), (X,), {}),
    "tuple": (traced(VECTOR)(lambda x: (x, -x)), (X,), {}),
    "list_of_one": (traced(VECTOR)(lambda x: [x]), (X,), {}),
    "list_argument": (traced([VECTOR, VECTOR])(lambda xs: xs[0] - xs[1]), ([X, X + 1],), {}),
    "names_alike": (traced(VECTOR)(lambda x: {"a": {"b": x}, "a.b": -x, "a.b_1": x * 3}), (X,), {}),
    "integer_keys": (traced(VECTOR)(lambda x: {10: x, 9: -x}), (X,), {}),
    "nested": (
        everything_nested(),
        ({"x": np.float32(1), "b": np.int32([5])}, np.array([True, False])),
        {"k": np.float32(2), "z": X},
    ),
    "no_input": (traced()(lambda: {"three": tf.constant(3)}), (), {}),
    "returns_none": (traced(VECTOR)(lambda x: None), (X,), {}),
    "returns_empty": (traced(VECTOR)(lambda x: {"d": {}, "t": ()}), (X,), {}),
    "nothing_at_all": (traced()(lambda: None), (), {}),
    "unknown_rank": (traced(S(None, tf.float32))(lambda x: x + 1), (X,), {}),
    "same_input_twice": (traced(VECTOR)(lambda x: (x, x)), (X,), {}),
    "strings": (
        traced(S([None], tf.string))(lambda s: (tf.strings.upper(s), tf.strings.length(s))),
        (np.array([b"ab", b"c"]),),
        {},
    ),
    "scalar_string": (traced(S([], tf.string))(lambda s: s + "!"), (b"a\0",), {}),
    "name_becomes_python_word": (traced(VECTOR)(lambda In: In + 1), (X,), {}),  # noqa: N803
    "names_become_equal": (traced(VECTOR, VECTOR)(lambda A, a: A - a), (X, X * 2), {}),  # noqa: N803
}  # fmt: skip


def assert_same(found, expected):
    found, expected = flatten_with_path(found), flatten_with_path(expected)
    assert [path for path, _ in found] == [path for path, _ in expected]
    for (path, have), (_, want) in zip(found, expected, strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape), path
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("case", CASES)
def test_a_packed_function_gives_what_the_original_gives(bound, case):
    fn, args, kwargs = CASES[case]
    expected = tf2obm.call_original(fn, args, kwargs)
    assert_same(bound(fn)(*args, **kwargs), expected)


def test_keys_that_read_alike_each_keep_their_own_value(bound):
    out = bound(traced(VECTOR)(lambda x: {"a": {"b": x}, "a.b": -x}))(X)
    np.testing.assert_array_equal(out["a"]["b"], X)
    np.testing.assert_array_equal(out["a.b"], -X)


@pytest.mark.parametrize(
    "dtype",
    [
        np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
        np.float16, np.float32, np.float64, np.complex64, np.complex128, ml_dtypes.bfloat16,
        ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn,
    ],
)  # fmt: skip
def test_every_dtype_makes_the_round_trip(bound, dtype):
    array = np.array([0, 1, 1], dtype)
    out = bound(traced(S([None], tf.as_dtype(dtype)))(tf.identity))(array)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.astype(np.complex128), array.astype(np.complex128))


@pytest.mark.parametrize(
    "make",
    [np.asarray, jnp.asarray, tf.constant, lambda x: x.tolist()],
    ids=["numpy", "jax", "tensorflow", "list"],
)
def test_arrays_of_every_framework_are_taken(bound, make):
    np.testing.assert_array_equal(bound(traced(VECTOR)(lambda x: 2 * x))(make(X)), 2 * X)


@pytest.mark.parametrize(
    "words",
    [
        np.array([b"ab", b"\xff"]),
        np.array([b"ab", b"\xff"], object),
        [b"ab", b"\xff"],
        tf.constant([b"ab", b"\xff"]),
    ],
    ids=["bytes_array", "object_array", "list", "tensor"],
)
def test_strings_of_every_kind_are_taken_and_come_as_bytes(bound, words):
    out = bound(traced(S([None], tf.string))(lambda s: s))(words)
    assert (out.dtype, out.tolist()) == (object, [b"ab", b"\xff"])


@pytest.mark.parametrize(
    "words",
    [
        ["é", "a"],
        np.array(["é", "a"]),
        np.array(["é", "a"], object),
        np.array(["é", "a"], np.dtypes.StringDType()),
    ],
    ids=["list", "unicode_array", "object_array", "string_array"],
)
def test_text_is_passed_as_utf8(bound, words):
    assert bound(traced(S([None], tf.string))(lambda s: s))(words).tolist() == ["é".encode(), b"a"]


def test_a_string_keeps_the_nul_bytes_at_its_end(bound):
    fn = bound(traced(S([None], tf.string))(tf.strings.length))
    assert fn([b"\x89PNG\0\0", b"\0"]).tolist() == [6, 1]


def test_an_input_with_a_default_may_be_left_out(bound):
    @tf.function(input_signature=[VECTOR, S([], tf.float32), S([2], tf.float32), S([], tf.string)])
    def f(x, scale=3.0, shift=(1.0, 2.0), word="w"):
        return {"y": x * scale + shift, "word": word}

    fn = bound(f)
    shift = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(fn(X)["y"], 3 * X + shift)
    np.testing.assert_array_equal(fn(X, np.float32(2))["y"], 2 * X + shift)
    np.testing.assert_array_equal(fn(X, shift=np.zeros(2, np.float32))["y"], 3 * X)
    assert fn(x=X)["word"] == b"w"


def test_a_method_with_a_default_in_front_of_an_input_without(bound):
    @tf.function
    def f(scale=3.0, *, x):
        return x * scale

    prepared = tf2obm.prepare_function(f, [S([], tf.float32)], keyword_signature={"x": VECTOR})
    np.testing.assert_array_equal(bound(prepared)(x=X), 3 * X)


def test_python_values_are_baked_in(bound):
    def f(x, flag, y, mode="a", *, scale):
        return x * scale if flag and mode == "a" else y

    prepared = tf2obm.prepare_function(f, [VECTOR, True, VECTOR], keyword_signature={"scale": 3.0})
    np.testing.assert_array_equal(bound(prepared)(X, X + 1), 3 * X)


def test_narrowed_outputs_are_narrow(bound):
    def f(x):
        return {"f": tf.cast(x, tf.float64), "i": tf.cast(x, tf.int64)}

    out = bound(tf2obm.prepare_function(f, [VECTOR], suppress_x64_outputs=True))(X)
    assert (out["f"].dtype, out["i"].dtype) == (np.float32, np.int32)


def test_a_function_of_a_loaded_saved_model_is_packed_again(bound, tmp_path):
    module = tf.Module()
    module.w = tf.Variable([1.0, 2.0])
    module.f = tf.function(
        lambda x, k: {"y": x * module.w + k}, input_signature=[VECTOR, S([], tf.float32)]
    )
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures=module.f)
    loaded = tf.saved_model.load(str(tmp_path / "sm"))
    fn = bound(loaded.signatures["serving_default"], loaded)
    np.testing.assert_array_equal(fn(x=X, k=np.float32(1))["y"], X * np.float32([1, 2]) + 1)


def test_state_lives_on_between_calls(bound):
    module = tf.Module()
    module.count = tf.Variable(0)
    fn = bound(tf.function(lambda: module.count.assign_add(1), input_signature=[]), module)
    assert [int(fn()), int(fn())] == [1, 2]
