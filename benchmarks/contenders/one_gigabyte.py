"""Saves or loads one model once, and says how many seconds that took.

Arguments: VERB (save_bundle, save_by_hand, load_bundle, load_by_hand) FORMAT LAYERS WIDTH FOLDER.
Imports and first-time costs are paid before, on a model of a few bytes, by every verb alike.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import safetensors
from jax import export
from measuring.models import residual_apply
from safetensors import flax as safetensors_in_jax

import orbax_model_lite as obm


def write_safetensors(path, params):
    """Writes weights as SafeTensors."""
    flat = {f"{layer}.{key}": a for layer, leaf in params.items() for key, a in leaf.items()}
    safetensors_in_jax.save_file(flat, path)


def write_orbax(path, params):
    """Writes weights as Orbax checkpoint, without the compression that makes it slow."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False)) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(params))


def read_safetensors(path):
    """Reads SafeTensors onto the device, the fastest of the library's ways."""
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: jax.device_put(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118


def read_orbax(path):
    """Reads an Orbax checkpoint onto the device, the fastest of Orbax's ways here."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path)


WRITE = {"orbax": write_orbax, "safetensors": write_safetensors}
READ = {"orbax": read_orbax, "safetensors": read_safetensors}
FILE = {"orbax": "weights", "safetensors": "weights.safetensors"}


def save_bundle(folder, params, weights_format):
    """Packs a bundle, durable when it returns."""
    inputs = f"b, {width_of(params)}"
    obm.pack(folder / "m.obm", residual_apply, params, inputs, weights_format=weights_format)


def save_by_hand(folder, params, weights_format):
    """Writes the same weights with their library, and the function with jax.export."""
    target = folder / "m.obm"
    target.mkdir()
    WRITE[weights_format](target / FILE[weights_format], params)
    x = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {width_of(params)}"), np.float32)
    specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
    exported = export.export(jax.jit(residual_apply), platforms=("cpu", "cuda", "tpu"))(specs, x)
    (target / "model.jax_export").write_bytes(exported.serialize())
    for path in [*target.rglob("*"), target]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def load_bundle(folder, params, weights_format):
    """Loads a bundle and its weights, matched to the function, onto the device."""
    with obm.load(folder / "m.obm") as model:
        jax.block_until_ready(model.weights)


def load_by_hand(folder, params, weights_format):
    """Reads the same weights with their library onto the device."""
    jax.block_until_ready(READ[weights_format](folder / "m.obm" / FILE[weights_format]))


def weights_on_device(layers, width):
    """Returns weights for `residual_apply`, made leaf by leaf: no peak before the measured one."""
    kernel = np.random.default_rng(0).random((width, width), np.float32) / width

    def layer(number):
        return {
            "up": jnp.asarray(kernel * (1 + number)),
            "down": jnp.asarray(kernel / (1 + number)),
            "bias": jnp.zeros(width, np.float32),
        }

    return {f"layer_{i:02d}": jax.block_until_ready(layer(i)) for i in range(layers)}


def width_of(params):
    """Returns the width of a residual model."""
    return next(iter(params.values()))["bias"].shape[0]


verb, weights_format, layers, width, folder = sys.argv[1:]
run, folder = globals()[verb], Path(folder)
is_save = verb.startswith("save")

tiny = folder / f"tiny-{verb}-{weights_format}"
tiny.mkdir()
small = weights_on_device(1, 8)
save_bundle(tiny, small, weights_format)
if is_save:
    (tiny / "m.obm").rename(tiny / "old.obm")
run(tiny, small, weights_format)

params = weights_on_device(int(layers), int(width)) if is_save else None
target = folder / f"{'saved-by-' + verb if is_save else 'to-load'}-{weights_format}"
target.mkdir(exist_ok=not is_save)
start = time.perf_counter()
run(target, params, weights_format)
print(json.dumps(time.perf_counter() - start))
