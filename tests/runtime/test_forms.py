"""Pipelines with TensorFlow processors, run by their StableHLO forms and without TensorFlow."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import core, jax2obm, tf2obm
from orbax_model_lite.core import layout
from orbax_model_lite.core.function import OpaqueFunction, ShloFunction
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnsupportedError,
    UntrustedError,
)

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec

WITHOUT_TENSORFLOW = """
    import sys
    sys.modules["tensorflow"] = None  # importing it raises, as where it is not installed
    import numpy as np
    import orbax_model_lite as obm
    from orbax_model_lite import errors
    path = sys.argv[1]
"""


@tf.function(input_signature=[S([None, 6, 6], tf.uint8)])
def normalize(image):
    return {"x": tf.reshape(tf.cast(image, tf.float32) / 255, [-1, 36])}


@tf.function(input_signature=[S([None, 5], tf.float32)])
def best(scores):
    return {"label": tf.argmax(scores, -1), "score": tf.reduce_max(scores, -1)}


@tf.function(input_signature=[S([None, 5], tf.float32)])
def named(scores):
    label = tf.argmax(scores, -1)
    return {"name": tf.strings.as_string(label), "label": label}


@tf.function(input_signature=[S([None, 4], tf.float32)])
def centered(x):
    return x - tf.reduce_mean(x, 0)


def apply(params, x):
    return x @ params["w"]


PARAMS = {"w": np.random.default_rng(0).normal(size=(36, 5)).astype(np.float32)}


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, 6, 6), dtype=np.uint8)


def expected(batch: int) -> dict[str, np.ndarray]:
    scores = images(batch).reshape(batch, 36).astype(np.float32) / np.float32(255) @ PARAMS["w"]
    return {"label": scores.argmax(-1), "score": scores.max(-1)}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by what they are: all forms, one that is stopped, fixed sizes, none."""
    root = tmp_path_factory.mktemp("bundles")
    common = {"platforms": ["cpu"], "weights_format": "safetensors"}
    obm.pack(
        root / "whole", apply, PARAMS, preprocess=normalize, postprocess=best,
        examples=images(3), **common,
    )  # fmt: skip
    obm.pack(root / "stopped", apply, PARAMS, preprocess=normalize, postprocess=named, **common)
    obm.pack(root / "sized", lambda x: 2 * x, preprocess=centered, **common)
    obm.pack(
        root / "never", apply, PARAMS, preprocess=normalize, postprocess=best,
        lower_tf="never", **common,
    )  # fmt: skip
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def without_tensorflow(fresh_python) -> Callable[[str, Path], str]:
    """Returns `run(code, path)`: a new process in which TensorFlow cannot be imported."""

    def run(code: str, path: Path) -> str:
        return fresh_python(textwrap.dedent(WITHOUT_TENSORFLOW) + textwrap.dedent(code), path)

    return run


def test_the_whole_pipeline_runs_without_tensorflow(bundles, without_tensorflow, tmp_path):
    np.savez(tmp_path / "case.npz", images=images(4), **expected(4))
    code = """
        case = np.load(CASE)
        found = obm.load(path)(case["images"])
        np.testing.assert_array_equal(found["label"], case["label"])
        np.testing.assert_allclose(found["score"], case["score"], rtol=1e-5)
        print(found["label"].dtype, obm.verify(path, replay=True).ok)
    """
    code = f"CASE = {str(tmp_path / 'case.npz')!r}\n" + textwrap.dedent(code)
    assert without_tensorflow(code, bundles["whole"]).split() == ["int64", "True"]


def test_nothing_of_tensorflow_is_imported_where_it_is_installed(bundles, fresh_python):
    code = """
        import sys
        import numpy as np
        import orbax_model_lite as obm
        obm.load(sys.argv[1])(np.zeros((2, 6, 6), np.uint8))
        print("tensorflow" in sys.modules)
    """
    assert fresh_python(code, bundles["whole"]).strip() == "False"


