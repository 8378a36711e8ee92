"""Every kind of TensorFlow callable as a function of a bundle."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.function import OpaqueFunction
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.tf2obm import call_original, convert_function, prepare_function

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
VECTOR = S([None, 2], tf.float32)
Pair = collections.namedtuple("Pair", "first second")


def handle(function: OpaqueFunction) -> tf_handle_pb2.TfConcreteFunctionHandle:
    assert isinstance(function.body.content, bytes)
    return tf_handle_pb2.TfConcreteFunctionHandle.FromString(function.body.content)


class Doubler(tf.Module):
    @tf.function(input_signature=[VECTOR])
    def traced(self, x):
        return 2 * x

    def plain(self, x, factor=2.0):
        return factor * x

    @tf.function(input_signature=[VECTOR])
    def __call__(self, x):
        return 2 * x


@tf.function(input_signature=[VECTOR])
def double(x):
    return 2 * x


@tf.function
def any_shape(x):
    return 2 * x


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda: convert_function("f", double), id="tf_function"),
        pytest.param(lambda: convert_function("f", double.get_concrete_function()), id="concrete"),
        pytest.param(lambda: convert_function("f", Doubler().traced), id="method"),
        pytest.param(lambda: convert_function("f", Doubler()), id="module"),
        pytest.param(lambda: convert_function("f", Doubler().plain, [VECTOR]), id="plain_method"),
        pytest.param(lambda: convert_function("f", lambda x: 2 * x, [VECTOR]), id="lambda"),
        pytest.param(lambda: convert_function("f", any_shape, [VECTOR]), id="tf_function_for"),
        pytest.param(lambda: convert_function("f", prepare_function(double)), id="prepared"),
    ],
)
def test_every_kind_of_callable_is_converted(convert):
    function = convert()
    assert str(function.signature) == "(float32 [?, 2]) -> float32 [?, 2]"
    assert handle(function).input_names == ["x"]
    assert handle(function).output_names == ["output_0"]


def test_the_body_is_a_handle_in_a_file_of_its_own():
    function = convert_function("pre", double)
    assert function.body.mime_type == layout.MIME_TF_FUNCTION
    assert (function.body.version, function.extension) == ("0.0.1", "pb")
    assert handle(function).fn_name == "pre"


def test_nested_inputs_and_outputs_keep_their_structure():
    @tf.function
    def f(a, *rest, k, **others):
        return Pair(a["x"], {"o": others["z"], "n": None}), [rest[0], k]

    scalar = S([], tf.float32)
    concrete = f.get_concrete_function(
        collections.OrderedDict(x=scalar, b=S([1], tf.int32)),
        S([2], tf.bool),
        k=scalar,
        z=S([3], tf.int64),
    )
    function = convert_function("f", concrete)
    assert str(function.signature) == (
        "({x: float32 [], b: int32 [1]}, bool [2], k=float32 [], z=int64 [3]) -> "
        "((float32 [], {o: int64 [3], n: None}), [bool [2], float32 []])"
    )
    assert handle(function).input_names == ["a_1", "a", "rest_0", "k", "z"]
    assert handle(function).output_names == [
        "output_0.first",
        "output_0.second.o",
        "output_1.output_0",
        "output_1.output_1",
    ]


def test_outputs_whose_paths_read_alike_have_two_names():
    fn = tf.function(lambda x: {"a": {"b": x}, "a.b": -x}, input_signature=[VECTOR])
    assert handle(convert_function("f", fn)).output_names == ["a.b", "a.b_1"]


def test_python_values_become_part_of_the_function():
    def f(x, flag, y, mode="a", *, scale):
        return x * scale if flag and mode == "a" else y

    function = convert_function("f", f, [VECTOR, True, VECTOR], keyword_signature={"scale": 3.0})
    assert str(function.signature) == "(float32 [?, 2], float32 [?, 2]) -> float32 [?, 2]"
    assert handle(function).input_names == ["x", "y"]


def test_a_python_value_inside_a_container_becomes_none():
    function = convert_function("f", lambda xs: xs[0] * xs[1], [[VECTOR, 3.0]])
    assert str(function.signature) == "([float32 [?, 2], None]) -> float32 [?, 2]"


@pytest.mark.parametrize("result", [None, (), {}, []], ids=["none", "tuple", "dict", "list"])
def test_a_function_may_return_nothing(result):
    function = convert_function("f", lambda x: result, [VECTOR])
    assert function.signature.outputs == result
    assert handle(function).output_names == []


def test_a_function_may_take_nothing():
    fn = tf.function(lambda: tf.constant(3), input_signature=[])
    function = convert_function("f", fn)
    assert str(function.signature) == "() -> int32 []"
    assert (
        str(convert_function("f", tf.function(lambda: tf.constant(3))).signature)
        == "() -> int32 []"
    )


def test_wide_outputs_are_narrowed_on_request():
    def f(x):
        wide = {d: tf.cast(x, d) for d in ("float64", "int64", "uint64", "complex128", "int8")}
        return wide | {"text": tf.as_string(x)}

    function = convert_function("f", f, [VECTOR], suppress_x64_outputs=True)
    dtypes = {key: spec.dtype.value for key, spec in function.signature.outputs.items()}
    assert dtypes == {
        "float64": "float32",
        "int64": "int32",
        "uint64": "uint32",
        "complex128": "complex64",
        "int8": "int8",
        "text": "string",
    }


def test_a_prepared_function_says_what_it_returns_as_tensorflow_does():
    prepared = prepare_function(
        lambda x: Pair(tf.cast(x, tf.int64), None), [VECTOR], suppress_x64_outputs=True
    )
    assert prepared.structured_outputs == Pair(S([None, 2], tf.int32), None)


@pytest.mark.parametrize(
    ("fn", "options", "message"),
    [
        pytest.param(lambda x: x, {}, "a signature to trace the callable for", id="plain"),
        pytest.param(any_shape, {}, "a tf.function with an input_signature", id="tf_function"),
        pytest.param(3, {}, "expected a TensorFlow function; found 3", id="number"),
        pytest.param(
            double.get_concrete_function(),
            {"input_signature": [VECTOR]},
            "no signature for a concrete function",
            id="concrete",
        ),
        pytest.param(
            prepare_function(double),
            {"suppress_x64_outputs": True},
            "no options for a function that is prepared already",
            id="prepared",
        ),
        pytest.param(
            tf.RaggedTensor.from_tensor,
            {"input_signature": [VECTOR]},
            "expected a dense tensor; found a RaggedTensor; convert it",
            id="ragged_output",
        ),
        pytest.param(
            lambda x: {"s": tf.sparse.from_dense(x)},
            {"input_signature": [VECTOR]},
            "output 's': expected a dense tensor; found a SparseTensor",
            id="sparse_output",
        ),
        pytest.param(
            lambda r: r.to_tensor(),
            {"input_signature": [tf.RaggedTensorSpec([None, None], tf.float32)]},
            "input: expected a dense tensor; found a RaggedTensor",
            id="ragged_input",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_an_error_that_says_what_to_do(fn, options, message):
    with pytest.raises(InvalidModelError, match=message):
        convert_function("f", fn, **options)


def test_defaults_belong_to_their_inputs_wherever_these_stand():
    @tf.function
    def f(scale=2, *, x, shift=(1, 2)):
        return x * scale + tf.cast(shift, tf.float32)

    keywords = {"x": VECTOR, "shift": S([2], tf.int32)}
    defaults = prepare_function(f, [S([], tf.float32)], keyword_signature=keywords).defaults
    assert {name: value.tolist() for name, value in defaults.items()} == {
        "scale": 2.0,
        "shift": [1, 2],
    }
    assert defaults["scale"].dtype == np.float32


def test_a_default_of_a_nested_argument_is_split():
    @tf.function(input_signature=[{"a": S([], tf.float32), "b": S([], tf.string)}])
    def f(d={"a": 1.5, "b": "t"}):  # noqa: B006 (never changed)
        return d["a"]

    assert {k: v.tolist() for k, v in prepare_function(f).defaults.items()} == {
        "d": 1.5,
        "d_1": b"t",
    }


def test_a_default_that_does_not_fit_its_input_is_an_error():
    @tf.function(input_signature=[S([2], tf.float32)])
    def f(x=(1.0, 2.0, 3.0)):
        return x

    with pytest.raises(InvalidModelError, match="input 'x': expected a default value"):
        prepare_function(f)


def test_the_original_is_called_as_the_packed_function_will_be():
    @tf.function(input_signature=[S([None], tf.string), S([], tf.float32)])
    def f(words, scale=3.0):
        return {"n": scale * tf.cast(tf.strings.length(words), tf.float32), "words": words}

    out = call_original(f, (["ab", b"c\0"],), {})
    assert out["words"].tolist() == [b"ab", b"c\0"]
    np.testing.assert_array_equal(out["n"], np.array([6, 6], np.float32))
