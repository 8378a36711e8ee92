"""Calls of packed TensorFlow functions: what is refused and how, and what is shared."""

from __future__ import annotations

import dataclasses
import re
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite import core, tf2obm
from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
)

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
X = np.arange(6, dtype=np.float32).reshape(3, 2)


def scaled():
    @tf.function(input_signature=[S([None, 2], tf.float32), S([], tf.int32), S([None], tf.string)])
    def f(x, n, words=("a",)):
        return {"y": x * tf.cast(n, tf.float32), "words": words}

    return f


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    """A function `(x: float32 [?, 2], n: int32, words: string [?])`, bound; calls are refused."""
    target = tmp_path_factory.mktemp("engine") / "m"
    fn = scaled()
    objects = {"f": tf2obm.convert_function("f", fn)}
    tf2obm.save_tf_functions(target, {"f": fn})
    core.save(objects, target, with_saved_model("tf_saved_model/"))
    bundle = core.read(target)
    return tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")


def with_saved_model(folder: str) -> core.SaveOptions:
    data = tf2obm.tf_saved_model_as_obm_supplemental(folder)
    record = {layout.KEY_SAVED_MODEL: core.GlobalSupplemental(data)}
    return core.SaveOptions(version=2, supplemental_info=record)


WHOLE_MESSAGE = (
    "function 'f', input 'x': expected float32 [?, 2], found float64 [3, 2]; cast before the call; "
    "it takes (x: float32 [?, 2], n: int32 [], words: string [?])"
)
MISFITS = {
    "dtype": (
        (X.astype(np.float64), 2),
        {},
        WHOLE_MESSAGE,
    ),
    "shape": ((X.T, 2), {}, "found float32 [2, 3]; reshape before the call"),
    "rank": ((X[0], 2), {}, "found float32 [2]; reshape"),
    "missing": ((X,), {}, "input 'n': expected a value; found none"),
    "too_many": ((X, 2, ["a"], 4), {}, "expected 3 positional arguments; found 4"),
    "unknown_name": ((X, 2), {"m": 1}, "input 'm': expected no input of this name"),
    "twice": ((X, 2), {"x": X}, "input 'x': expected it once; found it twice"),
    "fraction": ((X, 2.5), {}, "input 'n': expected int32 [], found float64 []"),
    "range": ((X, 2**40), {}, "input 'n': expected int32 []; found 1099511627776"),
    "no_text": ((X, 2, [1]), {}, "input 'words': expected string [?]; found [1]"),
    "numbers": ((X, 2, X[0]), {}, "'words': expected string [?], found float32 [2]"),
    "text": ((["a"], 2), {}, "input 'x': expected float32 [?, 2], found string [1]"),
    "ragged": (([[1, 2], [3]], 2), {}, "input 'x': expected float32 [?, 2]; found"),
    "none": ((None, 2), {}, "input 'x': expected float32 [?, 2]"),
    "tensor": ((tf.constant(X, tf.float64), 2), {}, "found float64 [3, 2]"),
}


@pytest.mark.parametrize(("args", "kwargs", "message"), MISFITS.values(), ids=MISFITS)
def test_arguments_that_do_not_fit_are_refused_with_their_place(function, args, kwargs, message):
    with pytest.raises(SignatureMismatchError, match=re.escape(message)):
        function(*args, **kwargs)


def test_all_arguments_that_do_not_fit_are_named(function):
    with pytest.raises(SignatureMismatchError) as caught:
        function(X.T, n=np.zeros(2, np.int64), words=["a"])
    assert str(caught.value).splitlines()[0].startswith("function 'f', input 'x': ")
    assert str(caught.value).splitlines()[1].startswith("function 'f', input 'n': ")


@pytest.mark.parametrize(
    "n",
    [2, np.int32(2), np.array(2, np.int32), tf.constant(2)],
    ids=["python", "scalar", "array", "tensor"],
)
def test_numbers_of_every_kind_are_taken(function, n):
    np.testing.assert_array_equal(function(X, n)["y"], 2 * X)


def test_positional_inputs_may_be_given_by_name(function):
    np.testing.assert_array_equal(function(words=["b"], n=2, x=X)["y"], 2 * X)


