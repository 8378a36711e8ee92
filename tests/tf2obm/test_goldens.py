"""TensorFlow functions of bundles that the original wrote give what was recorded."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from orbax_model_lite import core, tf2obm
from orbax_model_lite.core.function import OpaqueFunction
from orbax_model_lite.core.tree import leaves, unflatten

pytestmark = pytest.mark.frameworks

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"


def recorded_calls():
    for name in ("tf_pre_post", "tf_signatures"):
        calls = json.loads((CORPUS / name / "note.json").read_text())["calls"]
        for function, labels in calls.items():
            if isinstance(
                core.read(CORPUS / name / "model").functions.get(function), OpaqueFunction
            ):
                yield from (pytest.param(name, function, call["label"]) for call in labels)


def stored(name, function, label, side, specs):
    with np.load(CORPUS / name / "io.npz") as io:
        arrays = [io[f"{function}|{label}|{side}|{i}"] for i in range(len(specs))]
    return [
        array if array.dtype.kind == "S" else array.view(spec.dtype.numpy)
        for array, spec in zip(arrays, specs, strict=True)
    ]


@pytest.mark.parametrize(("name", "function", "label"), list(recorded_calls()))
def test_recorded_inputs_give_recorded_outputs(name, function, label):
    bundle = core.read(CORPUS / name / "model")
    found = bundle.functions[function]
    inputs = stored(name, function, label, "in", found.signature.input_leaves)
    expected = stored(name, function, label, "out", found.signature.output_leaves)
    args, kwargs = unflatten(found.signature.inputs, inputs)
    outputs = leaves(tf2obm.TfEngine(bundle).bind(found, name=function)(*args, **kwargs))
    for have, want in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(have, want.astype(object) if want.dtype.kind == "S" else want)
        assert have.dtype == (object if want.dtype.kind == "S" else want.dtype)


def test_a_default_value_that_the_original_recorded_may_be_left_out():
    bundle = core.read(CORPUS / "tf_signatures" / "model")
    fn = tf2obm.TfEngine(bundle).bind(bundle.functions["with_default"], name="with_default")
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(fn(x)["y"], 3 * x)
    np.testing.assert_array_equal(fn(x, np.float32(2))["y"], 2 * x)


@pytest.mark.parametrize("name", ["tf_pre_post", "tf_signatures", "oex_pipelines_pr2844"])
def test_the_originals_saved_models_need_no_grant(name):
    bundle = core.read(CORPUS / name / "model")
    assert tf2obm.refusals(bundle, "tf_saved_model/") == ()
