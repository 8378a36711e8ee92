"""A JAX function and its weights become one folder, and come back without the source."""

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


# Any function that takes a pytree of weights first.
def apply_fn(params, x):
    for layer in params["layers"]:
        x = jax.nn.gelu(x @ layer["kernel"] + layer["bias"])
    return x @ params["head"]


rng = np.random.default_rng(0)
params = {
    "layers": [
        {"kernel": rng.standard_normal((4, 16), np.float32), "bias": jnp.zeros(16)},
        {"kernel": rng.standard_normal((16, 16), np.float32), "bias": jnp.ones(16)},
    ],
    "head": rng.standard_normal((16, 3), np.float32),
}

# "b, 4" is float32 with an open first dimension: any batch size will do.
obm.pack(folder / "mlp.obm", apply_fn, params, "b, 4")

print("mlp.obm/")
for path in sorted((folder / "mlp.obm").iterdir()):
    print(f"  {path.name}{'/' if path.is_dir() else ''}")

# From here on nothing is known of apply_fn and params but the folder.
with obm.load(folder / "mlp.obm") as model:
    for batch in (1, 5):
        x = rng.standard_normal((batch, 4), np.float32)
        difference = np.abs(model(x) - apply_fn(params, x)).max()
        print(
            f"batch {batch}: logits {model(x).shape}, differs from the original by {difference:.1g}"
        )