@pytest.mark.parametrize(
    "tree",
    [{"a": X}, {"a": X, "b": X, "c": X}, [X, X], X, None],
    ids=["missing", "superfluous", "list", "array", "none"],
)
def test_another_tree_is_refused(bound, tree):
    fn = tf.function(lambda d: d["a"] + d["b"], input_signature=[{"a": S([3, 2]), "b": S([3, 2])}])
    message = re.escape("input '0': expected {a: float32 [3, 2], b: float32 [3, 2]}; found")
    with pytest.raises(SignatureMismatchError, match=message):
        bound(fn)(tree)


def test_a_place_deep_in_a_tree_is_named(bound):
    fn = tf.function(lambda d: d["a"][1], input_signature=[{"a": [S([2]), S([2])]}])
    with pytest.raises(SignatureMismatchError, match=re.escape("input '0.a.1': expected")):
        bound(fn)({"a": [np.zeros(2, np.float32), np.zeros(3, np.float32)]})


def test_values_that_an_operation_refuses_are_an_error_of_ours(bound):
    fn = tf.function(tf.io.decode_png, input_signature=[S([], tf.string)])
    with pytest.raises(SignatureMismatchError, match=r"function 'f': .*operations accept; found"):
        bound(fn)(b"no image")


def test_an_operation_that_this_machine_lacks_is_an_error_of_ours(bound):
    fn = tf.function(lambda x: x[::-1], input_signature=[S([2], tf.as_dtype("int4"))])
    with pytest.raises(UnsupportedError, match="No OpKernel"):
        bound(fn)([1, 2])


def test_results_are_views_of_what_tensorflow_computed(bound):
    out = bound(tf.function(lambda: tf.ones(1000), input_signature=[]))()
    assert not out.flags.writeable
    assert not out.flags.owndata


def test_a_function_is_called_from_many_threads_and_loaded_once(packed, monkeypatch):
    bundle = packed({"f": scaled()})
    loads = []
    load = tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda path: loads.append(path) or load(path))
    fn = tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")
    found: dict[int, np.ndarray] = {}

    def call(i: int) -> None:
        found[i] = fn(X, i)["y"]

    threads = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    for i in range(8):
        np.testing.assert_array_equal(found[i], X * np.float32(i))


def test_a_closed_engine_runs_nothing(packed):
    bundle = packed({"f": scaled()})
    engine = tf2obm.TfEngine(bundle)
    fn = engine.bind(bundle.functions["f"], name="f")
    fn(X, 2)
    engine.close()
    with pytest.raises(InvalidBundleError, match="expected an open model; found a closed one"):
        fn(X, 2)


