"""Bundles of real models compared, as `pack` writes them; checkpoints and SafeTensors alike."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.inspection import diff

pytestmark = pytest.mark.frameworks


def apply_fn(params, x):
    return {"logits": jnp.tanh(x @ params["kernel"]) + params["bias"]}


def weights(width: int = 3, scale: float = 1.0):
    kernel = np.arange(4 * width, dtype=np.float32).reshape(4, width) / 10 + 0.1
    return {"kernel": kernel * np.float32(scale), "bias": np.ones(width, np.float32)}


@pytest.fixture
def pack(tmp_path):
    """Returns `pack(**changes)`: the path of a bundle of the model above."""
    count = iter(range(100))

    def packed(function=apply_fn, params=None, inputs="b, 4", **options):
        path = tmp_path / f"m{next(count)}.obm"
        defaults = {"platforms": ["cpu"], "weights_format": "safetensors"}
        obm.pack(
            path, function, weights() if params is None else params, inputs, **defaults | options
        )
        return path

    return packed


@pytest.mark.parametrize("weights_format", ["orbax", "safetensors"])
def test_the_same_model_packed_twice_has_no_difference(weights_format, pack):
    one, other = (pack(weights_format=weights_format) for _ in range(2))
    assert diff(one, other).is_empty


def test_weights_are_compared_across_formats(pack):
    found = diff(
        pack(weights_format="orbax"), pack(params=weights(scale=1.01), weights_format="safetensors")
    )
    (array,) = found.weights[0].arrays
    assert array.name == "kernel"
    assert array.relative_norm == pytest.approx(0.01, rel=1e-4)
    assert found.weights[0].unchanged_count == 1
    assert not found.breaking


def test_an_open_batch_breaks_nobody_and_a_fixed_one_does(pack):
    fixed, open_batch = pack(inputs="8, 4"), pack(inputs="n, 4")
    assert not diff(fixed, open_batch).breaking
    assert diff(open_batch, fixed).breaking


def test_the_name_of_the_batch_does_not_matter(pack):
    found = diff(pack(inputs="b, 4"), pack(inputs="batch, 4"))
    assert not [change for change in found.changes if change.section == "signatures"]


def test_a_constraint_on_the_batch_breaks_callers(pack):
    (change,) = diff(pack(), pack(constraints=["b >= 2"])).breaking
    assert change.after == "b >= 2"


def test_another_width_breaks_callers(pack):
    found = diff(pack(), pack(params=weights(width=5)))
    places = {change.where for change in found.breaking}
    function = "function 'serving_default'"
    assert places == {
        f"{function}, input 'params.bias'",
        f"{function}, input 'params.kernel'",
        f"{function}, output 'logits'",
    }


def test_one_more_output_and_other_operations_break_nobody(pack):
    def more(params, x):
        logits = apply_fn(params, x)["logits"]
        return {"logits": logits, "best": jnp.argmax(logits, -1)}

    found = diff(pack(), pack(more))
    assert not found.breaking
    assert any(change.where.endswith("output 'best'") for change in found.changes)
    assert any(count.name == "stablehlo.reduce" for count in found.operations)


def test_a_renamed_argument_breaks_those_who_give_it_by_name(pack):
    def renamed(params, features):
        return apply_fn(params, features)

    (change,) = diff(pack(), pack(renamed)).breaking
    assert (change.kind, change.before, change.after) == ("renamed", "x", "features")


def test_specializations_break_nobody(pack):
    found = diff(pack(), pack(specializations=[{"b": 1}, {"b": 8}]))
    assert not found.breaking
    assert not found.is_empty


def test_a_lost_platform_breaks_callers(pack):
    (change,) = diff(pack(platforms=["cpu", "cuda"]), pack()).breaking
    assert (change.section, change.before) == ("platforms", "cuda")


def test_a_typed_key_among_the_inputs_is_compared(pack):
    def noisy(params, key, x):
        return apply_fn(params, x)["logits"] + jax.random.normal(key, (3,))

    one = pack(noisy, inputs=("key<fry>[]", "b, 4"))
    other = pack(noisy, inputs=("key<rbg>[]", "b, 4"))
    assert diff(one, one).is_empty
    assert [change.reason for change in diff(one, other).breaking] == ["another type"]


def test_a_fresh_process_imports_no_framework_to_compare_safetensors(pack, fresh_python):
    code = """
        import json, sys
        from orbax_model_lite.cli import main
        code = main(["diff", *sys.argv[1:], "--quiet", "--fail-on", "any"])
        print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
    """
    one, other = pack(), pack(params=weights(scale=2))
    code, modules = json.loads(fresh_python(code, one, other))
    assert code == 1
    unwanted = {"jax", "jaxlib", "tensorflow", "orbax", "flax", "tensorstore", "safetensors"}
    assert not unwanted & set(modules)


def test_a_checkpoint_is_compared_without_jax_and_orbax(pack, fresh_python):
    code = """
        import json, sys
        from orbax_model_lite.inspection import diff
        (weights,) = diff(*sys.argv[1:]).weights
        frameworks = {"jax", "jaxlib", "orbax", "tensorflow"} & set(sys.modules)
        print(json.dumps([[a.name for a in weights.arrays], sorted(frameworks)]))
    """
    one, other = (pack(params=weights(scale=s), weights_format="orbax") for s in (1, 2))
    assert json.loads(fresh_python(code, one, other)) == [["kernel"], []]


def test_without_tensorstore_a_checkpoint_is_not_compared_and_the_rest_is(pack, fresh_python):
    code = """
        import json, sys
        sys.modules["tensorstore"] = None
        from orbax_model_lite.inspection import diff
        found = diff(*sys.argv[1:])
        print(json.dumps([found.weights[0].problem, found.is_inconclusive, len(found.breaking)]))
    """
    one = pack(weights_format="orbax")
    other = pack(params=weights(width=5), weights_format="orbax")
    problem, is_inconclusive, breaking = json.loads(fresh_python(code, one, other))
    assert "orbax-model-lite[jax]" in problem
    assert is_inconclusive
    assert breaking == 3


def test_tensorflow_processors_are_compared(pack):
    import tensorflow as tf

    def processor(factor: float):
        return tf.function(
            lambda raw: {"x": tf.io.decode_raw(raw, tf.float32) * factor},
            input_signature=[tf.TensorSpec([None], tf.string, name="raw")],
        )

    def shaped(factor: float):
        inner = processor(factor)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="raw")])
        def before(raw):
            return {"x": tf.reshape(inner(raw)["x"], [-1, 4])}

        return before

    one, same, other = (pack(preprocess=shaped(f), inputs=None) for f in (1.0, 1.0, 2.0))
    assert not diff(one, same).breaking
    found = diff(one, other)
    assert not found.breaking
    assert any(change.where == "SavedModel, file 'saved_model.pb'" for change in found.changes)
