"""Estimates of stored functions: sizes that are chosen, and bytes that XLA counts."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from orbax_model_lite import core, jax2obm
from orbax_model_lite.errors import InvalidModelError, SignatureMismatchError, UnsupportedError
from orbax_model_lite.jax2obm.estimating import estimate, jax_facts, smallest_sizes

pytestmark = pytest.mark.frameworks


def saved(folder: Path, function: core.ShloFunction) -> tuple[core.Bundle, core.ShloFunction]:
    core.save({"f": function}, folder / "m.obm")
    bundle = core.read(folder / "m.obm")
    found = bundle.functions["f"]
    assert isinstance(found, core.ShloFunction)
    return bundle, found


def symbolic(*shorthands: str, constraints: tuple[str, ...] = ()) -> core.ShloFunction:
    return jax2obm.convert(
        lambda *xs: [x + 1 for x in xs], shorthands, platforms=["cpu"], constraints=constraints
    )


@pytest.mark.parametrize(
    ("shorthands", "constraints", "sizes"),
    [
        (("b",), (), {"b": 1}),
        (("b, t",), ("t >= 5",), {"b": 1, "t": 5}),
        (("b",), ("mod(b, 8) == 0", "b >= 9"), {"b": 16}),
        (("b, t",), ("b >= t", "t >= 3"), {"b": 3, "t": 3}),
        (("2*b, t",), ("t >= 2*b",), {"b": 1, "t": 2}),
        (("b, b - 3",), (), {"b": 3}),
    ],
)
def test_sizes_are_the_smallest_that_the_constraints_allow(shorthands, constraints, sizes):
    function = symbolic(*shorthands, constraints=constraints)
    assert smallest_sizes(function, {}, constraints, "f") == sizes


def test_given_sizes_bind_the_others():
    function = symbolic("b, t")
    assert smallest_sizes(function, {"b": 7}, ["t >= b"], "f") == {"b": 7, "t": 7}


def test_given_sizes_that_break_a_constraint_are_the_callers_mistake():
    with pytest.raises(SignatureMismatchError, match="found b=7; choose other sizes"):
        smallest_sizes(symbolic("b"), {"b": 7}, ["mod(b, 4) == 0"], "f")


def test_sizes_beyond_reach_are_asked_for():
    with pytest.raises(InvalidModelError, match="give sizes for b"):
        smallest_sizes(symbolic("b"), {}, ["b >= 5000"], "f")


def test_bytes_are_those_of_the_arrays(tmp_path):
    params = {"w": jax.ShapeDtypeStruct((4, 3), np.float32)}
    function = jax2obm.convert(lambda p, x: x @ p["w"], (params, "b, 4"), platforms=["cpu"])
    found = estimate(*saved(tmp_path, function), {"b": 10}, name="f")
    assert (found.weights_bytes, found.argument_bytes, found.output_bytes) == (48, 208, 120)
    assert found.device_count == 1
    assert found.code_bytes > 100


def test_arrays_beyond_any_memory_are_compiled_for_and_never_made(tmp_path):
    struct = jax.ShapeDtypeStruct((10**6, 10**6), np.float32)
    function = jax2obm.convert(lambda w: w[0, :3], (struct,), platforms=["cpu"])
    assert estimate(*saved(tmp_path, function), {}, name="f").weights_bytes == 4 * 10**12


def test_64_bit_types_keep_their_size(tmp_path):
    with jax.enable_x64(True):
        struct = jax.ShapeDtypeStruct((5,), np.float64)
        function = jax2obm.convert(lambda x: x * 2, (struct,), platforms=["cpu"])
    assert estimate(*saved(tmp_path, function), {}, name="f").argument_bytes == 40


def test_typed_keys_are_arguments_like_others(tmp_path):
    function = jax2obm.convert(
        lambda key: jax.random.uniform(key, (3,)), ("key<fry>[]",), platforms=["cpu"]
    )
    assert estimate(*saved(tmp_path, function), {}, name="f").argument_bytes == 8


def test_bytes_of_a_split_function_are_of_one_device(tmp_path):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
    struct = jax.ShapeDtypeStruct((8, 3), np.float32, sharding=NamedSharding(mesh, P("x")))
    function = jax2obm.convert(lambda w: w * 2, (struct,), platforms=["cpu"])
    found = estimate(*saved(tmp_path, function), {}, name="f")
    assert (found.device_count, found.weights_bytes) == (4, 24)


def test_a_target_that_is_not_registered_is_named(tmp_path):
    def apply(x):
        return jax.ffi.ffi_call("nobody_has_it", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    function = jax2obm.convert(
        apply, ("4",), platforms=["cpu"], disabled_checks=["custom_call:nobody_has_it"]
    )
    with pytest.raises(UnsupportedError, match="nobody_has_it"):
        estimate(*saved(tmp_path, function), {}, name="f")


def test_the_facts_of_jax_are_those_of_this_process():
    found = jax_facts()
    assert found.version == jax.__version__
    assert found.platform == "cpu"
    assert len(found.devices) == jax.device_count()
