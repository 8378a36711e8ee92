"""Record what the original gave, and ask later whether a bundle still gives it."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
target = folder / "line.obm"


def apply_fn(params, x):
    return params["slope"] * x + params["offset"]


params = {"slope": np.float32(2.5), "offset": np.float32(-1)}
obm.pack(
    target,
    apply_fn,
    params,
    "b",
    weights_format="safetensors",
    examples=obm.Example(inputs=np.linspace(0, 1, 5, dtype=np.float32)),
    metadata={"name": "line", "version": "3", "license": "Apache-2.0", "trained_on": "five points"},
)

# Structure, digests, references and wires; with replay, the recorded calls are run again too.
print("whole, and the same answers:", obm.verify(target, replay=True))

# One bit falls over in the weights.
weights = target / "weights.safetensors"
damaged = bytearray(weights.read_bytes())
damaged[-1] ^= 1
weights.write_bytes(damaged)
print("after one bit fell over:", obm.verify(target, replay=True))
