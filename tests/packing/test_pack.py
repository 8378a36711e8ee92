"""pack -> load -> call: JAX processors, several pipelines, weights of every kind, examples."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidModelError,
    SignatureMismatchError,
    UnknownNameError,
)

pytestmark = pytest.mark.frameworks

PARAMS = {"kernel": np.arange(12, dtype=np.float32).reshape(4, 3), "bias": np.ones(3, np.float32)}
X = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)


def dense(params, x):
    return x @ params["kernel"] + params["bias"]


def scale(x):
    return x * 2


def double(x):
    return x + x


def test_a_packed_function_gives_what_the_original_gives(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4")
    model = obm.load(tmp_path / "m")
    np.testing.assert_allclose(model(X), dense(PARAMS, X), rtol=1e-6)
    np.testing.assert_allclose(model(X[:1]), dense(PARAMS, X[:1]), rtol=1e-6)


def test_a_function_is_called_with_weights_of_the_caller(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4")
    model = obm.load(tmp_path / "m")
    other = jax.tree.map(lambda a: a + 1, PARAMS)
    found = model.functions["serving_default"](other, X)
    np.testing.assert_allclose(found, dense(other, X), rtol=1e-6)


def test_processors_run_in_sequence_around_the_model(tmp_path):
    obm.pack(
        tmp_path / "m",
        dense,
        PARAMS,
        "b, 4",
        preprocess=[scale, double],
        postprocess=[jax.nn.softmax, lambda p: {"best": p.argmax(-1), "p": p}],
    )
    found = obm.load(tmp_path / "m")(X)
    expected = jax.nn.softmax(dense(PARAMS, X * 4))
    np.testing.assert_allclose(found["p"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["best"], expected.argmax(-1))


def test_keys_that_the_model_does_not_take_travel_to_the_post_processor(tmp_path):
    def features(x, ids):
        return {"x": x * 2, "ids": ids}

    def answer(y, ids):
        return {"y": y, "ids": ids}

    obm.pack(
        tmp_path / "m",
        dense,
        PARAMS,
        {"x": "b, 4", "ids": "int32[b]"},
        preprocess=features,
        postprocess=answer,
    )
    ids = np.arange(5, dtype=np.int32)
    found = obm.load(tmp_path / "m")(x=X, ids=ids)
    np.testing.assert_array_equal(found["ids"], ids)
    np.testing.assert_allclose(found["y"], dense(PARAMS, X * 2), rtol=1e-6)


def test_a_dict_goes_whole_to_a_function_that_takes_one_dict(tmp_path):
    obm.pack(
        tmp_path / "m",
        lambda params, features: features["x"] @ params["kernel"],
        PARAMS,
        "b, 4",
        preprocess=lambda x: {"x": x, "unused": x[:, 0]},
    )
    np.testing.assert_allclose(obm.load(tmp_path / "m")(X), X @ PARAMS["kernel"], rtol=1e-6)


def test_a_tuple_is_spread_over_positional_arguments(tmp_path):
    obm.pack(
        tmp_path / "m",
        lambda a, b: (a - b, a + b),
        None,
        ("b, 4", "b, 4"),
        postprocess=lambda difference, total: difference * total,
    )
    found = obm.load(tmp_path / "m")(X, X / 2)
    np.testing.assert_allclose(found, (X - X / 2) * (X + X / 2), rtol=1e-6)


def test_several_pipelines_share_functions_and_weights(tmp_path):
    packed = obm.pack(
        tmp_path / "m",
        dense,
        PARAMS,
        "b, 4",
        preprocess=scale,
        pipelines={
            "raw": obm.PipelineSpec(),
            "doubled": obm.PipelineSpec(
                inputs="b, 4",
                preprocess=scale,
                postprocess=double,
                batch_options=obm.BatchOptions(
                    component=obm.BatchComponent.MODEL_FUNCTION, allowed_batch_sizes=(1, 8)
                ),
            ),
            "norm": obm.PipelineSpec(
                function=lambda x: jnp.linalg.norm(x, axis=1), inputs="b, 4", has_weights=False
            ),
        },
    )
    model = obm.load(tmp_path / "m")
    assert sorted(model.pipelines) == ["doubled", "norm", "raw", "serving_default"]
    assert sorted(packed.bundle.functions) == ["double", "norm", "scale", "serving_default"]
    expected = dense(PARAMS, X * 2)
    np.testing.assert_allclose(model(X), expected, rtol=1e-6)
    np.testing.assert_allclose(model.pipelines["raw"](X), dense(PARAMS, X), rtol=1e-6)
    np.testing.assert_allclose(model.pipelines["doubled"](X), expected * 2, rtol=1e-6)
    np.testing.assert_allclose(model.pipelines["norm"](X), np.linalg.norm(X, axis=1), rtol=1e-5)
    options = model.pipelines["doubled"].record.batch_options
    assert options is not None
    assert options.max_batch_size == 8


@pytest.mark.parametrize("weights_format", ["orbax", "safetensors"])
def test_weights_of_every_kind_of_node_meet_the_function_by_key_path(tmp_path, weights_format):
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Head:
        scale: np.ndarray
        shift: np.ndarray

    params = {
        "layers": {i: np.full(3, i, np.float32) for i in range(12)},
        "head": Head(scale=np.float32(3), shift=np.arange(3, dtype=np.float32)),
        "pair": (np.ones(3, np.float32), [np.zeros((0, 2), np.float32)]),
        "empty": {},
    }

    def apply(params, x):
        for i in range(12):
            x = x * 0.5 + params["layers"][i]
        return x * params["head"].scale + params["head"].shift + params["pair"][0]

    obm.pack(tmp_path / "m", apply, params, "b, 3", weights_format=weights_format)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(obm.load(tmp_path / "m")(x), apply(params, x), rtol=1e-6)


def test_an_existing_checkpoint_is_copied_into_the_bundle(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", jax.tree.map(jnp.asarray, PARAMS))
    obm.pack(tmp_path / "m", dense, tmp_path / "checkpoint", "b, 4")
    np.testing.assert_allclose(obm.load(tmp_path / "m")(X), dense(PARAMS, X), rtol=1e-6)


def test_weights_can_be_kept_on_the_host_and_cast(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", weights_format="safetensors")
    model = obm.load(tmp_path / "m", weights="host")
    assert isinstance(model.weights["kernel"], np.ndarray)
    np.testing.assert_array_equal(model.weights["kernel"], PARAMS["kernel"])


def test_recorded_examples_replay(tmp_path):
    obm.pack(
        tmp_path / "m", dense, PARAMS, "b, 4", preprocess=scale, examples=X, metadata={"name": "m"}
    )
    report = obm.verify(tmp_path / "m", replay=True)
    assert report.ok, report
    targets = " ".join(finding.where for finding in report.findings)
    for name in ("pipeline 'serving_default'", "function 'serving_default'", "function 'scale'"):
        assert name in targets


def test_a_replay_that_differs_is_an_error_with_its_figures(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", examples=X, weights_format="safetensors")
    assert obm.verify(tmp_path / "m", replay=True, tolerances={"float32": 0.0}).ok
    wrong = jax.tree.map(lambda a: a * 1.5, PARAMS)
    obm.pack(tmp_path / "w", dense, wrong, "b, 4", weights_format="safetensors")
    bundle = obm.read(tmp_path / "w")
    assert bundle.content_hash != obm.read(tmp_path / "m").content_hash


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        obm.pack(
            tmp_path / name,
            dense,
            PARAMS,
            "b, 4",
            postprocess=double,
            weights_format="safetensors",
            examples=X,
        )
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes(), path
    assert obm.read(tmp_path / "a").content_hash == obm.read(tmp_path / "b").content_hash


def test_an_existing_bundle_is_replaced_only_on_request(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4")
    with pytest.raises(BundleExistsError):
        obm.pack(tmp_path / "m", double, None, "b")
    obm.pack(tmp_path / "m", double, None, "b", overwrite=True)
    assert obm.load(tmp_path / "m")(np.ones(2, np.float32)).tolist() == [2, 2]


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("five years")
    with pytest.raises(BundleExistsError):
        obm.pack(tmp_path / "m", double, None, "b", overwrite=True)
    assert (tmp_path / "m" / "thesis.txt").read_text() == "five years"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            {"postprocess": lambda a, b: a}, ["b"], id="a post-processor that wants two inputs"
        ),
        pytest.param({"preprocess": "not a function"}, ["processor", "not a function"], id="text"),
        pytest.param({"inputs": None}, ["inputs", "'serving_default'"], id="no inputs"),
        pytest.param({"params": "no/such/folder"}, ["no/such/folder"], id="no checkpoint"),
    ],
)
def test_a_mistake_of_the_author_is_named_and_nothing_is_left(tmp_path, arguments, words):
    call = {"params": PARAMS, "inputs": "b, 4"} | arguments
    with pytest.raises((InvalidModelError, TypeError)) as caught:
        obm.pack(tmp_path / "m", dense, **call)
    for word in words:
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_name_the_path_and_both_sides(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4")
    with pytest.raises(SignatureMismatchError, match=r"float32 \[b, 4\].*float32 \[5, 3\]"):
        obm.load(tmp_path / "m")(X[:, :3])


def test_a_name_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", name="predict")
    model = obm.load(tmp_path / "m")
    with pytest.raises(UnknownNameError, match="did you mean 'predict'"):
        model.functions["predcit"]
    with pytest.raises(UnknownNameError, match="did you mean 'predict'"):
        model.pipelines["predcit"]


@pytest.mark.parametrize("weights_format", ["orbax", "safetensors"])
def test_a_packed_bundle_records_the_digest_of_every_file(tmp_path, weights_format):
    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", weights_format=weights_format)
    assert obm.verify(tmp_path / "m").ok
    weights = max((tmp_path / "m").glob("weights*"))
    large = weights if weights.is_file() else next(weights.glob("ocdbt.process_0/d/*"))
    with large.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert not obm.verify(tmp_path / "m").ok


def test_a_tensorflow_input_with_a_default_may_be_missing_from_a_pipeline(tmp_path):
    import tensorflow as tf

    vector, scalar = tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([], tf.float32)

    @tf.function(input_signature=[vector, scalar, tf.TensorSpec([3], tf.float32)])
    def scaled(y, scale=3.0, shift=(1.0, 2.0, 3.0)):
        return y * scale + shift

    obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", postprocess=scaled)
    assert obm.verify(tmp_path / "m").ok
    with obm.load(tmp_path / "m") as model:
        np.testing.assert_allclose(model(X), dense(PARAMS, X) * 3 + [1, 2, 3], rtol=1e-5)


def test_a_tensorflow_input_without_a_default_may_not(tmp_path):
    import tensorflow as tf

    vector, scalar = tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([], tf.float32)
    scaled = tf.function(lambda y, scale: y * scale, input_signature=[vector, scalar])
    with pytest.raises(InvalidModelError, match=r"input 'scale': expected float32 .*found nothing"):
        obm.pack(tmp_path / "m", dense, PARAMS, "b, 4", postprocess=scaled)
