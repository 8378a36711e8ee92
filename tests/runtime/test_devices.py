"""Bundles of sharded functions, loaded on other devices than they were packed on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import orbax_model_lite as obm
from orbax_model_lite.core import Device
from orbax_model_lite.jax2obm.checkpoint.reading import CheckpointReader
from orbax_model_lite.jax2obm.weights.safetensors import SafeTensorsReader

pytestmark = pytest.mark.frameworks

PACK = """
    import sys, jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import orbax_model_lite as obm
    count, format = int(sys.argv[2]), sys.argv[3]
    mesh = jax.make_mesh((2, count // 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    def put(array, *spec):
        return jax.device_put(array, NamedSharding(mesh, P(*spec)))
    w = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16)
    params = {"layers": [put(w, None, "model"), put(w.T, "model")], "bias": put(w[0, :8])}
    def apply(params, x):
        hidden = jnp.tanh(x @ params["layers"][0])
        return hidden @ params["layers"][1] + params["bias"]
    x = jax.ShapeDtypeStruct((8, 8), np.float32, sharding=NamedSharding(mesh, P("data")))
    obm.pack(sys.argv[1], apply, params, x, platforms=["cpu"], weights_format=format,
             postprocess=lambda y: {"best": y.argmax(-1), "y": y})
"""
X = np.cos(np.arange(64, dtype=np.float32)).reshape(8, 8)
W = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16)
EXPECTED = np.tanh(X @ W) @ W.T + W[0, :8]


@pytest.fixture(scope="module", params=["orbax", "safetensors"])
def packed(request, tmp_path_factory, fresh_python):
    """Returns a bundle that was packed on a mesh of 2x4 devices."""
    path = tmp_path_factory.mktemp(request.param) / "m"
    fresh_python(PACK, path, 8, request.param, env={"JAX_NUM_CPU_DEVICES": "8"})
    return path


def test_the_devices_that_it_was_packed_on_are_recorded(packed):
    found = obm.read(packed).device_assignment
    assert found == tuple(Device(id=i) for i in range(8))


def mesh_of(**sizes):
    count = int(np.prod(list(sizes.values())))
    grid = np.array(jax.devices()[:count]).reshape(list(sizes.values()))
    return Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


LOAD = """
    import sys, numpy as np
    import orbax_model_lite as obm
    model = obm.load(sys.argv[1])
    x = np.cos(np.arange(64, dtype=np.float32)).reshape(8, 8)
    w = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16)
    found = model(x)
    np.testing.assert_allclose(found["y"], np.tanh(x @ w) @ w.T + w[0, :8], rtol=1e-4, atol=1e-5)
    print(len(found["y"].sharding.device_set), len(model.weights["bias"].sharding.device_set))
