"""By hand, as short as it gets: jax.export and SafeTensors. Arguments: EXPORT WEIGHTS WIDTH."""

import sys
from pathlib import Path

import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

function = export.deserialize(Path(sys.argv[1]).read_bytes())
params = {}
for name, array in load_file(sys.argv[2]).items():
    layer, key = name.split(".")
    params.setdefault(layer, {})[key] = array
x = np.ones((8, int(sys.argv[3])), np.float32)
print(float(np.asarray(jax.jit(function.call)(params, x))[0, 0]))
