"""Saves or loads weights once, and says how many seconds that took.

Arguments: VERB (save, device, host) HOW (ours, library, defaults) FORMAT MEGABYTES FOLDER.
Imports and first-time costs are paid before, on weights of a few bytes.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import jax
import numpy as np

LAYERS = 16


def weights(megabytes):
    """Returns float32 kernels and a few small arrays, in JAX on the CPU."""
    rng = np.random.default_rng(0)
    rows = max(1, megabytes * 2**20 // LAYERS // 4096)
    tree = {f"layer_{i}": {"kernel": rng.random((rows, 1024), np.float32)} for i in range(LAYERS)}
    for layer in tree.values():
        layer["bias"] = rng.random(1024, np.float32)
    return jax.block_until_ready(jax.device_put(tree))


def fsync(path):
    """Waits until a file, or all files of a folder, are on the disk."""
    for file in [path, *path.rglob("*")]:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def ours(verb, weights_format, path, tree):
    """Uses this package."""
    from orbax_model_lite.jax2obm import load_weights, save_weights

    if verb == "save":
        save_weights(path, tree, format=weights_format)
        fsync(path)
    else:
        jax.block_until_ready(load_weights(path, to=verb))


def safetensors_library(verb, path, tree):
    """Uses the library, which has a module for JAX and one for NumPy."""
    from safetensors import flax
    from safetensors import numpy as on_host

    if verb == "save":
        flax.save_file({f"{k}.{n}": a for k, layer in tree.items() for n, a in layer.items()}, path)
        fsync(path)
    else:
        jax.block_until_ready({"device": flax, "host": on_host}[verb].load_file(path))


def orbax_library(verb, path, tree, **options):
    """Uses the library; loading with a target, as it recommends."""
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**options)) as checkpointer:
        if verb == "save":
            checkpointer.save(path, args=ocp.args.PyTreeSave(tree))
            fsync(path)
            return
        item = checkpointer.metadata(path).item_metadata.tree
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        arguments = jax.tree.map(
            lambda a: (
                ocp.ArrayRestoreArgs(sharding=sharding, global_shape=a.shape, dtype=a.dtype)
                if verb == "device"
                else ocp.RestoreArgs(restore_type=np.ndarray)
            ),
            item,
        )
        args = ocp.args.PyTreeRestore(item=item, restore_args=arguments)
        jax.block_until_ready(checkpointer.restore(path, args=args))


def run(verb, how, weights_format, path, tree):
    """Does it once."""
    if how == "ours":
        ours(verb, weights_format, path, tree)
    elif weights_format == "safetensors":
        safetensors_library(verb, path, tree)
    else:
        orbax_library(verb, path, tree, use_compression=how == "defaults")


def main(verb, how, weights_format, megabytes, folder):
    """Does it with few bytes, then with all, and prints the seconds."""
    small, path = weights(0), Path(folder) / f"{how}-{weights_format}"
    tiny = Path(folder) / f"tiny-{how}-{weights_format}"
    run("save", how, weights_format, tiny, small)
    if verb != "save":
        run(verb, how, weights_format, tiny, small)
    shutil.rmtree(tiny) if tiny.is_dir() else tiny.unlink()
    tree = weights(int(megabytes)) if verb == "save" else None
    start = time.perf_counter()
    run(verb, how, weights_format, path, tree)
    print(json.dumps(time.perf_counter() - start))


main(*sys.argv[1:])
