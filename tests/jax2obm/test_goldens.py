"""Every StableHLO function that the original wrote, run by the direct engine."""

from __future__ import annotations

import json
import pathlib

import jax
import numpy as np
import pytest

from orbax_model_lite.core import read
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import PolymorphicFunction, ShloFunction
from orbax_model_lite.core.tree import flatten_with_path, leaves, unflatten
from orbax_model_lite.errors import InvalidBundleError, SignatureMismatchError
from orbax_model_lite.jax2obm import JaxEngine

pytestmark = pytest.mark.frameworks

CORPUS = pathlib.Path(__file__).parent.parent / "corpus"
# The writer lost the order of an OrderedDict; a reader can only notice, see below.
WRONG_ON_DISK = ("custom_nodes", "f_od")
TOLERANCE = {np.dtype(np.float16): 1e-2, np.dtype(np.float64): 1e-12, np.dtype(complex): 1e-12}


def variants(function):
    found = function.functions if isinstance(function, PolymorphicFunction) else (function,)
    return [variant for variant in found if isinstance(variant, ShloFunction)]


def recorded_calls():
    for note in sorted(CORPUS.glob("*/note.json")):
        bundle = read(note.parent / "model")
        for name, calls in json.loads(note.read_text())["calls"].items():
            if variants(bundle.objects.get(name)) and (note.parent.name, name) != WRONG_ON_DISK:
                for call in calls:
                    yield note.parent.name, name, call["label"]


def recorded(folder, name, label, side):
    with np.load(CORPUS / folder / "io.npz") as data:
        prefix = f"{name}|{label}|{side}|"
        count = sum(key.startswith(prefix) for key in data.files)
        return [data[f"{prefix}{i}"] for i in range(count)]


def decoded(array, spec):
    """Undoes how types that NumPy lacks were recorded: as raw integers, float0 as booleans."""
    wanted = spec.dtype.numpy
    if array.dtype == wanted:
        return array
    if spec.dtype is DType.FLOAT0:
        return np.zeros(array.shape, wanted)
    if spec.dtype in (DType.INT4, DType.UINT4):
        return array.view(np.int8 if spec.dtype is DType.INT4 else np.uint8).astype(wanted)
    return array.view(wanted)


def fits(signature, arrays):
    specs = signature.input_leaves
    return len(specs) == len(arrays) and all(
        len(spec.shape) == array.ndim
        and all(
            not isinstance(d, int) or d == n for d, n in zip(spec.shape, array.shape, strict=True)
        )
        for spec, array in zip(specs, arrays, strict=True)
    )


CALLS = list(recorded_calls())


def test_there_are_calls_of_every_bundle_with_stablehlo_functions():
    assert len(CALLS) > 50
    assert len({folder for folder, _, _ in CALLS}) > 15


@pytest.mark.parametrize(("folder", "name", "label"), CALLS, ids="-".join)
def test_recorded_inputs_give_recorded_outputs(folder, name, label):
    bundle = read(CORPUS / folder / "model")
    given = recorded(folder, name, label, "in")
    function = next(v for v in variants(bundle.objects[name]) if fits(v.signature, given))
    arrays = map(decoded, given, function.signature.input_leaves)
    args, kwargs = unflatten(function.signature.inputs, arrays)
    found = JaxEngine(bundle).bind(function, name=name)(*args, **kwargs)
    expected = recorded(folder, name, label, "out")
    outputs = flatten_with_path(function.signature.outputs)
    assert len(leaves(found)) == len(expected) == len(outputs)
    for leaf, array, (path, spec) in zip(leaves(found), expected, outputs, strict=True):
        made, want = np.asarray(leaf), decoded(array, spec)
        assert made.dtype == want.dtype
        assert made.shape == want.shape
        if spec.dtype is not DType.FLOAT0:
            tolerance = TOLERANCE.get(want.dtype, 1e-5)
            as_complex = made.astype(complex), want.astype(complex)
            np.testing.assert_allclose(*as_complex, rtol=tolerance, err_msg=str(path))


def test_the_sharded_function_runs_on_four_devices():
    bundle = read(CORPUS / "sharded4__feb26" / "model")
    function = bundle.objects["f"]
    given = recorded("sharded4__feb26", "f", "c0", "in")
    args, _ = unflatten(function.signature.inputs, given)
    found = JaxEngine(bundle).bind(function)(*args)
    assert len(found[0].sharding.device_set) == 4
    assert found[0].sharding.shard_shape(found[0].shape) == (2, 4)


def test_the_function_whose_order_was_lost_is_not_run_with_wrong_arguments():
    bundle = read(CORPUS / WRONG_ON_DISK[0] / "model")
    call = JaxEngine(bundle).bind(bundle.objects[WRONG_ON_DISK[1]])
    b, a = recorded(*WRONG_ON_DISK, "c0", "in")
    with pytest.raises(InvalidBundleError, match="order of its arguments was lost"):
        call({"a": a, "b": b})
    with pytest.raises(SignatureMismatchError, match=r"input '0\.a': expected float32 \[3\]"):
        call({"a": b, "b": a})


def test_a_stored_derivative_of_the_original_is_a_function_like_any_other():
    bundle = read(CORPUS / "float0_vjp" / "model")
    vjp = JaxEngine(bundle).bind(bundle.objects["f_vjp"])
    x, i, *_ = recorded("float0_vjp", "f_vjp", "c0", "in")
    by_x, by_i = vjp(x, i, np.ones(3, np.float32), np.zeros(3, jax.dtypes.float0))
    assert (by_x.dtype, by_i.dtype) == (np.float32, jax.dtypes.float0)