def test_one_that_cannot_be_lowered_leaves_the_others_lowered(bundles, without_tensorflow):
    code = """
        functions = obm.read(path).functions
        print(functions["named"].lowering.operation, functions["named"].lowering.function)
        model = obm.load(path)
        print(model.functions["normalize"](np.full((1, 6, 6), 255, np.uint8))["x"].sum())
        try:
            model(np.zeros((2, 6, 6), np.uint8))
        except errors.MissingDependencyError as e:
            print(e)
    """
    first, second, third = without_tensorflow(code, bundles["stopped"]).splitlines()
    assert first == "AsString None"
    assert second == "36.0"
    assert "tensorflow, which is not installed" in third


def test_the_same_numbers_come_with_and_without_the_forms(bundles):
    lowered, original = obm.load(bundles["whole"]), obm.load(bundles["never"])
    for batch in (1, 3, 9):
        found, wanted = lowered(images(batch)), original(images(batch))
        assert found["label"].dtype == wanted["label"].dtype
        np.testing.assert_array_equal(found["label"], wanted["label"])
        np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-5)


def test_a_form_takes_names_and_lists_as_the_function_does(bundles):
    functions = [obm.load(bundles[name]).functions["best"] for name in ("whole", "never")]
    for function in functions:
        assert function(scores=[[1, 2, 3, 5, 4]])["label"].tolist() == [3]
        assert function([[1.5, 2, 3, 5, 4]])["label"].tolist() == [3]


@pytest.mark.parametrize("name", ["whole", "never"])
def test_a_form_refuses_what_the_function_refuses(bundles, name):
    function = obm.load(bundles[name]).functions["best"]
    for wrong in (np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float64), "text"):
        with pytest.raises(SignatureMismatchError, match=r"float32 \["):
            function(wrong)
    with pytest.raises(SignatureMismatchError):
        function(np.zeros((2, 5), np.float32), other=1)


def test_forms_of_fixed_sizes_run_at_these_without_tensorflow(bundles, without_tensorflow):
    code = """
        model = obm.load(path)
        print(model(np.ones((8, 4), np.float32)).sum(), model([[1, 2, 3, 4]]).sum())
        try:
            model(np.ones((3, 4), np.float32))
        except errors.MissingDependencyError as e:
            print(e)
    """
    numbers, needed, sizes = without_tensorflow(code, bundles["sized"]).splitlines()
    assert numbers == "0.0 0.0"
    assert "tensorflow, which is not installed" in needed
    assert "form takes only (float32 [1, 4]) -> float32 [1, 4]; (float32 [8, 4])" in sizes


def test_other_sizes_run_with_tensorflow_where_it_is_installed(bundles):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(obm.load(bundles["sized"])(x), 2 * (x - x.mean(0)))
    lowering = obm.read(bundles["sized"]).functions["centered"].lowering
    assert "rows depend on each other" in lowering.reason


def test_the_form_is_not_one_of_the_functions(bundles):
    assert sorted(obm.load(bundles["whole"]).functions) == ["best", "normalize", "serving_default"]


def test_a_processor_with_a_form_can_be_lifted(bundles):
    normalized = obm.load(bundles["whole"]).lift("normalize")
    assert jax.make_jaxpr(normalized)(jnp.zeros((2, 6, 6), jnp.uint8)).out_avals[0].shape == (2, 36)


def test_a_pipeline_of_forms_is_fused_into_one_function(bundles):
    fused = obm.load(bundles["whole"]).fuse()
    np.testing.assert_array_equal(fused(images(5))["label"], expected(5)["label"])


def test_a_model_that_is_saved_again_keeps_the_forms(bundles, tmp_path, without_tensorflow):
    bundle = obm.load(bundles["whole"]).save(tmp_path / "again")
    assert bundle.functions["best"].lowering.reason == ""
    code = "print(obm.load(path)(np.zeros((2, 6, 6), np.uint8))['label'].tolist())"
    assert without_tensorflow(code, tmp_path / "again").strip() == "[0, 0]"


def test_always_stops_at_a_processor_without_a_form(tmp_path):
    with pytest.raises(
        UnsupportedError, match=r"function 'named': expected .* found that AsString"
    ):
        obm.pack(
            tmp_path / "m", apply, PARAMS, preprocess=normalize, postprocess=named,
            lower_tf="always", platforms=["cpu"],
        )  # fmt: skip
    assert not (tmp_path / "m").exists()


