"""Bundles that one environment writes and another one runs.

    python tests/matrix/exchange.py write FOLDER
    python tests/matrix/exchange.py run FOLDER

`make test-matrix` calls it with each pair of Python and JAX versions. Outputs are compared with
those of the writer's own functions, float32 within 1e-5.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import orbax_model_lite as obm
from orbax_model_lite import core, jax2obm

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.standard_normal((8, 8), np.float32), "b": np.zeros(8, np.float32)}
X = RNG.standard_normal((4, 8), np.float32)


def mlp(params, x):
    """Has derivative rules and a composite in its program."""
    hidden = jax.nn.gelu(jax.nn.relu(x @ params["w"] + params["b"]))
    return jax.lax.stop_gradient(hidden) + hidden


def best(params, x):
    """Has a composite (top_k) in its program."""
    return jax.lax.top_k(x @ params["w"], 2)


def solve(x):
    """Calls LAPACK: custom calls."""
    return jnp.linalg.eigh(x @ x.T + jnp.eye(x.shape[0], dtype=x.dtype))[0]


def scan(params, x):
    """Has a while loop."""
    return jax.lax.scan(lambda c, _: (jnp.tanh(c @ params["w"]), c.sum()), x, None, length=5)


def keyed(key, x):
    """Takes a typed PRNG key."""
    return x + jax.random.normal(key, x.shape)


def wide(x):
    """Keeps 64 bits."""
    return jnp.cumsum(x)


def sharded_function():
    """Returns a function on a 2 x 2 mesh, its specs, and inputs."""
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"))
    by_rows, by_columns = NamedSharding(mesh, P("x", None)), NamedSharding(mesh, P(None, "y"))
    function = jax.jit(
        lambda w, x: x @ w, in_shardings=(by_columns, by_rows), out_shardings=by_rows
    )
    specs = (
        jax.ShapeDtypeStruct((8, 8), np.float32, sharding=by_columns),
        jax.ShapeDtypeStruct((4, 8), np.float32, sharding=by_rows),
    )
    return function, specs, (PARAMS["w"], X)


def write(folder: Path) -> None:
    """Writes one bundle a kind of function, with the expected outputs beside it."""
    packed = {
        "symbolic": (mlp, PARAMS, "b, 8", {"constraints": ("b >= 2",)}),
        "platforms": (mlp, PARAMS, "b, 8", {"platforms": ("cpu", "cuda", "tpu")}),
        "static": (best, PARAMS, X, {"weights_format": "safetensors"}),
        "custom_call": (solve, None, X, {"platforms": ("cpu",)}),
        "loop": (scan, PARAMS, "b, 8", {}),
    }
    for name, (function, params, inputs, options) in packed.items():
        obm.pack(folder / name, function, params, inputs, examples=X, **options)
    key_spec = jax.eval_shape(lambda: jax.random.key(0))
    functions = {"keyed": jax2obm.convert(keyed, (key_spec, "b, 8"))}
    functions["wide"] = jax2obm.convert(wide, ("float64[n]",))
    function, specs, inputs = sharded_function()
    functions["sharded"] = jax2obm.convert(function, specs, platforms=("cpu",))
    core.save(functions, folder / "low_level")
    np.savez(
        folder / "expected.npz",
        keyed=np.asarray(keyed(jax.random.key(7), X)),
        sharded=np.asarray(inputs[1] @ inputs[0]),
    )


def run(folder: Path) -> None:
    """Runs what `write` wrote, perhaps under other versions."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "low_level":
            report = obm.verify(path, replay=True)
            assert report.ok, f"{path.name}: {report}"
            print(f"  {path.name}: replayed")
    with np.load(folder / "expected.npz") as data:
        expected = dict(data)
    with obm.load(folder / "low_level") as model:
        found = model.functions["keyed"](jax.random.key(7), X)
        np.testing.assert_allclose(found, expected["keyed"], rtol=1e-5, atol=1e-6)
        numbers = np.linspace(0, 1, 9)
        found = np.asarray(model.functions["wide"](numbers))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, np.cumsum(numbers), rtol=1e-12)
        found = model.functions["sharded"](PARAMS["w"], X)
        np.testing.assert_allclose(found, expected["sharded"], rtol=1e-5, atol=1e-5)
    print("  low_level: typed keys, 64 bits and shardings agree")


if __name__ == "__main__":
    {"write": write, "run": run}[sys.argv[1]](Path(sys.argv[2]))
    print(f"{sys.argv[1]}: ok (Python {sys.version.split()[0]}, JAX {jax.__version__})")