def test_a_moved_read_only_bundle_runs(packed, tmp_path):
    packed({"f": scaled()})
    shutil.move(tmp_path / "m", tmp_path / "moved")
    for path in [*(tmp_path / "moved").rglob("*"), tmp_path / "moved"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    bundle = core.read(tmp_path / "moved")
    fn = tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")
    np.testing.assert_array_equal(fn(X, 2)["y"], 2 * X)


def test_tensorflow_is_imported_at_the_first_call(packed, tmp_path, fresh_python):
    packed({"f": scaled()})
    code = """
        import os, sys
        from orbax_model_lite import core, tf2obm
        bundle = core.read(sys.argv[1])
        fn = tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")
        assert not tf2obm.refusals(bundle, "tf_saved_model/")
        assert "tensorflow" not in sys.modules and "jax" not in sys.modules
        before = dict(os.environ)
        print(fn([[1.0, 2.0]], 3)["y"].tolist())
        assert "tensorflow" in sys.modules
        assert before.get("TF_CPP_MIN_LOG_LEVEL") == os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    """
    assert fresh_python(code, tmp_path / "m").strip() == "[[3.0, 6.0]]"


# ------------------------------------------------------------------------- damaged and old bundles


def bind_changed(bundle: core.Bundle, **changes):
    function = dataclasses.replace(bundle.functions["f"], **changes)
    return tf2obm.TfEngine(bundle).bind(function, name="f")


def handle(**fields) -> Data:
    message = tf_handle_pb2.TfConcreteFunctionHandle(**fields)
    return Data(content=message.SerializeToString(), mime_type=layout.MIME_TF_FUNCTION)


def test_a_handle_without_names_is_that_of_an_old_bundle(packed):
    fn = tf.function(lambda *, b, a: {"d": a - b, "c": b})
    keywords = {"b": S([2], tf.float32), "a": S([2], tf.float32)}
    prepared = tf2obm.prepare_function(fn, keyword_signature=keywords)
    old = bind_changed(packed({"f": prepared}), body=handle(fn_name="f"))
    out = old(a=[3.0, 4.0], b=[1.0, 1.0])
    assert {key: value.tolist() for key, value in out.items()} == {"c": [1, 1], "d": [2, 3]}


def test_names_by_position_are_those_of_an_old_bundle(packed):
    fn = tf.function(lambda input_0, input_1: [input_0, -input_1], input_signature=[S([2]), S([2])])
    old = bind_changed(packed({"f": fn}), body=handle(fn_name="f"))
    assert [value.tolist() for value in old([1.0, 2.0], [3.0, 4.0])] == [[1, 2], [-3, -4]]


def test_an_output_that_is_wider_than_recorded_is_narrowed(packed):
    bundle = packed({"f": tf.function(lambda: tf.constant(7, tf.int64), input_signature=[])})
    recorded = Signature.of_call((), {}, Spec(shape=(), dtype=DType.INT32))
    assert bind_changed(bundle, signature=recorded)().dtype == np.int32


NOT_TOGETHER = {
    "handle": ({"body": Data(content=b"\xff")}, InvalidBundleError, "bytes that do not parse"),
    "signature": ({"body": handle(fn_name="g")}, UnknownNameError, "no signature 'g'"),
    "names": (
        {"body": handle(fn_name="f", input_names=["x", "n", "w"], output_names=["words", "y"])},
        InvalidBundleError,
        "inputs: expected 3 that the SavedModel's signature has; found 'x', 'n', 'w'",
    ),
    "outputs": (
        {"signature": Signature.of_call((Spec(shape=(), dtype=DType.FLOAT32),) * 3, {}, {})},
        InvalidBundleError,
        "outputs: expected 0",
    ),
    "token": (
        {"signature": Signature.of_call((Token(),), {}, {})},
        InvalidBundleError,
        "expected a tensor",
    ),
}


@pytest.mark.parametrize(("changes", "error", "message"), NOT_TOGETHER.values(), ids=NOT_TOGETHER)
def test_a_function_that_does_not_belong_to_its_saved_model_is_refused(
    packed, changes, error, message
):
    bundle = packed({"f": scaled()})
    with pytest.raises(error, match=re.escape(message)):
        bind_changed(bundle, **changes)(X, 2)


def test_another_dtype_than_the_bundle_records_is_refused(packed):
    bundle = packed({"f": tf.function(lambda x: x, input_signature=[S([2], tf.float32)])})
    wrong = Spec(shape=(2,), dtype=DType.INT32)
    with pytest.raises(
        InvalidBundleError, match="expected int32, as the bundle records; found float32"
    ):
        bind_changed(bundle, signature=Signature.of_call((wrong,), {}, wrong))([1, 2])


def test_a_bundle_that_does_not_say_where_its_saved_model_lies_is_refused(packed):
    bundle = dataclasses.replace(packed({"f": scaled()}), supplementals={})
    with pytest.raises(InvalidBundleError, match="expected supplemental 'tensorflow_saved_model'"):
        tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")(X, 2)


@pytest.mark.parametrize("folder", ["../outside/", "/etc/", "missing/"])
def test_a_saved_model_outside_of_the_bundle_is_refused(packed, folder):
    place = Data(content=FileRange(path=folder), mime_type=layout.MIME_SAVED_MODEL)
    bundle = dataclasses.replace(
        packed({"f": scaled()}), supplementals={layout.KEY_SAVED_MODEL: place}
    )
    with pytest.raises(InvalidBundleError, match=re.escape(folder)):
        tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")(X, 2)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
@pytest.mark.parametrize("has_record", [True, False], ids=["recorded", "unrecorded"])
def test_a_damaged_saved_model_is_an_error_of_ours(packed, tmp_path, file, has_record):
    packed({"f": scaled()})
    damaged = tmp_path / "m" / "tf_saved_model" / file
    damaged.write_bytes(b"\xff" * 40)
    if not has_record:
        (tmp_path / "m" / layout.INTEGRITY_FILE).unlink()
    bundle = core.read(tmp_path / "m")
    with pytest.raises(InvalidBundleError):
        tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")(X, 2)


def test_a_file_beside_the_recorded_ones_is_refused(packed, tmp_path):
    bundle = packed({"f": scaled()})
    (tmp_path / "m" / "tf_saved_model" / "saved_model.pbtxt").write_text("")
    with pytest.raises(
        InvalidBundleError, match=r"found 'tf_saved_model/saved_model\.pbtxt' beside"
    ):
        tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")(X, 2)
