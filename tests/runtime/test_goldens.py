"""Every function and pipeline of bundles that the original wrote, run through `load`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.core.function import Function
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path, leaves, unflatten

pytestmark = pytest.mark.frameworks

CORPUS = Path(__file__).parent.parent / "corpus"
# The writer lost the order of this function's inputs; FORMAT: an OrderedDict became a dict.
WRONG_ON_DISK = {("custom_nodes", "f_od")}


def recorded_calls():
    for folder in sorted(CORPUS.iterdir()):
        if not (folder / "note.json").exists():
            continue
        for target, calls in json.loads((folder / "note.json").read_text())["calls"].items():
            for call in calls:
                if (folder.name, target) not in WRONG_ON_DISK:
                    name = f"{folder.name}-{target}-{call['label']}"
                    yield pytest.param(folder.name, target, call["label"], id=name)


def stored(name: str, target: str, label: str, side: str) -> list[np.ndarray]:
    with np.load(CORPUS / name / "io.npz") as data:
        keys = sorted(
            (key for key in data.files if key.startswith(f"{target}|{label}|{side}|")),
            key=lambda key: int(key.rpartition("|")[2]),
        )
        return [data[key] for key in keys]


def as_typed(array: np.ndarray, spec: Spec) -> np.ndarray:
    """Undoes the encoding of the recorded arrays: raw integers for types NumPy lacks."""
    wanted = spec.dtype.numpy
    if array.dtype.kind == "S":
        return array.astype(object)
    if array.dtype == wanted:
        return array
    if spec.dtype.value in ("int4", "uint4"):
        return array.view(np.int8 if spec.dtype.value == "int4" else np.uint8).astype(wanted)
    if spec.dtype.value == "float0":
        return np.zeros(array.shape, wanted)
    return array.view(wanted)


@pytest.mark.parametrize(("name", "target", "label"), list(recorded_calls()))
def test_recorded_inputs_give_recorded_outputs(name, target, label):
    inputs, outputs = stored(name, target, label, "in"), stored(name, target, label, "out")
    with obm.load(CORPUS / name / "model") as model:
        is_pipeline = target == "PIPELINE" or target.startswith("PIPELINE:")
        if is_pipeline:
            pipeline = target.partition(":")[2] or model.orchestration.default_name
            function = model.pipelines[pipeline]
            stages = function.record.stages
            first = model.bundle.functions[stages[0].function].signature
            offset = len(leaves(first.args[0])) if stages[0].weights else 0
            specs = first.input_leaves[offset:]
            args = tuple(as_typed(a, s) for a, s in zip(inputs, specs, strict=True))
            found = function(*args)
            signature = model.bundle.functions[stages[-1].function].signature
        else:
            described = model.bundle.objects[target]
            assert isinstance(described, Function)
            function = model.functions[target]
            signature = chosen(described, inputs)
            typed = [as_typed(a, s) for a, s in zip(inputs, signature.input_leaves, strict=True)]
            args, kwargs = unflatten((signature.args, signature.kwargs), typed)
            found = function(*args, **kwargs)
    compare(found, outputs, signature)


def chosen(described, inputs):
    """Returns the signature that the recorded inputs are for."""
    if hasattr(described, "signature"):
        return described.signature
    for variant in described.functions:
        specs = variant.signature.input_leaves
        if [s.shape for s in specs] == [a.shape for a in inputs] and all(
            s.dtype.numpy == a.dtype for s, a in zip(specs, inputs, strict=True)
        ):
            return variant.signature
    raise AssertionError("no variant takes the recorded inputs")


def compare(found, outputs, signature):
    flat = flatten_with_path(found)
    specs = signature.output_leaves
    assert len(flat) == len(outputs) == len(specs)
    for (_, leaf), raw, spec in zip(flat, outputs, specs, strict=True):
        expected, array = as_typed(raw, spec), np.asarray(leaf)
        assert array.shape == expected.shape
        assert array.dtype == expected.dtype
        if spec.dtype.value in ("float32", "float64", "float16", "bfloat16"):
            tolerance = {"float64": 1e-12, "float32": 1e-5}.get(spec.dtype.value, 1e-2)
            wide = array.astype(np.float64), expected.astype(np.float64)
            np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(array, expected)
