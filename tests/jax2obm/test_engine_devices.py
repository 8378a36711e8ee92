"""Stored functions on several devices, or on one that is named."""

from __future__ import annotations

import dataclasses

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from orbax_model_lite.errors import (
    SignatureMismatchError,
)
from orbax_model_lite.jax2obm import convert

pytestmark = pytest.mark.frameworks

P = PartitionSpec
W = np.arange(12, dtype=np.float32).reshape(3, 4) / 10


def mesh_of(count, *names, shape=None):
    return Mesh(np.array(jax.devices()[:count]).reshape(shape or (count,)), names)


@pytest.fixture(scope="module")
def sharded():
    """Returns a function for a mesh of 2x2, and what it gives for its inputs."""
    mesh = mesh_of(4, "x", "y", shape=(2, 2))

    def place(shape, *spec):
        sharding = NamedSharding(mesh, P(*spec))
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)

    def function(w, x, free):
        y = jax.lax.with_sharding_constraint(x @ w, NamedSharding(mesh, P(None, "y")))
        return y + free, x.sum()

    given = (W @ W.T, np.ones((4, 3), np.float32), np.float32([1, 2, 3]))
    specs = (place((3, 3)), place((4, 3), "x"), jax.ShapeDtypeStruct((3,), np.float32))
    return convert(function, specs, platforms=["cpu"]), given, (given[1] @ given[0] + given[2], 12)


def test_numpy_inputs_are_put_on_the_mesh(bound, sharded):
    function, given, expected = sharded
    found = bound(function)(*given)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    assert found[1] == expected[1]
    assert len(found[0].sharding.device_set) == 4


def test_inputs_that_are_on_the_mesh_already_stay_there(bound, sharded):
    function, given, expected = sharded
    on = NamedSharding(mesh_of(4, "x", "y", shape=(2, 2)), P())
    np.testing.assert_allclose(
        bound(function)(*jax.device_put(given, on))[0], expected[0], rtol=1e-5
    )


def test_inputs_on_one_device_are_moved(bound, sharded):
    function, given, expected = sharded
    there = jax.device_put(given, jax.devices()[0])
    np.testing.assert_allclose(bound(function)(*there)[0], expected[0], rtol=1e-5)


def test_a_sharded_function_runs_inside_of_somebodys_jit(bound, sharded):
    function, given, expected = sharded
    call = bound(function)
    np.testing.assert_allclose(
        jax.jit(lambda x: call(given[0], x, given[2])[0] * 2)(given[1]), 2 * expected[0], rtol=1e-5
    )


def test_the_callers_mesh_and_devices_are_used(bound, sharded):
    function, given, expected = sharded
    last = jax.devices()[4:8]
    meshes = [
        {"devices": last},
        {"mesh": Mesh(np.array(last).reshape(2, 2), ("x", "y"))},
        {"mesh": Mesh(np.array(last).reshape(4), ("other",))},
        {"mesh": Mesh(np.array(last).reshape(2, 2), ("y", "x"))},
    ]
    for placement in meshes:
        found = bound(function, **placement)(*given)[0]
        np.testing.assert_allclose(found, expected[0], rtol=1e-5)
        assert found.sharding.device_set == set(last)


def test_a_foreign_sharded_function_needs_no_record_of_ours(bound, sharded):
    function, given, expected = sharded
    foreign = dataclasses.replace(function, supplementals={})
    np.testing.assert_allclose(bound(foreign)(*given)[0], expected[0], rtol=1e-5)


def test_a_function_that_is_sharded_inside_only_runs_on_its_mesh(bound):
    mesh = mesh_of(4, "x")

    def inside(x):
        return jax.lax.with_sharding_constraint(x * 2, NamedSharding(mesh, P("x")))

    function = convert(inside, ("8",), platforms=["cpu"])
    assert function.jax.device_count == 4
    assert all(leaf.sharding is None for leaf in function.signature.input_leaves)
    np.testing.assert_array_equal(bound(function)(np.ones(8, np.float32)), 2 * np.ones(8))


def square_of(*types):
    return Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"), axis_types=types)


SQUARE = (AxisType.Auto,) * 2
ROWS = np.arange(16, dtype=np.float32).reshape(4, 4)


def spec_on(mesh, dims, *spec, dtype=np.float32):
    shape = jax.export.symbolic_shape(dims, constraints=("mod(b, 2) == 0",))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*spec)))


def manual(x):
    mesh = square_of(*SQUARE)
    total = jax.shard_map(lambda v: jax.lax.psum(v, "x"), mesh=mesh, in_specs=P("x"), out_specs=P())
    return total(x)


@pytest.mark.parametrize(
    ("function", "specs", "given"),
    [
        pytest.param(
            lambda a, b: a @ b,
            lambda: [spec_on(square_of(*[AxisType.Explicit] * 2), "4, 4", *s) for s in (["x"], [])],
            [ROWS, ROWS], id="explicit axes",
        ),
        pytest.param(
            manual, lambda: [spec_on(square_of(*SQUARE), "4, 4", "x")], [ROWS], id="shard_map"
        ),
        pytest.param(
            lambda a: a * 2, lambda: [spec_on(square_of(*SQUARE), "b, 4", "x")], [ROWS],
            id="symbolic",
        ),
        pytest.param(
            lambda: jax.lax.with_sharding_constraint(
                jnp.ones((4, 4)), NamedSharding(square_of(*SQUARE), P("x"))
            ),
            list, [], id="no inputs",
        ),
    ],
)  # fmt: skip
def test_sharded_functions_of_every_kind_give_what_the_original_gives(
    bound, function, specs, given
):
    stored = convert(function, specs(), platforms=["cpu"])
    assert stored.jax.device_count == 4
    np.testing.assert_allclose(bound(stored)(*given), jax.jit(function)(*given), rtol=1e-6)


def test_keys_on_several_devices_are_split_by_key(bound):
    split = jax.random.split(jax.random.key(0), 4)
    spec = spec_on(square_of(*SQUARE), "4", "x", dtype=split.dtype)
    stored = convert(jax.vmap(jax.random.normal), (spec,), platforms=["cpu"])
    expected = jax.vmap(jax.random.normal)(split)
    np.testing.assert_allclose(bound(stored)(split), expected, rtol=1e-6)


def test_python_numbers_reach_a_sharded_function(bound):
    mesh = mesh_of(2, "x")
    spec = jax.ShapeDtypeStruct((4,), np.float32, sharding=NamedSharding(mesh, P("x")))
    call = bound(convert(lambda x, s: x * s, (spec, "float32[]"), platforms=["cpu"]))
    assert list(call([1.0, 2.0, 3.0, 4.0], 2)) == [2, 4, 6, 8]


def test_wrong_arguments_of_a_sharded_function_are_named(bound, sharded):
    function, given, _ = sharded
    with pytest.raises(SignatureMismatchError, match="input 'x': expected float32"):
        bound(function)(given[0], given[1].astype(np.float64), given[2])
    with pytest.raises(SignatureMismatchError, match=r"input 'free'.*found nothing"):
        bound(function)(*given[:2])


def test_one_device_runs_where_it_is_asked_to(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    device = jax.devices()[3]
    assert bound(function, devices=[device])(np.ones(2, np.float32)).devices() == {device}
