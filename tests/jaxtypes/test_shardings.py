"""Shardings as the manifest holds them."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from orbax_model_lite._proto.sharding_pb2 import OpSharding
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jaxtypes.shardings import (
    MeshAxis,
    device_tiles,
    invented_axes,
    mesh_axes,
    to_bytes,
    to_partition_spec,
)

pytestmark = pytest.mark.frameworks

P = PartitionSpec
SQUARE = AbstractMesh((2, 2), ("x", "y"))


@pytest.mark.parametrize(
    ("spec", "rank", "expected"),
    [
        pytest.param(P(), 2, {}, id="replicated is empty"),
        pytest.param(
            P("x", "y"), 2, {"dims": [2, 2], "reshape": [4], "perm": [0]}, id="both dimensions"
        ),
        pytest.param(
            P("x", None),
            2,
            {"dims": [2, 1, 2], "copies": True, "reshape": [4], "perm": [0]},
            id="first dimension",
        ),
        pytest.param(
            P("y"),
            1,
            {"dims": [2, 2], "copies": True, "reshape": [2, 2], "perm": [1, 0]},
            id="minor axis",
        ),
        pytest.param(
            P(("y", "x")), 1, {"dims": [4], "reshape": [2, 2], "perm": [1, 0]}, id="both axes"
        ),
    ],
)
def test_a_named_sharding_has_the_form_of_the_original(spec, rank, expected):
    record = OpSharding.FromString(to_bytes(NamedSharding(SQUARE, spec), rank))
    found = {
        "dims": list(record.tile_assignment_dimensions),
        "copies": record.replicate_on_last_tile_dim,
        "reshape": list(record.iota_reshape_dims),
        "perm": list(record.iota_transpose_perm),
    }
    empty = {"dims": [], "copies": False, "reshape": [], "perm": []}
    assert found == empty | expected


@st.composite
def named_shardings(draw):
    sizes = draw(st.lists(st.sampled_from([1, 2, 2, 3, 4]), min_size=1, max_size=4))
    names = [f"a{i}" for i in range(len(sizes))]
    left = list(draw(st.permutations(names)))
    entries = []
    for _ in range(draw(st.integers(0, 3))):
        group = tuple(left.pop() for _ in range(draw(st.integers(0, min(2, len(left))))))
        entries.append(group or None)
    return NamedSharding(AbstractMesh(tuple(sizes), tuple(names)), P(*entries)), len(entries)


@given(named_shardings())
def test_reading_the_bytes_gives_a_sharding_with_the_same_bytes(drawn):
    sharding, rank = drawn
    data = to_bytes(sharding, rank)
    spec = to_partition_spec(data, mesh_axes(sharding.mesh), "x")
    assert spec is not None
    assert to_bytes(NamedSharding(sharding.mesh, spec), rank) == data


@given(named_shardings())
def test_the_bytes_split_an_array_as_jax_does(drawn):
    sharding, rank = drawn
    data = to_bytes(sharding, rank)
    axes = mesh_axes(sharding.mesh)
    count = math.prod(axis.size for axis in axes)
    tiles, _ = device_tiles(data, "x")
    groups = [(entry,) if isinstance(entry, str) else entry or () for entry in sharding.spec]
    counts = [math.prod(sharding.mesh.shape[name] for name in group) for group in groups]
    if data:
        assert list(tiles.shape[:-1]) == counts
        assert sorted(tiles.flat) == list(range(count))
    else:
        assert math.prod(counts) == 1


def test_the_devices_of_a_tile_are_those_that_jax_gives_it():
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("x", "y"))
    sharding = NamedSharding(mesh, P("y", "x"))
    tiles, _ = device_tiles(to_bytes(sharding, 2), "x")
    for device, (rows, columns) in sharding.devices_indices_map((8, 4)).items():
        position = list(mesh.devices.flat).index(device)
        assert tiles[rows.start // 2, columns.start // 2, 0] == position


def test_axes_are_invented_for_bytes_without_a_mesh():
    cube = AbstractMesh((2, 3), ("x", "y"))
    found = [to_bytes(NamedSharding(cube, spec), 2) for spec in (P("x"), P("y", "x"), P())]
    axes = invented_axes(found, 6, "x")
    assert axes is not None
    assert all(to_partition_spec(data, axes, "x") is not None for data in found)


def test_no_axes_fit_a_mesh_of_another_size():
    data = to_bytes(NamedSharding(SQUARE, P("x")), 1)
    assert to_partition_spec(data, (MeshAxis(name="x", size=8),), "x") is None
    assert invented_axes([data], 8, "x") is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"\xff\xff", InvalidBundleError, id="not a record"),
        pytest.param(
            OpSharding(
                type=3, tile_assignment_dimensions=[2], iota_reshape_dims=[3]
            ).SerializeToString(),
            InvalidBundleError,
            id="sizes that differ",
        ),
        pytest.param(
            OpSharding(
                type=3, tile_assignment_dimensions=[2], tile_assignment_devices=[0, 0]
            ).SerializeToString(),
            InvalidBundleError,
            id="a device twice",
        ),
        pytest.param(
            OpSharding(
                type=3,
                tile_assignment_dimensions=[1 << 40],
                iota_reshape_dims=[1 << 40],
                iota_transpose_perm=[0],
            ).SerializeToString(),
            InvalidBundleError,
            id="more devices than there are",
        ),
        pytest.param(
            OpSharding(
                type=3, tile_assignment_dimensions=[-2], tile_assignment_devices=[0]
            ).SerializeToString(),
            InvalidBundleError,
            id="a negative size",
        ),
        pytest.param(OpSharding(type=1).SerializeToString(), UnsupportedError, id="maximal"),
        pytest.param(OpSharding(type=4).SerializeToString(), UnsupportedError, id="manual"),
        pytest.param(
            OpSharding(
                type=3, tile_assignment_dimensions=[2], last_tile_dims=[4]
            ).SerializeToString(),
            UnsupportedError,
            id="manual subgroup",
        ),
    ],
)
def test_bytes_that_are_no_sharding_of_an_array_are_refused(data, error):
    with pytest.raises(error, match=r"^input 'x': expected"):
        device_tiles(data, "input 'x'")


@pytest.mark.parametrize(
    ("spec", "types"),
    [(P(P.UNCONSTRAINED), AxisType.Auto), (P(unreduced={"x"}), AxisType.Explicit)],
    ids=["unconstrained", "unreduced"],
)
def test_what_the_format_cannot_say_is_refused(spec, types):
    mesh = AbstractMesh((2, 2), ("x", "y"), axis_types=(types, types))
    with pytest.raises(UnsupportedError, match="expected"):
        to_bytes(NamedSharding(mesh, spec), 1)
