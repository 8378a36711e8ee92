"""What `convert` keeps of shardings: in the signature, in the module, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from orbax_model_lite.core import layout
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees

pytestmark = pytest.mark.frameworks

P = PartitionSpec
CPU = ["cpu"]
MESH = AbstractMesh((2, 2), ("x", "y"))


class Params(NamedTuple):
    w: Any
    b: Any


def trees_of(function) -> JaxTrees:
    return JaxTrees.from_payload(function.supplementals[layout.KEY_JAX_TREES].data.content, "f")


def placed(shape, *spec, mesh=MESH):
    return jax.ShapeDtypeStruct(shape, np.float32, sharding=NamedSharding(mesh, P(*spec)))


def test_shardings_of_specs_are_in_the_signature_and_their_names_in_the_record():
    function = convert(
        lambda w, x, free: x @ w + free,
        (placed((4, 8), "x", "y"), placed((4, 4), "x", None), "8"),
        platforms=CPU,
    )
    assert function.jax.device_count == 4
    assert [leaf.sharding for leaf in function.signature.input_leaves] == [
        b"\x08\x03\x1a\x02\x02\x02J\x01\x04R\x01\x00",
        b"\x08\x03\x1a\x03\x02\x01\x020\x01J\x01\x04R\x01\x00",
        None,
    ]
    record = trees_of(function)
    assert [(axis.name, axis.size) for axis in record.axes] == [("x", 2), ("y", 2)]
    assert {i: p.spec for i, p in record.inputs.items()} == {0: P("x", "y"), 1: P("x", None)}


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain tree", "named tuple"])
def test_shardings_given_to_jit_are_kept(is_plain):
    split, whole = NamedSharding(MESH, P("x", "y")), NamedSharding(MESH, P())
    wrap = dict if is_plain else lambda **kw: Params(kw["w"], kw["b"])
    jitted = jax.jit(
        lambda params, x: (x @ params["w"] if is_plain else x @ params.w, x.sum()),
        in_shardings=(wrap(w=split, b=NamedSharding(MESH, P("y"))), None),
        out_shardings=(split, whole),
    )
    function = convert(jitted, (wrap(w="4, 8", b="8"), "4, 4"), platforms=CPU)
    record = trees_of(function)
    at_w = 1 if is_plain else 0
    assert record.inputs[at_w].spec == P("x", "y")
    assert {i: p.spec for i, p in record.outputs.items()} == {0: P("x", "y"), 1: P()}
    assert [leaf.sharding for leaf in function.signature.output_leaves] == [
        b"\x08\x03\x1a\x02\x02\x02J\x01\x04R\x01\x00",
        b"",
    ]


def test_the_signature_of_a_sharded_function_has_the_bytes_of_the_original(corpus_function):
    original = corpus_function("sharded4__feb26", "f")
    function = convert(
        lambda params, x, y: (x @ params["w"] + params["b"], y * 2, x.sum()),
        (
            {"w": placed((4, 8), "x", "y"), "b": placed((8,), "y")},
            placed((4, 4), "x", None),
            "2",
        ),
        platforms=CPU,
    )
    assert function.signature.inputs == original.signature.inputs


def test_an_array_on_several_devices_brings_its_sharding_along():
    devices = np.array(jax.devices()[:4]).reshape(2, 2)
    sharding = NamedSharding(jax.sharding.Mesh(devices, ("x", "y")), P("x"))
    array = jax.device_put(np.zeros((4, 2), np.float32), sharding)
    function = convert(lambda x: x * 2, (array,), platforms=CPU)
    assert function.jax.device_count == 4
    assert trees_of(function).inputs[0].spec == P("x")
