"""TensorFlow functions said in StableHLO: which are, that they stay the same, what stops others."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite import core
from orbax_model_lite.core.function import PolymorphicFunction, ShloFunction, Visibility
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm.constants import LargeConstantsWarning
from orbax_model_lite.lift import lift_function
from orbax_model_lite.tf2obm import convert_function
from orbax_model_lite.tf2obm.lower import FIXED_SIZES

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
VECTORS = S([None, 4], tf.float32)
IMAGES = S([None, 12, 12, 3], tf.uint8)


def lowering(fn, *signature, lower="auto", **options) -> core.Lowering:
    """Returns the lowering of a function, for the CPU only because that takes less time."""
    converted = convert_function(
        "f", fn, list(signature) or None, lower=lower, platforms=["cpu"], **options
    )
    assert converted.lowering is not None
    return converted.lowering


def run(form: ShloFunction, *args, **kwargs):
    """Returns what the form gives, as NumPy arrays."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(lift_function(form))(*args, **kwargs))


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (batch, 12, 12, 3), dtype=np.uint8)


def vectors(batch: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(batch, 4)).astype(np.float32)


WHOLE = {
    "scale": (lambda x: tf.cast(x, tf.float32)[..., None] / 255, IMAGES),
    "bilinear": (lambda x: tf.image.resize(tf.cast(x, tf.float32), [7, 9]), IMAGES),
    "nearest": (lambda x: tf.image.resize(x, [7, 9], method="nearest"), IMAGES),
    "crop": (lambda x: tf.image.central_crop(x, 0.5), IMAGES),
    "standardize": (tf.image.per_image_standardization, IMAGES),
    "mapped": (lambda x: tf.map_fn(tf.image.rgb_to_grayscale, x), IMAGES),
    "argmax": (lambda x: {"label": tf.argmax(x, -1), "p": tf.nn.softmax(x)}, VECTORS),
    "top": (lambda x: tuple(tf.math.top_k(x, 2)), VECTORS),
    "one_hot": (lambda x: tf.one_hot(tf.argmax(x, -1), 4, dtype=tf.bfloat16), VECTORS),
    "loop": (
        lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, 1.5 * y), (0, x))[1],
        VECTORS,
    ),
    "bools": (lambda x: x > 0, VECTORS),
    "wide": (lambda x: tf.cast(x, tf.float64) / 3, VECTORS),
    "matrix": (lambda x: x @ tf.reshape(tf.range(12.0), [4, 3]), VECTORS),
    "normalized": (lambda x: tf.math.l2_normalize(x, axis=-1), VECTORS),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_function_of_rows_has_a_form_for_every_batch_size(case):
    fn, spec = WHOLE[case]
    function = tf.function(fn, input_signature=[spec])
    found = lowering(function)
    assert (found.reason, found.operation) == ("", "")
    assert isinstance(found.function, ShloFunction)
    assert found.function.signature.symbols == ("b",)
    for batch in (1, 2, 7):
        x = images(batch) if spec is IMAGES else vectors(batch)
        expected = tf.nest.map_structure(lambda y: y.numpy(), function(x))
        actual = run(found.function, x)
        for old, new in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
            assert old.dtype == new.dtype
            np.testing.assert_allclose(
                new.astype(np.float64), old.astype(np.float64), rtol=1e-5, atol=1e-5
            )


def test_the_form_has_the_tree_and_the_names_of_the_function():
    @tf.function(input_signature=[S([None], tf.float32), {"a": VECTORS, "c": S([], tf.int64)}])
    def function(x, more):
        return {"y": x[:, None] * more["a"], "n": (more["c"] + 1, x)}

    found = lowering(function).function
    assert str(found.signature) == (
        "(float32 [b], {a: float32 [b, 4], c: int64 []}) -> "
        "{n: (int64 [], float32 [b]), y: float32 [b, 4]}"
    )
    out = run(found, np.ones(3, np.float32), {"a": vectors(3), "c": np.int64(2**40)})
    np.testing.assert_array_equal(out["y"], vectors(3))
    assert out["n"][0] == 2**40 + 1


def test_keyword_arguments_stay_keyword_arguments():
    prepared = tf.function(lambda *, x, y: x + y)
    found = lowering(prepared, keyword_signature={"x": VECTORS, "y": VECTORS}).function
    np.testing.assert_array_equal(run(found, x=vectors(2), y=vectors(2)), 2 * vectors(2))


