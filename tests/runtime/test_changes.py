"""Models with other weights, fixed sizes or one fused function, and their bundles on disk."""

from __future__ import annotations

import inspect
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.core import layout
from orbax_model_lite.core.tree import leaves
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidBundleError,
    InvalidModelError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
)

pytestmark = pytest.mark.frameworks

RNG = np.random.default_rng(0)
PARAMS = {
    "w": RNG.normal(size=(4, 3)).astype(np.float32),
    "b": RNG.normal(size=3).astype(np.float32),
}
X = RNG.normal(size=(5, 4)).astype(np.float32)


def _apply(params, x):
    return {"y": jnp.tanh(x @ params["w"] + params["b"]), "id": x[:, 0]}


def _double(raw):
    return raw * 2.0


def _magnitude(y):
    return jnp.maximum(y, -y)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Returns the folders of one bundle with weights in either format, by format."""
    folders = {}
    for kind in ("orbax", "safetensors"):
        folders[kind] = tmp_path_factory.mktemp(kind) / "m.obm"
        obm.pack(
            folders[kind],
            _apply,
            PARAMS,
            "b, 4",
            preprocess=_double,
            postprocess=_magnitude,
            examples=(X,),
            metadata={"name": "three", "license": "MIT"},
            weights_format=kind,
            platforms=["cpu"],
        )
    return folders


@pytest.fixture
def packed(written, tmp_path):
    """Returns a bundle with processors, metadata and an example of 5 rows, a copy for each test."""
    return shutil.copytree(written["safetensors"], tmp_path / "m.obm")


@pytest.fixture
def model(packed):
    with obm.load(packed) as loaded:
        yield loaded


def _halved(weights):
    return jax.tree.map(lambda w: w / 2, weights)


def _close(found, expected):
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_lift_gives_the_functions_own_names_and_numbers(model):
    lifted = model.lift("serving_default")
    assert list(inspect.signature(lifted).parameters) == ["params", "x"]
    _close(lifted(model.weights, X), model.functions["serving_default"](model.weights, X))
    _close(lifted(model.weights, x=X), lifted(model.weights, X))


def test_lift_differentiates_where_the_stored_call_does_not(model):
    lifted = model.lift("serving_default")
    found = jax.grad(lambda p: lifted(p, X)["y"].sum())(PARAMS)
    _close(found, jax.grad(lambda p: _apply(p, X)["y"].sum())(PARAMS))


def test_lift_refuses_arguments_that_do_not_fit(model):
    with pytest.raises(SignatureMismatchError, match=r"input 'x'.*\[b, 4\].*\[5, 3\]"):
        model.lift("serving_default")(model.weights, X[:, :3])


def test_lift_of_an_unknown_function_names_the_nearest(model):
    with pytest.raises(UnknownNameError, match="serving_default"):
        model.lift("serving_defualt")


def test_new_weights_change_what_the_model_returns_and_not_the_old_one(model):
    before = model(X)
    changed = model.with_weights(_halved(PARAMS))
    _close(changed(X), _magnitude(_apply(_halved(PARAMS), 2 * X)["y"]))
    _close(model(X), before)


@pytest.mark.parametrize("kind", ["orbax", "safetensors"])
def test_new_weights_are_saved_in_the_old_format_with_everything_else(written, kind, tmp_path):
    model = obm.load(written[kind])
    saved = model.with_weights(_halved(PARAMS)).save(tmp_path / "new.obm")
    assert obm.verify(tmp_path / "new.obm", replay=True).ok
    _close(obm.load(tmp_path / "new.obm").weights, _halved(PARAMS))
    old = obm.read(written[kind])
    assert saved.functions == old.functions
    assert saved.values == old.values
    metadata = [b.read_bytes(b.supplementals[layout.KEY_METADATA]) for b in (old, saved)]
    assert metadata[0] == metadata[1]


def test_weights_of_custom_nodes_are_taken_too(model):
    class Params(dict):
        pass

    jax.tree_util.register_pytree_with_keys(
        Params,
        lambda p: ([(jax.tree_util.DictKey(k), p[k]) for k in sorted(p)], tuple(sorted(p))),
        lambda keys, values: Params(zip(keys, values, strict=True)),
    )
    _close(model.with_weights(Params(PARAMS)).weights, PARAMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"w": p["w"]}, "b"),
        (lambda p: {**p, "c": p["b"]}, "c"),
        (lambda p: {**p, "b": p["b"][:2]}, r"\[3\]"),
        (lambda p: {**p, "b": p["b"].astype(np.float64)}, "float32"),
    ],
    ids=["missing", "extra", "shape", "dtype"],
)
def test_weights_that_do_not_fit_are_refused_at_once(model, change, message):
    with pytest.raises(SignatureMismatchError, match=message):
        model.with_weights(change(PARAMS))


def test_weights_of_an_unknown_value_are_refused(model):
    with pytest.raises(UnknownNameError, match="weights"):
        model.with_weights(PARAMS, name="wieghts")


def test_specialize_fixes_the_size_in_every_function(model):
    fixed = model.specialize(b=5)
    signatures = {n: f.signature for n, f in fixed.bundle.functions.items()}
    assert all(signature.is_static for signature in signatures.values())
    _close(fixed(X), model(X))
    with pytest.raises(SignatureMismatchError, match=r"\[5, 4\]"):
        fixed(X[:2])


def test_specialized_functions_keep_names_and_visibility(model):
    before = model.bundle.functions["serving_default"]
    after = model.specialize(b=5).bundle.functions["serving_default"]
    assert after.visibility is before.visibility
    assert after.platforms == before.platforms
    assert list(inspect.signature(model.specialize(b=5).lift("serving_default")).parameters) == [
        "params",
        "x",
    ]


def test_a_specialized_model_is_saved_with_the_examples_that_fit(model, tmp_path):
    model.specialize(b=5).save(tmp_path / "five.obm")
    model.specialize(b=2).save(tmp_path / "two.obm")
    assert obm.verify(tmp_path / "five.obm", replay=True).ok
    assert layout.KEY_EXAMPLES in obm.read(tmp_path / "five.obm").supplementals
    assert layout.KEY_EXAMPLES not in obm.read(tmp_path / "two.obm").supplementals


def test_specialize_refuses_an_unknown_symbol_and_a_size_that_is_none(model):
    with pytest.raises(UnknownNameError, match="c"):
        model.specialize(c=5)
    with pytest.raises(InvalidModelError, match="expected an integer"):
        model.specialize(b=-1)


def test_specialize_keeps_constraints_and_other_symbols(tmp_path):
    obm.pack(
        tmp_path / "m.obm",
        lambda x: x + 1,
        None,
        "b, t",
        platforms=["cpu"],
        constraints=["b >= 2", "mod(t, 2) == 0"],
    )
    model = obm.load(tmp_path / "m.obm")
    half = model.specialize(b=3)
    assert str(half.bundle.functions["serving_default"].signature.inputs[0][0]) == "float32 [3, t]"
    assert half(np.zeros((3, 4), np.float32)).shape == (3, 4)
    with pytest.raises(SignatureMismatchError):
        half(np.zeros((3, 5), np.float32))
    with pytest.raises(InvalidModelError, match="b >= 2"):
        model.specialize(b=1)


def test_fuse_makes_one_function_of_a_pipeline(model, tmp_path):
    fused = model.fuse()
    assert [s.function for s in fused.orchestration.pipelines["serving_default"].stages] == [
        "serving_default_fused"
    ]
    _close(fused(X), model(X))
    fused.save(tmp_path / "fused.obm")
    assert obm.verify(tmp_path / "fused.obm", replay=True).ok
    with obm.load(tmp_path / "fused.obm") as again:
        _close(again(X[:2]), model(X[:2]))
        assert set(model.functions) < set(again.functions)


def test_fuse_refuses_an_unknown_pipeline(model):
    with pytest.raises(UnknownNameError, match="pipeline"):
        model.fuse("nope")


def test_a_change_of_a_change_keeps_both(model, tmp_path):
    changed = model.with_weights(_halved(PARAMS)).specialize(b=5).fuse()
    _close(changed(X), _magnitude(_apply(_halved(PARAMS), 2 * X)["y"]))
    changed.save(tmp_path / "new.obm")
    _close(obm.load(tmp_path / "new.obm")(X), changed(X))


def test_an_unchanged_model_is_saved_byte_for_byte(model, packed, tmp_path):
    model.save(tmp_path / "copy.obm")
    files = {p.relative_to(packed) for p in packed.rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "copy.obm")
        for p in (tmp_path / "copy.obm").rglob("*")
        if p.is_file()
    }
    for path in files:
        assert (packed / path).read_bytes() == (tmp_path / "copy.obm" / path).read_bytes()


def test_save_refuses_a_target_that_exists_and_replaces_it_when_told(model, packed):
    with pytest.raises(BundleExistsError):
        model.with_weights(_halved(PARAMS)).save(packed)
    model.with_weights(_halved(PARAMS)).save(packed, overwrite=True)
    _close(obm.load(packed).weights, _halved(PARAMS))


def test_a_closed_model_changes_nothing(model, tmp_path):
    model.close()
    for change in (
        lambda: model.with_weights(PARAMS),
        lambda: model.specialize(b=1),
        model.fuse,
        lambda: model.save(tmp_path / "x.obm"),
        lambda: model.lift("serving_default"),
    ):
        with pytest.raises(InvalidBundleError, match="closed"):
            change()


def test_a_pipeline_with_a_tensorflow_stage_cannot_be_fused(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def numbers(text):
        return tf.strings.to_number(text)

    obm.pack(tmp_path / "m.obm", lambda x: x + 1, preprocess=numbers, platforms=["cpu"])
    with pytest.raises(UnsupportedError, match="TensorFlow"):
        obm.load(tmp_path / "m.obm").fuse()
