"""TensorFlow around the model: PNG bytes to pixels before it, logits to words after it."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Processors(tf.Module):
    """Both processors, with the vocabulary table that the second one needs."""

    def __init__(self, folder: Path):
        """Writes the vocabulary into `folder` and builds the table from it."""
        super().__init__()
        vocabulary = folder / "digits.txt"
        vocabulary.write_text("\n".join(WORDS) + "\n")
        self.asset = tf.saved_model.Asset(str(vocabulary))
        index = tf.lookup.TextFileIndex
        source = tf.lookup.TextFileInitializer(
            self.asset, tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE
        )
        self.words = tf.lookup.StaticHashTable(source, default_value="?")

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.string)]
    )
    def decode(self, png, ids):
        """Returns images, float32 [batch, 16, 16, 1] in -1 to 1, and the ids as they came."""

        def one(image):
            pixels = tf.cast(tf.io.decode_png(image, channels=1), tf.float32)
            return tf.ensure_shape(tf.image.resize(pixels, (16, 16)), (16, 16, 1))

        images = tf.map_fn(one, png, fn_output_signature=tf.TensorSpec((16, 16, 1), tf.float32))
        return {"x": images / 127.5 - 1.0, "ids": ids}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 10], tf.float32), tf.TensorSpec([None], tf.string)]
    )
    def label(self, logits, ids):
        """Returns the word, its probability and the logits for each id."""
        return {
            "id": ids,
            "word": self.words.lookup(tf.argmax(logits, -1)),
            "probability": tf.reduce_max(tf.nn.softmax(logits), -1),
            "logits": logits,
        }