def test_outputs_that_were_narrowed_are_narrow_in_the_form():
    found = lowering(lambda x: tf.argmax(x, -1), VECTORS, suppress_x64_outputs=True).function
    assert str(found.signature) == "(float32 [b, 4]) -> int32 [b]"


def test_the_form_is_for_all_platforms_by_default():
    converted = convert_function("f", lambda x: 2 * x, [VECTORS], lower="auto")
    assert converted.lowering.function.platforms == ("cpu", "cuda", "tpu")


def test_the_form_is_for_other_functions_and_the_runtime_only():
    assert lowering(lambda x: 2 * x, VECTORS).function.visibility is Visibility.PRIVATE


def test_a_function_of_fixed_sizes_has_a_form_of_these():
    found = lowering(lambda x: x - tf.reduce_mean(x, 0), S([3, 4], tf.float32))
    assert found.reason == ""
    assert str(found.function.signature) == "(float32 [3, 4]) -> float32 [3, 4]"


def test_an_input_without_a_batch_is_given_to_every_row():
    found = lowering(lambda x, s: (x * s, s + 1), VECTORS, S([4], tf.float32)).function
    scale = np.arange(4, dtype=np.float32)
    product, more = run(found, vectors(3), scale)
    np.testing.assert_array_equal(product, vectors(3) * scale)
    np.testing.assert_array_equal(more, scale + 1)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x - tf.reduce_mean(x, 0),
        lambda x: tf.reshape(x, [-1]),
        lambda x: tf.cumsum(x, axis=0),
        lambda x: tf.reverse(x, [0]),
        lambda x: 1 + tf.reduce_sum(x),
        lambda x: x * tf.cast(tf.shape(x)[0], tf.float32),
    ],
    ids=["mean", "flat", "cumsum", "reversed", "total", "size"],
)
def test_a_function_whose_rows_depend_on_each_other_has_forms_of_fixed_sizes(fn):
    function = tf.function(fn, input_signature=[VECTORS])
    found = lowering(function)
    assert "for batches of 1 and 8 only" in found.reason
    assert isinstance(found.function, PolymorphicFunction)
    for size, form in zip(FIXED_SIZES, found.function.functions, strict=True):
        expected = function(vectors(size)).numpy()
        np.testing.assert_allclose(run(form, vectors(size)), expected, rtol=1e-5)


def test_variables_are_constants_of_the_form():
    module = tf.Module()
    module.scale = tf.Variable([1.0, 2.0, 3.0, 4.0])
    module.shift = tf.Variable(5.0)
    table = tf.constant([10.0, 20.0])
    found = lowering(lambda x: module.scale * x + module.shift + table[1], VECTORS).function
    np.testing.assert_array_equal(
        run(found, np.ones((2, 4), np.float32)), [[26, 27, 28, 29], [26, 27, 28, 29]]
    )


@pytest.mark.parametrize("kind", ["variables", "constants"])
def test_large_constants_are_stored_twice_only_when_asked_for(kind):
    values = np.random.default_rng(0).normal(size=(4, 100_000)).astype(np.float32)
    held = tf.Variable(values) if kind == "variables" else values
    found = lowering(lambda x: tf.reduce_max(x @ held, -1), VECTORS)
    assert found.function is None
    assert "1.6 MB of constants" in found.reason
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LargeConstantsWarning)
        found = lowering(lambda x: tf.reduce_max(x @ held, -1), VECTORS, lower="always")
    assert isinstance(found.function, ShloFunction)


counter = tf.Variable([1.0, 1.0, 1.0, 1.0])
table = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), tf.constant([5.0, 6.0])), 0.0
)


def counting(x):
    counter.assign_add([1.0, 1.0, 1.0, 1.0])
    return x * counter


def decoding(x):
    return tf.map_fn(tf.io.decode_png, x, fn_output_signature=S([None, None, None], tf.uint8))


def checked(x):
    tf.debugging.assert_less(x, 1000.0)
    return 2 * x


