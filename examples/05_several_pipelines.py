"""One set of weights, several ways to call it, and advice to a server on how to batch."""

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


def embed(params, x):
    return jnp.tanh(x @ params["kernel"])


def classify(params, x):
    return embed(params, x) @ params["head"]


def to_unit(pixels):
    return {"x": pixels.astype(jnp.float32) / 255}


def best(logits):
    probabilities = jax.nn.softmax(logits)
    return {"label": probabilities.argmax(-1), "probability": probabilities.max(-1)}


rng = np.random.default_rng(0)
params = {
    "kernel": rng.standard_normal((6, 8), np.float32),
    "head": rng.standard_normal((8, 3), np.float32),
}
obm.pack(
    folder / "two.obm",
    classify,
    params,
    "uint8[b, 6]",
    name="classify",
    preprocess=to_unit,
    postprocess=best,
    batch_options=obm.BatchOptions(
        component=obm.BatchComponent.WHOLE_PIPELINE, allowed_batch_sizes=(1, 8, 32)
    ),
    pipelines={"embed": obm.PipelineSpec(function=embed, inputs="uint8[b, 6]", preprocess=to_unit)},
)

model = obm.load(folder / "two.obm")
pixels = rng.integers(0, 256, (2, 6), np.uint8)
for pipeline in model.pipelines.values():
    out = jax.tree.map(np.asarray, pipeline(pixels))
    print(pipeline, "gives", out if isinstance(out, dict) else f"{out.dtype} {list(out.shape)}")
print("batches of", model.pipelines["classify"].record.batch_options.allowed_batch_sizes)
