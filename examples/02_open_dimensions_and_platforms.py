"""One bundle for every batch size and sequence length, for CPUs, GPUs and TPUs."""

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


def encode(params, tokens, lengths):
    """Returns the mean embedding of each sequence up to its length."""
    vectors = params["embedding"][tokens]
    inside = jnp.arange(tokens.shape[1]) < lengths[:, None]
    return jnp.sum(vectors * inside[..., None], axis=1) / lengths[:, None]


params = {"embedding": jax.random.normal(jax.random.key(0), (100, 8))}

# A letter is an open dimension; the same letter is the same size wherever it stands.
obm.pack(
    folder / "encoder.obm",
    encode,
    params,
    ("int32[b, t]", "int32[b]"),
    constraints=["t >= 2"],
    platforms=["cpu", "cuda", "tpu"],
)

function = obm.read(folder / "encoder.obm").functions["serving_default"]
print("signature", function.signature)
print("lowered for", ", ".join(function.platforms))

model = obm.load(folder / "encoder.obm")
for batch, length in ((1, 5), (3, 12)):
    out = model(np.ones((batch, length), np.int32), np.full(batch, length, np.int32))
    print(f"tokens [{batch}, {length}] -> {out.dtype} {list(out.shape)}")

# What does not fit is refused, and the message says what was expected.
try:
    model(np.ones((3, 12), np.int32), np.ones(4, np.int32))
except obm.errors.SignatureMismatchError as e:
    print("refused:", e)
