"""Weights go to the devices that are asked for, whatever devices they were saved from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.checkpoint.folder import read_folder
from orbax_model_lite.jax2obm.checkpoint.reading import CheckpointReader
from orbax_model_lite.jax2obm.weights import load_weights, save_weights

pytestmark = pytest.mark.frameworks

X = np.arange(64, dtype=np.float32).reshape(8, 8)
TREE = {"a": X, "b": {"c": np.arange(8, dtype=np.int8)}, "s": np.float32(2)}


@pytest.fixture
def mesh():
    return Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"))


@pytest.fixture(params=["orbax", "safetensors"])
def path(request, tmp_path):
    save_weights(tmp_path / "w", TREE, format=request.param)
    return tmp_path / "w"


def test_one_device_gets_everything(path):
    device = jax.devices()[3]
    found = load_weights(path, devices=[device])
    assert [array.devices() for array in jax.tree.leaves(found)] == [{device}] * 3
    assert np.array_equal(found["a"], X)


def test_several_devices_each_get_all_of_it(path):
    found = load_weights(path, devices=jax.devices()[:4])["a"]
    assert found.sharding.is_fully_replicated
    assert all(np.array_equal(shard.data, X) for shard in found.addressable_shards)


def test_a_mesh_gets_all_of_it_where_no_sharding_splits_it(path, mesh):
    found = load_weights(path, mesh=mesh)
    assert found["b"]["c"].sharding == NamedSharding(mesh, P())


def test_one_sharding_holds_for_all_arrays(path):
    grid = Mesh(np.array(jax.devices()[:4]), ("x",))
    found = load_weights(path, names=["a", "b"], shardings=NamedSharding(grid, P("x")))
    assert [shard.data.shape for shard in found["a"].addressable_shards] == [(2, 8)] * 4
    assert np.array_equal(found["a"], X)
    assert np.array_equal(found["b"]["c"], TREE["b"]["c"])


def test_shardings_are_matched_by_key_path(path, mesh):
    found = load_weights(path, mesh=mesh, shardings={"a": P("y", "x"), "b": P("x")})
    assert found["a"].sharding == NamedSharding(mesh, P("y", "x"))
    assert found["b"]["c"].sharding == NamedSharding(mesh, P("x"))
    assert found["s"].sharding == NamedSharding(mesh, P())
    assert np.array_equal(found["a"], X)


def test_shardings_of_lists_are_matched_by_index(tmp_path, mesh):
    save_weights(tmp_path / "w", {"l": (X, X + 1)})
    found = load_weights(tmp_path / "w", mesh=mesh, shardings={"l": [None, P("x")]})
    assert [array.sharding.spec for array in found["l"]] == [P(), P("x")]


def test_a_cast_holds_for_every_part(path, mesh):
    found = load_weights(path, mesh=mesh, shardings={"a": P("x", "y")}, dtype="bfloat16")["a"]
    assert found.dtype == jnp.bfloat16
    assert np.array_equal(found, X.astype(jnp.bfloat16))


def test_64_bits_are_kept_on_a_mesh_without_x64_mode(tmp_path, mesh):
    save_weights(tmp_path / "w", {"a": np.arange(8) + 2**40})
    found = load_weights(tmp_path / "w", mesh=mesh, shardings=P("x"))["a"]
    assert found.dtype == np.int64
    assert np.array_equal(found, np.arange(8) + 2**40)


def test_typed_keys_are_split_like_any_array(tmp_path, mesh):
    keys = jax.random.split(jax.random.key(0), 8)
    save_weights(tmp_path / "w", {"k": keys})
    found = load_weights(tmp_path / "w", mesh=mesh, shardings=P("x"))["k"]
    assert [shard.data.shape for shard in found.addressable_shards] == [(4,)] * 4
    assert np.array_equal(jax.random.key_data(found), jax.random.key_data(keys))


@pytest.mark.parametrize("kind", ["orbax", "safetensors"])
@pytest.mark.parametrize("spec", [P("x", "y"), P("y"), P()], ids=str)
def test_sharded_arrays_are_saved_whole(tmp_path, mesh, kind, spec):
    save_weights(tmp_path / "w", {"a": jax.device_put(X, NamedSharding(mesh, spec))}, format=kind)
    assert np.array_equal(load_weights(tmp_path / "w", to="host")["a"], X)
    other = load_weights(tmp_path / "w", mesh=mesh, shardings=P("y", "x"))["a"]
    assert np.array_equal(other, X)


def test_sharded_arrays_in_types_that_orbax_lacks_are_saved_whole(tmp_path, mesh):
    array = jax.device_put(X.astype(jnp.uint4), NamedSharding(mesh, P("x", "y")))
    save_weights(tmp_path / "w", {"a": array})
    assert np.array_equal(load_weights(tmp_path / "w", to="host")["a"], X.astype(jnp.uint4))


def test_a_part_is_read_without_the_chunks_of_other_parts(tmp_path, mesh):
    folder = tmp_path / "w"
    sharded = jax.device_put(X, NamedSharding(mesh, P("x", "y")))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(folder, args=ocp.args.PyTreeSave({"a": sharded}))
    for chunk in ("0.0", "0.1", "1.0"):
        (folder / "a" / chunk).unlink()
    reader = CheckpointReader(read_folder(folder))
    arrays = reader.open([reader.tree["a"]])
    assert np.array_equal(reader.read(arrays[0], [(slice(4, 8), slice(4, 8))])[0], X[4:, 4:])
    with pytest.raises(InvalidBundleError, match="array 'a'"):
        reader.read(arrays[0], [(slice(0, 8), slice(4, 8))])


def test_a_sharding_that_does_not_divide_an_array_is_refused_with_its_path(tmp_path, mesh):
    save_weights(tmp_path / "w", {"odd": np.zeros(3, np.float32)})
    with pytest.raises(UnsupportedError, match=r"'odd': expected a sharding that divides \(3,\)"):
        load_weights(tmp_path / "w", mesh=mesh, shardings=P("x"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"devices": []}, "expected at least one", id="no device"),
        pytest.param({"shardings": P("x")}, "expected a mesh", id="a spec without a mesh"),
        pytest.param({"shardings": {"a": "x"}}, "found str", id="a sharding that is none"),
        pytest.param({"to": "disk"}, "'device' or 'host'", id="another place"),
    ],
)
def test_an_impossible_placement_is_refused(path, options, message):
    with pytest.raises(ValueError, match=message):
        load_weights(path, **options)


def test_devices_and_a_mesh_are_not_given_together(path, mesh):
    with pytest.raises(ValueError, match="found both"):
        load_weights(path, devices=jax.devices(), mesh=mesh)


def test_a_donated_copy_leaves_the_other_devices_alone(path):
    devices = jax.devices()[:2]
    found = load_weights(path, devices=devices)["a"]
    first, second = (shard.data for shard in found.addressable_shards)
    jax.jit(lambda a: a + 1, donate_argnums=0)(first).block_until_ready()
    assert np.array_equal(second, X)


def test_the_device_of_the_caller_s_context_is_used(path):
    with jax.default_device(jax.devices()[2]):
        assert load_weights(path)["a"].devices() == {jax.devices()[2]}


SAVE = """
    import sys, jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    from orbax_model_lite.jax2obm.weights import save_weights
    assert jax.device_count() == 4
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    tree = {"a": jax.device_put(x, NamedSharding(mesh, P("x", "y"))), "b": (jax.numpy.ones(3), x)}
    if sys.argv[2] == "ours":
        save_weights(sys.argv[1], tree)
    else:
        import orbax.checkpoint as ocp
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(sys.argv[1], tree)
"""
LOAD = """
    import sys, jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    from orbax_model_lite.jax2obm.weights import load_weights
    count = int(sys.argv[2])
    assert jax.device_count() == count
    mesh = jax.make_mesh((count,), ("z",), axis_types=(jax.sharding.AxisType.Auto,))
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    for options in ({}, {"mesh": mesh, "shardings": {"a": P("z")}}, {"to": "host"}):
        found = load_weights(sys.argv[1], **options)
        assert np.array_equal(found["a"], x) and np.array_equal(found["b"][1], x), options
    assert len(load_weights(sys.argv[1], devices=jax.devices())["a"].devices()) == count
"""


@pytest.mark.parametrize("writer", ["ours", "orbax"])
def test_a_checkpoint_of_four_devices_loads_on_one_and_on_eight(tmp_path, fresh_python, writer):
    fresh_python(SAVE, tmp_path / "w", writer, env={"JAX_NUM_CPU_DEVICES": "4"})
    for count in ("1", "8"):
        fresh_python(LOAD, tmp_path / "w", count, env={"JAX_NUM_CPU_DEVICES": count})


def test_one_device_can_be_said_as_a_sharding(path):
    sharding = SingleDeviceSharding(jax.devices()[1])
    assert load_weights(path, shardings=sharding)["a"].devices() == {jax.devices()[1]}
