"""Which weights a loaded model reads, and in which form it hands them out."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core, jax2obm
from orbax_model_lite import orchestration as oex
from orbax_model_lite.core import layout
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.jax2obm.weights import loading

pytestmark = pytest.mark.frameworks

TREE = {
    "encoder": {"kernel": np.arange(4, dtype=np.float32)},
    "shared": [np.float32(2), np.float32(3)],
    "decoder": {"kernel": np.full(4, 5, np.float32)},
}
X = np.ones(4, np.float32)


def encode(w, x):
    return x * w["encoder"]["kernel"] * w["shared"][0] + w["shared"][1]


def decode(w, x):
    return x + w["decoder"]["kernel"] * w["shared"][0] + w["shared"][1]


def part(*keys):
    return {key: TREE[key] for key in keys}


def saved(path, kind, parts, data_names):
    """Writes a bundle of functions that take parts of one tree of weights."""
    path.mkdir()
    place = {"orbax": layout.WEIGHTS_FOLDER, "safetensors": layout.SAFETENSORS_FILE}[kind]
    mime = {"orbax": layout.MIME_ORBAX_CHECKPOINT, "safetensors": layout.MIME_SAFETENSORS}[kind]
    jax2obm.save_weights(path / place, TREE, format=kind)
    objects: dict = {"w": core.convert_path_to_value(place, mime)}
    pipelines = {}
    for name, (function, weights) in parts.items():
        objects[name] = jax2obm.convert(
            function, (weights, "4"), platforms=["cpu"], data_names=data_names.get(name, ())
        )
        stage = oex.Stage(function=name, role=oex.Role.MODEL, weights="w")
        pipelines[name] = oex.Pipeline(stages=(stage,))
    record = core.GlobalSupplemental(
        oex.to_data(oex.Orchestration(pipelines=pipelines)), layout.ORCHESTRATION_FILE
    )
    options = core.SaveOptions(version=2, supplemental_info={layout.KEY_ORCHESTRATION: record})
    core.save(objects, path, options)
    return path


PARTS = {
    "encode": (encode, part("encoder", "shared")),
    "decode": (decode, part("decoder", "shared")),
}
NAMES = {
    "encode": ["encoder.kernel", "shared.0", "shared.1"],
    "decode": ["decoder.kernel", "shared.0", "shared.1"],
}


@pytest.fixture
def reads(monkeypatch):
    """Returns the choices of arrays that were read from files, None for all."""
    found = []
    original = loading.load_weights

    def recorded(*args, names=None, **kwargs):
        found.append(names)
        return original(*args, names=names, **kwargs)

    monkeypatch.setattr(loading, "load_weights", recorded)
    return found


@pytest.mark.parametrize("kind", ["orbax", "safetensors"])
def test_functions_that_name_their_data_have_only_that_read_and_each_array_once(
    tmp_path, kind, reads
):
    path = saved(tmp_path / "m", kind, PARTS, NAMES)
    with obm.load(path) as model:
        np.testing.assert_allclose(model.pipelines["encode"](X), encode(TREE, X))
        assert reads == [["encoder.kernel", "shared.0", "shared.1"]]
        np.testing.assert_allclose(model.pipelines["decode"](X), decode(TREE, X))
        assert reads[1:] == [["decoder.kernel"]]
        jax.tree.map(np.testing.assert_array_equal, model.value("w"), TREE)


def test_weights_on_the_host_are_read_in_part_too(tmp_path, reads):
    path = saved(tmp_path / "m", "orbax", {"encode": PARTS["encode"]}, NAMES)
    with obm.load(path, weights="host") as model:
        assert list(model.pipelines["encode"](X)) == list(encode(TREE, X))
        assert sorted(model.weights) == ["encoder", "shared"]
    assert reads == [NAMES["encode"]]


def test_a_function_that_names_no_data_takes_all_of_it(tmp_path):
    path = saved(tmp_path / "m", "safetensors", {"encode": PARTS["encode"]}, {})
    with obm.load(path) as model, pytest.raises(SignatureMismatchError, match="left over: decoder"):
        model.pipelines["encode"](X)


def test_everything_that_is_missing_is_named_for_a_function_that_names_its_data(tmp_path):
    weights = TREE | {"more": np.float32(1), "most": np.float32(1)}
    parts = {"encode": (encode, weights)}
    path = saved(tmp_path / "m", "safetensors", parts, {"encode": ["encoder.kernel"]})
    with (
        obm.load(path) as model,
        pytest.raises(SignatureMismatchError, match="missing: more, most"),
    ):
        model.pipelines["encode"](X)


def test_weights_are_cast_on_the_way_in_for_a_function_of_another_precision(tmp_path):
    halves = jax.tree.map(lambda a: a.astype(jax.numpy.bfloat16), PARTS["encode"][1])
    path = saved(tmp_path / "m", "orbax", {"encode": (encode, halves)}, NAMES)
    with obm.load(path) as model, pytest.raises(SignatureMismatchError, match="not bfloat16"):
        model.pipelines["encode"](X)
    with obm.load(path, dtype="bfloat16") as model:
        np.testing.assert_allclose(model.pipelines["encode"](X), encode(TREE, X))
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(model.weights)} == {"bfloat16"}
