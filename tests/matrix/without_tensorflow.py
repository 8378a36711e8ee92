"""A bundle with TensorFlow processors, run where TensorFlow is not installed.

    python tests/matrix/without_tensorflow.py write FOLDER
    python tests/matrix/without_tensorflow.py run FOLDER

`make test-without-tensorflow` writes in one environment and runs in another.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import orbax_model_lite as obm

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)


def write(folder: Path) -> None:
    """Writes the bundle, with examples that TensorFlow itself computed."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, 20, 20, 3], tf.uint8, name="image")])
    def before(image):
        image = tf.image.resize(tf.cast(image, tf.float32), (8, 8))
        return {"x": tf.image.per_image_standardization(image), "mean": tf.reduce_mean(image, -1)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None, 8, 8], name="mean")]
    )
    def after(scores, mean):
        values, places = tf.math.top_k(scores, 2)
        return {"best": tf.argmax(scores, -1), "two": (values, places), "mean": mean}

    weights = np.random.default_rng(1).normal(size=(192, 4)).astype(np.float32)
    obm.pack(
        folder / "whole",
        lambda w, x: x.reshape(x.shape[0], 192) @ w,
        weights,
        preprocess=before,
        postprocess=after,
        examples=IMAGES,
        lower_tf="always",
    )


def run(folder: Path) -> None:
    """Replays the examples; fails where TensorFlow could have helped."""
    assert importlib.util.find_spec("tensorflow") is None, "TensorFlow is installed here"
    report = obm.verify(folder / "whole", replay=True)
    assert report.ok, str(report)
    found = obm.load(folder / "whole")(IMAGES[:3])
    assert np.asarray(found["best"]).dtype == np.int64
    print(f"  whole: replayed without TensorFlow; {len(found['best'])} images of another batch too")


if __name__ == "__main__":
    {"write": write, "run": run}[sys.argv[1]](Path(sys.argv[2]))