STOPPED = {
    "DecodePng": (decoding, S([None], tf.string)),
    "StringLower": (lambda x, s: (x, tf.strings.lower(s)), VECTORS, S([None], tf.string)),
    "StringToNumber": (tf.strings.to_number, S([None], tf.string)),
    "AsString": (tf.strings.as_string, VECTORS),
    "ReadFile": (lambda x: x + tf.io.decode_raw(tf.io.read_file("f"), tf.float32), VECTORS),
    "LookupTableFindV2": (table.lookup, S([None], tf.int64)),
    "AssignAddVariableOp": (counting, VECTORS),
    "RandomUniform": (lambda x: x + tf.random.uniform([4]), VECTORS),
    "EagerPyFunc": (
        lambda x: tf.ensure_shape(tf.py_function(abs, [x], tf.float32), x.shape),
        VECTORS,
    ),
    "ResizeBicubic": (lambda x: tf.image.resize(x, [7, 9], method="bicubic"), IMAGES),
    "Where": (lambda x: tf.boolean_mask(x, x[:, 0] > 0), VECTORS),
    "Assert": (checked, VECTORS),
    "CheckNumerics": (lambda x: tf.debugging.check_numerics(x, "bad"), VECTORS),
}


@pytest.mark.parametrize("operation", STOPPED)
def test_the_operation_that_stopped_it_is_named(operation):
    fn, *signature = STOPPED[operation]
    found = lowering(fn, *signature)
    assert found.function is None
    assert found.operation == operation
    assert operation in found.reason


@pytest.mark.parametrize("operation", sorted(STOPPED.keys() - {"Assert", "CheckNumerics"}))
def test_always_says_which_operation_stands_in_the_way(operation):
    fn, *signature = STOPPED[operation]
    with pytest.raises(UnsupportedError, match=f"function 'f': expected .* found that {operation}"):
        lowering(fn, *signature, lower="always")


def test_always_leaves_checks_out():
    found = lowering(checked, VECTORS, lower="always").function
    np.testing.assert_array_equal(run(found, vectors(2)), 2 * vectors(2))


@pytest.mark.parametrize(
    ("fn", "signature", "reason"),
    [
        (lambda x, s: (x, s), [VECTORS, S([None], tf.string)], "input '1' is a string"),
        (lambda x: x, [S([None, None], tf.float32)], "unknown sizes beside the batch"),
        (lambda x: x + 1, [S(None, tf.float32)], "input '0' has an unknown rank"),
    ],
    ids=["string", "sizes", "rank"],
)
def test_a_signature_that_leaves_too_much_open_is_the_reason(fn, signature, reason):
    found = lowering(fn, *signature)
    assert (found.function, found.operation) == (None, "")
    assert reason in found.reason


def test_an_input_that_may_be_left_out_is_the_reason():
    @tf.function(input_signature=[VECTORS, S([], tf.float32)])
    def function(x, factor=2.0):
        return x * factor

    assert "input 'factor' has a default value" in lowering(function).reason


def test_nothing_is_tried_by_default():
    assert convert_function("f", lambda x: 2 * x, [VECTORS]).lowering is None


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="lower: expected 'auto', 'always' or 'never'; found True"):
        convert_function("f", lambda x: 2 * x, [VECTORS], lower=True)


def test_the_same_function_gives_the_same_form():
    once, again = (lowering(tf.nn.softmax, VECTORS) for _ in range(2))
    assert once == again


@tf.custom_gradient
def straight_through(x):
    return tf.round(x), lambda dy: dy


@pytest.mark.parametrize(
    "fn",
    [lambda x: tf.stop_gradient(x) * x, straight_through],
    ids=["stop_gradient", "custom_gradient"],
)
def test_a_derivative_that_the_form_has_lost_is_not_given_in_silence(fn):
    lifted = lift_function(lowering(fn, VECTORS).function)
    with pytest.warns(UserWarning, match="derivative"):
        jax.grad(lambda x: lifted(x).sum())(vectors(2))


def test_a_form_without_lost_derivatives_is_differentiated(recwarn):
    lifted = lift_function(lowering(lambda x: tf.tanh(x) * x, VECTORS).function)
    x = tf.constant(vectors(2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.tanh(x) * x)
    found = jax.grad(lambda x: lifted(x).sum())(vectors(2))
    np.testing.assert_allclose(found, tape.gradient(y, x), rtol=1e-5)
