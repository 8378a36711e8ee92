"""Signatures as lines: containers, leaves, names of arguments, shardings."""

from __future__ import annotations

from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite._proto import sharding_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.inspection import describe, signature_lines
from orbax_model_lite.inspection.signatures import plain_signature_lines

CORPUS = Path(__file__).parent.parent / "corpus"
ROW = core.Spec(shape=("b", 4), dtype=core.DType.FLOAT32)


def function(signature: core.Signature) -> core.ShloFunction:
    return core.ShloFunction(
        signature=signature,
        module=core.Data(content=b"x", mime_type=layout.MIME_STABLEHLO),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(),
    )


def test_a_tree_has_a_line_for_each_container_and_leaf():
    signature = core.Signature.of_call(({"w": [ROW, None]},), {"flag": ROW}, (ROW,))
    inputs, outputs = signature_lines(function(signature), lambda data: b"")
    assert [(line.depth, line.key, line.kind) for line in inputs] == [
        (0, "0", "dict"),
        (1, "w", "list"),
        (2, "0", "array"),
        (2, "1", "None"),
        (0, "flag=", "array"),
    ]
    assert [(line.depth, line.key, line.kind) for line in outputs] == [
        (0, "", "tuple"),
        (1, "0", "array"),
    ]


def test_a_leaf_shows_type_and_symbolic_sizes():
    inputs, _ = signature_lines(function(core.Signature.of_call((ROW,), {}, ROW)), lambda data: b"")
    assert (inputs[0].dtype, inputs[0].shape) == ("float32", "[b, 4]")


def test_recorded_shardings_stand_beside_their_leaf():
    bundle = core.read(CORPUS / "sharded4__feb26/model")
    found = bundle.functions["f"]
    assert isinstance(found, core.ShloFunction)
    inputs, _ = signature_lines(found, bundle.read_bytes)
    assert {line.key: line.sharding for line in inputs}["w"] == "tiles [2, 2]"


def test_arguments_have_the_names_that_the_original_recorded():
    bundle = core.read(CORPUS / "tf_pre_post/model")
    found = bundle.functions["pre"]
    assert isinstance(found, core.OpaqueFunction)
    inputs, _ = signature_lines(found, bundle.read_bytes)
    assert [line.key for line in inputs] == ["0 tokens", "1 extra"]


@pytest.mark.parametrize(("leaves", "shown"), [(6, "float32 [b, 4]"), (7, "{7 arrays}")])
def test_a_large_argument_is_counted(leaves, shown, tmp_path):
    weights = {f"layer_{i}": ROW for i in range(leaves)}
    made = function(core.Signature.of_call((weights,), {}, ROW))
    core.save({"f": made}, tmp_path / "m.obm")
    (found,) = describe(tmp_path / "m.obm").functions
    assert shown in found.signature.partition(" -> ")[0]


def test_a_kind_of_sharding_that_nobody_knows_has_a_line_all_the_same():
    unknown = sharding_pb2.OpSharding.FromString(b"\x08\x4d").SerializeToString()
    spec = core.Spec(shape=(2,), dtype=core.DType.FLOAT32, sharding=unknown)
    inputs, _ = plain_signature_lines(core.Signature.of_call((spec,), {}, ROW))
    assert inputs[0].sharding == "kind 77"
