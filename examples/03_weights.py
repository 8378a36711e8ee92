"""Weights as SafeTensors, from an existing checkpoint, on the host, in another precision."""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from safetensors.numpy import load_file

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


def apply_fn(params, x):
    return x @ params["dense"]["kernel"] + params["dense"]["bias"]


params = {"dense": {"kernel": np.eye(4, 3, dtype=np.float32), "bias": np.ones(3, np.float32)}}

# SafeTensors: fast, the same bytes for the same weights, readable by everybody.
obm.pack(folder / "a.obm", apply_fn, params, "b, 4", weights_format="safetensors")
for name, array in sorted(load_file(folder / "a.obm" / "weights.safetensors").items()):
    print(f"a.obm  {name:<14} {array.dtype} {list(array.shape)}")

# A checkpoint that training has left: its path takes the place of the arrays.
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder / "checkpoint", params)
obm.pack(folder / "b.obm", apply_fn, folder / "checkpoint", "b, 4")

x = np.arange(8, dtype=np.float32).reshape(2, 4)
for name in ("a.obm", "b.obm"):
    with obm.load(folder / name) as model:
        print(f"{name}  {np.asarray(model(x)).tolist()}")

# Weights may stay on the host, and may be loaded in another precision.
with obm.load(folder / "a.obm", weights="host") as model:
    print("on the host:", {type(leaf).__name__ for leaf in jax.tree.leaves(model.weights)})
with obm.load(folder / "a.obm", dtype="bfloat16") as model:
    print("in bfloat16:", {str(leaf.dtype) for leaf in jax.tree.leaves(model.value("weights"))})
