"""A bundle from a stranger may hold a program that reads your files; it is not run unasked."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
(folder / "secret.txt").write_text("42")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def read_number(path):
    return tf.strings.to_number(tf.io.read_file(path))


def apply_fn(params, x):
    return params * x


obm.pack(folder / "curious.obm", apply_fn, np.float32(2), preprocess=read_number)
secret = np.array(str(folder / "secret.txt").encode(), object)

# The operations of the SavedModel are read before TensorFlow sees it.
try:
    obm.load(folder / "curious.obm")(secret)
except obm.errors.UntrustedError as e:
    print("refused:", e)

# Whoever knows what it is for may grant it.
trust = obm.Trust(tf_ops={"ReadFile"})
print("granted:", obm.load(folder / "curious.obm", trust=trust)(secret))
