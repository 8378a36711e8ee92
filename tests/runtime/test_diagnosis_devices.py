"""A diagnosis of bundles that were made on other devices than there are here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from tests.runtime.diagnosing import checks

pytestmark = pytest.mark.frameworks


@pytest.mark.parametrize(
    ("here", "verdict", "text"),
    [(8, "ok", "8 devices"), (2, "note", "load takes 2 of them"), (3, "note", "load takes 2")],
)
def test_fewer_devices_than_it_was_made_on_are_told(here, verdict, text, tmp_path, monkeypatch):
    made = pack_on_eight(tmp_path, lambda params, x: x @ params)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", str(here))
    found = checks(made)["devices"]
    assert found.verdict == verdict
    assert text in found.found
    assert "serving_default was made on 8 devices (data=2, model=4)" in found.found
    if verdict == "note":
        assert "JAX_NUM_CPU_DEVICES=8" in found.advice


def test_a_shard_map_on_fewer_devices_is_a_problem(tmp_path, monkeypatch):
    import jax
    from jax.sharding import PartitionSpec as P

    def apply(params, x):
        part = jax.shard_map(
            lambda w, x: jax.lax.psum(x @ w, "model"),
            mesh=_mesh(),
            in_specs=(P(None, None), P(None, None)),
            out_specs=P(None, None),
        )
        return part(params, x)

    made = pack_on_eight(tmp_path, apply)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    found = checks(made)["devices"]
    assert found.verdict == "problem"
    assert "JAX_NUM_CPU_DEVICES=8" in found.advice


def _mesh():
    import jax
    from jax.sharding import AxisType

    return jax.make_mesh((2, 4), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def pack_on_eight(folder: Path, apply: Callable) -> Path:
    import jax
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    mesh = _mesh()
    params = jax.device_put(np.ones((8, 16), np.float32), NamedSharding(mesh, P(None, "model")))
    x = jax.ShapeDtypeStruct((8, 8), np.float32, sharding=NamedSharding(mesh, P("data")))
    obm.pack(folder / "m.obm", apply, params, x, platforms=["cpu"])
    return folder / "m.obm"
