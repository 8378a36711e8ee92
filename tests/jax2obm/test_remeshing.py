"""Functions that were lowered for some devices and run on others."""

from __future__ import annotations

import dataclasses
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from orbax_model_lite.core.device import Device
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jax2obm.assignment import device_assignment, in_assigned_order
from orbax_model_lite.stablehlo.remeshing import remeshed

pytestmark = pytest.mark.frameworks

W = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16)
X = np.cos(np.arange(64, dtype=np.float32)).reshape(8, 8)
EXPECTED = np.tanh(X @ W)


def mesh_of(kind=AxisType.Auto, first=0, **sizes):
    """Returns a mesh with the given axes of devices from `first` on."""
    devices = jax.devices()[first : first + math.prod(sizes.values())]
    grid = np.array(devices).reshape(list(sizes.values()))
    return Mesh(grid, tuple(sizes), axis_types=(kind,) * len(sizes))


def struct(mesh, shape, *spec):
    return jax.ShapeDtypeStruct(shape, np.float32, sharding=NamedSharding(mesh, P(*spec)))


def layer_on(mesh):
    """Returns a converted layer whose weights, input and result are split over a mesh."""

    def layer(w, x):
        y = jnp.tanh(x @ w)
        if mesh.axis_types[0] is AxisType.Auto:
            y = jax.lax.with_sharding_constraint(y, NamedSharding(mesh, P("x", "y")))
        return y * 1

    specs = (struct(mesh, (8, 16), None, "y"), struct(mesh, (8, 8), "x"))
    return convert(layer, specs, platforms=["cpu"])


@pytest.fixture(scope="module", params=[AxisType.Auto, AxisType.Explicit], ids=lambda k: k.name)
def kind(request):
    return request.param


