"""Words in, words out: TensorFlow before and after the model, with a vocabulary file."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import numpy as np
import tensorflow as tf

import orbax_model_lite as obm

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
(folder / "colours.txt").write_text("red\ngreen\nblue\n")
Line = tf.lookup.TextFileIndex


class Words(tf.Module):
    def __init__(self):
        super().__init__()
        self.file = tf.saved_model.Asset(str(folder / "colours.txt"))
        whole, number = (tf.string, Line.WHOLE_LINE), (tf.int64, Line.LINE_NUMBER)
        self.ids = self.table(whole, number, -1)
        self.words = self.table(number, whole, "?")

    def table(self, key, value, default):
        source = tf.lookup.TextFileInitializer(self.file, *key, *value)
        return tf.lookup.StaticHashTable(source, default)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def before(self, word):
        return {"x": tf.one_hot(self.ids.lookup(word), 3), "word": word}

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.string)])
    def after(self, logits, word):
        return {"word": word, "next": self.words.lookup(tf.argmax(logits, -1))}


def apply_fn(params, x):
    return jax.nn.log_softmax(x @ params["steps"])


# The model takes "x" only; "word" travels past it, to the post-processor.
words = Words()
params = {"steps": np.roll(np.eye(3, dtype=np.float32), 1, axis=1)}
packed = obm.pack(
    folder / "next.obm", apply_fn, params, preprocess=words.before, postprocess=words.after
)
print("assets taken along:", *packed.assets)

out = obm.load(folder / "next.obm")(np.array([b"red", b"blue"], object))
for word, following in zip(out["word"], out["next"], strict=True):
    print(f"{word.decode()} -> {following.decode()}")
