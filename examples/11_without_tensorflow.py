"""TensorFlow processors that run where TensorFlow is not installed, and how to see which do."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())


@tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
def shrink(image):
    small = tf.image.resize(tf.cast(image, tf.float32), (8, 8))
    return tf.reshape(small / 255, [-1, 192])


@tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
def name(scores):
    words = tf.constant(["cat", "dog", "fox"])
    return {"word": tf.gather(words, tf.argmax(scores, -1)), "score": tf.reduce_max(scores, -1)}


@tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
def number(scores):
    return tf.argmax(scores, -1)


params = {"w": np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)}
obm.pack(
    folder / "animals.obm",
    lambda params, x: x @ params["w"],
    params,
    preprocess=shrink,
    postprocess=number,
    pipelines={"words": obm.PipelineSpec(preprocess=shrink, postprocess=name)},
)

for key, function in obm.read(folder / "animals.obm").functions.items():
    lowering = getattr(function, "lowering", None)
    if lowering:
        print(f"{key}: {lowering.reason or 'runs without TensorFlow'}")

RUN = """
import sys
sys.modules["tensorflow"] = None  # as where it is not installed
import numpy as np, orbax_model_lite as obm
print("numbers:", obm.load(sys.argv[1])(np.zeros((4, 32, 32, 3), np.uint8)).tolist())
"""
subprocess.run([sys.executable, "-c", RUN, folder / "animals.obm"], check=True)