"""


@pytest.mark.parametrize(("here", "used"), [(1, 1), (4, 4), (6, 4), (8, 8)])
def test_load_just_works_on_fewer_devices(packed, fresh_python, here, used):
    printed = fresh_python(LOAD, packed, env={"JAX_NUM_CPU_DEVICES": str(here)})
    assert printed.split() == [str(used)] * 2


@pytest.mark.parametrize(
    "placement",
    [
        pytest.param(lambda: {"devices": jax.devices()[2:3]}, id="one device"),
        pytest.param(lambda: {"devices": jax.devices()[:2]}, id="two devices"),
        pytest.param(lambda: {"mesh": mesh_of(data=4, model=1)}, id="4x1"),
        pytest.param(lambda: {"mesh": mesh_of(model=8)}, id="an axis less"),
        pytest.param(lambda: {"mesh": mesh_of(x=4, y=2)}, id="other names"),
    ],
)
def test_a_pipeline_gives_the_same_numbers_on_other_devices(packed, placement):
    model = obm.load(packed, **placement())
    found = model(X)
    np.testing.assert_allclose(found["y"], EXPECTED, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found["best"], EXPECTED.argmax(-1))


def test_weights_come_in_the_shardings_that_the_function_wants(packed):
    model = obm.load(packed, mesh=mesh_of(data=2, model=2))
    first, second = model.weights["layers"]
    assert first.sharding.shard_shape(first.shape) == (8, 8)
    assert second.sharding.shard_shape(second.shape) == (8, 8)
    assert model.weights["bias"].sharding.is_fully_replicated
    assert model.weights["bias"].sharding.device_set == set(jax.devices()[:4])


def test_weights_on_the_devices_of_the_function_are_not_moved_by_a_call(packed):
    model = obm.load(packed, mesh=mesh_of(data=1, model=8))
    weights = model.weights
    with jax.transfer_guard_device_to_device("disallow_explicit"):
        model.functions["serving_default"](weights, X)


def test_every_device_reads_its_own_part_and_nothing_twice(packed, monkeypatch):
    read = {}
    for reader in (CheckpointReader, SafeTensorsReader):

        def counting(self, array, indices, dtype=None, *, original=reader.read):
            parts = original(self, array, indices, dtype)
            read[array.path] = [part.shape for part in parts]
            return parts

        monkeypatch.setattr(reader, "read", counting)
    weights = obm.load(packed, mesh=mesh_of(data=2, model=4)).weights
    assert read["layers", 0] == [(8, 4)] * 4
    assert read["layers", 1] == [(4, 8)] * 4
    assert read["bias",] == [(8,)]
    shards = weights["layers"][0].addressable_shards
    assert sum(shard.data.size for shard in shards) == 2 * W.size


def test_host_weights_run_on_a_mesh_too(packed):
    model = obm.load(packed, mesh=mesh_of(data=2, model=2), weights="host")
    assert isinstance(model.weights["bias"], np.ndarray)
    np.testing.assert_allclose(model(X)["y"], EXPECTED, rtol=1e-4, atol=1e-5)


def test_weights_of_a_model_for_one_device_are_whole_on_each_of_a_mesh(tmp_path):
    obm.pack(tmp_path / "m", lambda w, x: x @ w, W, "b, 8", platforms=["cpu"])
    model = obm.load(tmp_path / "m", mesh=mesh_of(data=4))
    split = jax.device_put(X, NamedSharding(mesh_of(data=4), P("data")))
    found = model(split)
    np.testing.assert_allclose(found, X @ W, rtol=1e-4, atol=1e-5)
    assert found.sharding.shard_shape(found.shape) == (2, 16)
    assert model.weights.sharding.is_fully_replicated


# ---------------------------------------------------------------------------- two processes

SERVE = """
    import sys, jax, numpy as np
    number, port, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"127.0.0.1:{port}", num_processes=2, process_id=number, initialization_timeout=60)
    assert (jax.device_count(), jax.local_device_count()) == (4, 2)
    import orbax_model_lite as obm
    from jax.experimental import multihost_utils
    from jax.sharding import AxisType
    x = np.cos(np.arange(64, dtype=np.float32)).reshape(8, 8)
    w = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16)
    expected = np.tanh(x @ w) @ w.T + w[0, :8]
    grid = np.array(jax.devices()).reshape(2, 2)
    meshes = [None, jax.sharding.Mesh(grid.reshape(1, 4), ("data", "model"))]
    for mesh in meshes:
        model = obm.load(path, mesh=mesh)
        first = model.weights["layers"][0]
        assert not first.is_fully_addressable
        assert len(first.addressable_shards) == 2
        assert first.addressable_shards[0].data.shape == ((8, 8) if mesh is None else (8, 4))
        found = model.functions["serving_default"](model.weights, x)
        assert len(found.sharding.device_set) == 4
        for result in (found, model(x)["y"]):
            whole = multihost_utils.process_allgather(result, tiled=True)
            np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    print("same numbers")
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("count", [4, 8])
def test_two_processes_load_and_run_one_bundle_together(
    tmp_path, fresh_python, pytestconfig, count
):
    fresh_python(PACK, tmp_path / "m", count, "orbax", env={"JAX_NUM_CPU_DEVICES": str(count)})
    environment = os.environ | {
        "PYTHONPATH": str(pytestconfig.rootpath), "JAX_NUM_CPU_DEVICES": "2",
    }  # fmt: skip
    port = free_port()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVE), str(i), str(port), str(tmp_path / "m")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=180) for process in running]
    finally:
        for process in running:
            process.kill()
    assert all("same numbers" in out for out, _ in outputs), outputs
