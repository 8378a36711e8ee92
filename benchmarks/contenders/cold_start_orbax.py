"""By hand, as short as it gets: jax.export and Orbax. Arguments: EXPORT WEIGHTS WIDTH."""

import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax import export

function = export.deserialize(Path(sys.argv[1]).read_bytes())
params = ocp.StandardCheckpointer().restore(sys.argv[2])
x = np.ones((8, int(sys.argv[3])), np.float32)
print(float(np.asarray(jax.jit(function.call)(params, x))[0, 0]))
