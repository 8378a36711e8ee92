"""Records beside a program that are damaged or contradict it: errors of ours, and findings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, ObmError

pytestmark = pytest.mark.frameworks

KEYS = [layout.KEY_JAX_INFO, layout.KEY_JAX_TREES, layout.KEY_MODULE_FACTS]


@pytest.fixture
def bundle(tmp_path):
    """Returns a bundle of two JAX functions in a row, without digests."""
    obm.pack(
        tmp_path / "m", lambda x: x + 1, None, "b, 2", preprocess=lambda x: 2 * x, platforms=["cpu"]
    )
    (tmp_path / "m" / layout.INTEGRITY_FILE).unlink()
    return tmp_path / "m"


def run(bundle):
    with obm.load(bundle) as model:
        return model(np.ones((3, 2), np.float32))


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x0a\xff", bytes(50)], ids=repr)
@pytest.mark.parametrize("key", KEYS)
def test_a_damaged_record_of_a_function_is_an_error_of_ours_or_none(bundle, key, content):
    name = layout.supplemental_file("serving_default", key, layout.PROTO_EXTENSION)
    assert (bundle / name).is_file()
    (bundle / name).write_bytes(content)
    assert not obm.verify(bundle).ok
    try:
        run(bundle)
    except ObmError:
        return


def test_names_of_inputs_that_do_not_parse_are_a_finding(bundle):
    key = layout.KEY_JAX_TREES
    name = layout.supplemental_file("serving_default", key, layout.PROTO_EXTENSION)
    (bundle / name).write_bytes(b"\xff")
    report = obm.verify(bundle)
    assert report.has_errors
    with pytest.raises(InvalidBundleError, match="JaxTrees"):
        run(bundle)


def test_an_output_dimension_that_no_input_has_is_refused(tmp_path):
    from orbax_model_lite import jax2obm

    function = jax2obm.convert(lambda x: x, ("b, 2",), platforms=["cpu"])
    (output,) = function.signature.output_leaves
    signature = core.Signature(
        inputs=function.signature.inputs,
        outputs=dataclasses.replace(output, shape=("c", 2)),
    )
    core.save({"f": dataclasses.replace(function, signature=signature)}, tmp_path / "m")
    with obm.load(tmp_path / "m") as model, pytest.raises(InvalidBundleError, match="no input has"):
        model.functions["f"](np.ones((3, 2), np.float32))