@pytest.mark.parametrize(
    ("made_on", "placement", "expected"),
    [
        ((4, 2), lambda: {"devices": jax.devices()[:1]}, {}),
        ((1, 1), lambda: {"devices": jax.devices()}, {"x": 8, "y": 1}),
        ((2, 2), lambda: {"devices": jax.devices()[:2]}, {"x": 2, "y": 1}),
        ((2, 2), lambda: {"devices": jax.devices()}, {"x": 4, "y": 2}),
        ((2, 2), lambda: {"mesh": mesh_of(x=4, y=1)}, {"x": 4, "y": 1}),
        ((2, 2), lambda: {"mesh": mesh_of(x=2, y=4)}, {"x": 2, "y": 4}),
        ((1, 1), lambda: {"mesh": mesh_of(x=2, y=4)}, {"x": 2, "y": 4}),
        ((2, 2), lambda: {"mesh": mesh_of(y=4, x=2)}, {"y": 4, "x": 2}),
        ((2, 2), lambda: {"mesh": mesh_of(x=2, pipe=2, y=2)}, {"x": 2, "pipe": 2, "y": 2}),
        ((2, 2), lambda: {"mesh": mesh_of(y=8)}, {"y": 8, "x": 1}),
        ((2, 2), lambda: {"mesh": mesh_of(data=4, model=2)}, {"x": 4, "y": 2}),
        ((4, 2), lambda: {"mesh": mesh_of(all=4)}, {"x": 4, "y": 1}),
        ((2, 2), lambda: {"mesh": mesh_of(first=4, x=2, y=2)}, {"x": 2, "y": 2}),
    ],
    ids=[
        "8 to 1", "1 to 8", "4 to 2", "4 to 8", "2x2 to 4x1", "2x2 to 2x4", "1x1 to 2x4",
        "other order", "another axis", "an axis less", "by position", "one axis of devices",
        "other devices",
    ],
)  # fmt: skip
def test_numbers_are_equal_on_another_mesh(bound, kind, made_on, placement, expected):
    function = layer_on(mesh_of(kind, x=made_on[0], y=made_on[1]))
    placement = placement()
    found = bound(function, **placement)(W, X)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    devices = placement["mesh"].devices.flat if "mesh" in placement else placement["devices"]
    assert found.sharding.device_set == set(devices)
    if expected:
        assert dict(found.sharding.mesh.shape) == expected
        assert found.sharding.shard_shape((8, 16)) == (8 // expected["x"], 16 // expected["y"])


def test_a_mesh_of_as_many_devices_but_other_names_gives_its_devices(bound):
    mesh = mesh_of(first=4, other=4)
    found = bound(layer_on(mesh_of(x=2, y=2)), mesh=mesh)(W, X)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    assert found.sharding.device_set == set(mesh.devices.flat)


def test_a_mesh_that_does_not_tell_which_axis_is_which_is_refused(bound):
    function = layer_on(mesh_of(x=2, y=2))
    with pytest.raises(UnsupportedError, match=r"axes among x, y.*found \{'a': 2, 'b': 2, 'c': 2"):
        bound(function, mesh=mesh_of(a=2, b=2, c=2))


def test_arrays_that_are_on_the_mesh_of_the_caller_stay_there(bound):
    mesh = mesh_of(x=4, y=2)
    call = bound(layer_on(mesh_of(x=2, y=2)), mesh=mesh)
    w = jax.device_put(W, NamedSharding(mesh, P(None, "y")))
    x = jax.device_put(X, NamedSharding(mesh, P("x")))
    np.testing.assert_allclose(call(w, x), EXPECTED, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(call)(w, x), EXPECTED, rtol=1e-5, atol=1e-6)


def test_dimensions_that_the_devices_do_not_divide_are_whole_on_each(bound):
    call = bound(layer_on(mesh_of(x=2, y=2)), devices=jax.devices()[:3])
    found = call(W, X)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    assert found.sharding.is_fully_replicated
    assert len(found.sharding.device_set) == 3


def test_the_sizes_that_divide_most_dimensions_are_chosen(bound):
    mesh = mesh_of(x=2, y=1)
    function = convert(lambda x: x * 2, (struct(mesh, (6, 8), "x", "y"),), platforms=["cpu"])
    found = bound(function, devices=jax.devices())(np.ones((6, 8), np.float32))
    assert found.sharding.shard_shape((6, 8)) == (3, 2)


def symbolic_on(mesh):
    shape = jax.export.symbolic_shape("b, 8", constraints=["mod(b, 2) == 0"])
    return convert(lambda x: x * 2, (struct(mesh, shape, "x"),), platforms=["cpu"])


@pytest.mark.parametrize("batch", [2, 4, 8, 12])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_symbolic_batch_is_split_where_the_devices_divide_it(bound, count, batch):
    call = bound(symbolic_on(mesh_of(x=2)), devices=jax.devices()[:count])
    found = call(np.ones((batch, 8), np.float32))
    assert np.array_equal(found, np.full((batch, 8), 2))
    parts = count if batch % count == 0 else 1
    assert found.sharding.shard_shape(found.shape) == (batch // parts, 8)


def test_a_function_of_one_device_runs_on_all_of_a_mesh_as_its_arrays_are_split(bound):
    function = convert(lambda w, x: jnp.tanh(x @ w), ("8, 16", "8, 8"), platforms=["cpu"])
    mesh = mesh_of(data=8)
    x = jax.device_put(X, NamedSharding(mesh, P("data")))
    found = bound(function, mesh=mesh)(W, x)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    assert found.sharding.shard_shape(found.shape) == (1, 16)


def test_without_a_choice_fewer_devices_than_it_was_made_on_are_taken(bound, monkeypatch):
    function = layer_on(mesh_of(x=4, y=2))
    here = jax.devices()[:6]
    monkeypatch.setattr(jax, "devices", lambda: here)
    found = bound(function)(W, X)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    assert found.sharding.device_set == set(here[:4])


def test_a_foreign_function_runs_on_other_devices_too(bound, corpus_function):
    function = dataclasses.replace(layer_on(mesh_of(x=2, y=2)), supplementals={})
    for count in (1, 2, 8):
        found = bound(function, devices=jax.devices()[:count])(W, X)
        np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-6)
    original = bound(corpus_function("sharded4__feb26", "f"), devices=jax.devices()[:2])
    weights = {"b": np.ones(8, np.float32), "w": np.ones((4, 8), np.float32)}
    found = original(weights, np.ones((4, 4), np.float32), np.ones(2, np.float32))
    assert np.array_equal(found[0], np.full((4, 8), 5))
    assert found[2] == 16


def test_random_numbers_do_not_depend_on_the_mesh(bound):
    mesh = mesh_of(x=4)

    def noise(key, x):
        y = x + jax.random.normal(key, x.shape)
        return jax.lax.with_sharding_constraint(y, NamedSharding(mesh, P("x")))

    key = jax.random.key(1)
    function = convert(noise, (key, struct(mesh, (8, 8), "x")), platforms=["cpu"])
    expected = X + jax.random.normal(key, X.shape)
    for count in (1, 2, 8):
        found = bound(function, devices=jax.devices()[:count])(key, X)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


# -------------------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def manual():
    mesh = mesh_of(x=4)

    def total(v):
        return jax.lax.psum(v, "x")

    mapped = jax.shard_map(total, mesh=mesh, in_specs=P("x"), out_specs=P())
    return convert(mapped, (struct(mesh, (8, 8), "x"),), platforms=["cpu"])


def test_shard_map_runs_on_an_equal_mesh(bound, manual):
    for placement in ({"devices": jax.devices()[4:]}, {"mesh": mesh_of(first=4, x=4)}):
        found = bound(manual, **placement)(X)
        np.testing.assert_allclose(found, X.reshape(4, 2, 8).sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_shard_map_is_refused_on_another_mesh_with_the_reason(bound, manual, count):
    with pytest.raises(UnsupportedError, match=r"'f'.*one device's share.*shard_map.*without shar"):
        bound(manual, devices=jax.devices()[:count])


@pytest.fixture(scope="module")
def numbered():
    """Returns a function whose shardings number devices, as JAX lowered it before Shardy."""
    mesh = mesh_of(x=4)

    def double(x):
        return jax.lax.with_sharding_constraint(x * 2, NamedSharding(mesh, P("x")))

    jax.config.update("jax_use_shardy_partitioner", False)
    try:
        return convert(double, (struct(mesh, (8, 8), "x"),), platforms=["cpu"])
    finally:
        jax.config.update("jax_use_shardy_partitioner", True)


def test_shardings_that_number_devices_run_on_as_many_and_on_one(bound, numbered):
    for count in (4, 1):
        found = bound(numbered, devices=jax.devices()[:count])(X)
        assert np.array_equal(found, 2 * X)
        assert len(found.sharding.device_set) == count


def test_shardings_that_number_devices_are_refused_on_other_numbers(bound, numbered):
    with pytest.raises(UnsupportedError, match=r"name mesh axes; found some that number devices"):
        bound(numbered, devices=jax.devices()[:2])


def test_a_rewritten_module_says_its_number_of_devices():
    from orbax_model_lite.stablehlo.module import text

    module = layer_on(mesh_of(x=2, y=2)).module.inline_bytes
    found = text(remeshed(module, {"x": 4, "y": 2}))
    assert "mhlo.num_partitions = 8" in found
    assert '<["x"=4, "y"=2]>' in found


# ------------------------------------------------------------------------------- assignment


class Chip:
    """A device as TPUs describe themselves."""

    def __init__(self, number, coords, core):
        self.id, self.coords, self.core_on_chip = number, coords, core


def test_recorded_coordinates_tell_which_device_is_meant():
    chips = [Chip(i + 10, [i % 2, i // 2, 0], 0) for i in range(4)]
    recorded = [Device(id=i, coords=(i // 2, i % 2, 0), core_on_chip=0) for i in range(4)]
    assert [chip.id for chip in in_assigned_order(chips, recorded)] == [10, 12, 11, 13]


def test_the_devices_of_a_mesh_are_recorded_in_its_order():
    chips = np.array([Chip(i, [0, i], 1) for i in (1, 0)], dtype=object)
    stand_in = types.SimpleNamespace(devices=chips)
    assert device_assignment(stand_in) == (
        Device(id=1, coords=(0, 1), core_on_chip=1),
        Device(id=0, coords=(0, 0), core_on_chip=1),
    )
    backwards = Mesh(np.array(jax.devices()[3::-1]), ("x",))
    assert device_assignment(backwards) == tuple(Device(id=i) for i in (3, 2, 1, 0))


def test_recorded_numbers_tell_it_where_there_are_no_coordinates():
    devices = jax.devices()
    recorded = [Device(id=device.id) for device in devices[:3:-1]]
    assert in_assigned_order(devices, recorded) == devices[:3:-1] + devices[:4]


def test_a_record_of_other_devices_changes_nothing():
    assert in_assigned_order(jax.devices(), [Device(id=10**6)]) == jax.devices()
    assert in_assigned_order(jax.devices(), None) == jax.devices()