def with_form(tmp_path: Path, change: Callable[[ShloFunction], ShloFunction]) -> Path:
    """Returns a bundle with one TensorFlow function, whose form was changed."""
    function = tf2obm.convert_function("best", best, lower="always", platforms=["cpu"])
    assert isinstance(function.lowering.function, ShloFunction)
    lowering = replace(function.lowering, function=change(function.lowering.function))
    saved = tf2obm.save_tf_functions(tmp_path / "m", {"best": best})
    data = tf2obm.tf_saved_model_as_obm_supplemental(saved.folder)
    options = core.SaveOptions(supplemental_info={layout.KEY_SAVED_MODEL: data})
    core.save({"best": replace(function, lowering=lowering)}, tmp_path / "m", options)
    return tmp_path / "m"


def test_convert_function_and_save_are_enough(tmp_path, without_tensorflow):
    path = with_form(tmp_path, lambda form: form)
    code = "print(obm.load(path).functions['best'](np.eye(5, dtype=np.float32))['label'].tolist())"
    assert without_tensorflow(code, path).strip() == "[0, 1, 2, 3, 4]"


def test_a_form_that_is_not_for_this_platform_gives_way_to_the_function(tmp_path):
    path = with_form(tmp_path, lambda form: replace(form, platforms=("tpu",)))
    found = obm.load(path).functions["best"](np.eye(5, dtype=np.float32))
    assert found["label"].tolist() == [0, 1, 2, 3, 4]


def test_a_form_for_no_platform_at_hand_says_so_without_tensorflow(tmp_path, without_tensorflow):
    path = with_form(tmp_path, lambda form: replace(form, platforms=("tpu",)))
    code = """
        try:
            obm.load(path).functions["best"](np.eye(5, dtype=np.float32))
        except errors.MissingDependencyError as e:
            print(e)
    """
    assert "expected the platform at hand, cpu" in without_tensorflow(code, path)


def test_the_custom_calls_of_a_form_are_gated(tmp_path):
    def call(x):
        spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.ffi.ffi_call("evil", spec)(x)

    evil = jax2obm.convert(
        call, (jax.ShapeDtypeStruct((3, 5), np.float32),), platforms=["cpu"],
        disabled_checks=["custom_call:evil"],
    )  # fmt: skip
    path = with_form(tmp_path, lambda form: replace(form, module=evil.module))
    with pytest.raises(UntrustedError, match=r"function 'best': .* found evil"):
        obm.load(path).functions["best"]


def test_a_form_that_was_exchanged_is_refused(tmp_path):
    path = with_form(tmp_path, lambda form: form)
    (module,) = path.glob("*.shlo")
    module.write_bytes(module.read_bytes() + b"\0")
    with pytest.raises(InvalidBundleError, match=r"SHA-256|bytes"):
        obm.load(path).functions["best"]
    assert not obm.verify(path).ok


def test_false_records_about_a_form_are_found(tmp_path):
    other = jax2obm.convert(lambda x: 3 * x, ("b, 5",), platforms=["cpu"])
    path = with_form(tmp_path, lambda form: replace(form, module=other.module))
    errors = [f for f in obm.verify(path, replay=True).findings if f.severity == "error"]
    assert any("StableHLO form" in finding.where for finding in errors)


def test_a_function_that_nobody_lowered_runs_as_before(bundles):
    functions = obm.read(bundles["never"]).functions
    assert isinstance(functions["best"], OpaqueFunction)
    assert functions["best"].lowering is None


def test_fixed_sizes_fix_those_of_the_forms_too(bundles):
    fixed = obm.load(bundles["whole"]).specialize(b=4)
    forms = [fixed.bundle.functions[name].lowering.function for name in ("normalize", "best")]
    assert [form.signature.symbols for form in forms] == [(), ()]
    np.testing.assert_array_equal(fixed(images(4))["label"], expected(4)["label"])
    np.testing.assert_array_equal(fixed.fuse()(images(4))["label"], expected(4)["label"])


def test_lifting_a_function_without_a_form_says_why_it_has_none(bundles):
    with pytest.raises(UnsupportedError, match="without a StableHLO form, because AsString works"):
        obm.load(bundles["stopped"]).lift("named")
