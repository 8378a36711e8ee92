"""The same digits as arrays instead of PNG bytes: TensorFlow processors that StableHLO can say."""

from __future__ import annotations

import tensorflow as tf


@tf.function(
    input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.uint8), tf.TensorSpec([None], tf.int64)]
)
def scale(pixels, ids):
    """Returns images, float32 [batch, 16, 16, 1] in -1 to 1, and the ids as they came."""
    images = tf.image.resize(tf.cast(pixels, tf.float32), (16, 16))
    return {"x": images / 127.5 - 1.0, "ids": ids}


@tf.function(
    input_signature=[tf.TensorSpec([None, 10], tf.float32), tf.TensorSpec([None], tf.int64)]
)
def best(logits, ids):
    """Returns the digit, its probability and the three likeliest digits for each id."""
    return {
        "id": ids,
        "digit": tf.argmax(logits, -1),
        "probability": tf.reduce_max(tf.nn.softmax(logits), -1),
        "likeliest": tf.math.top_k(logits, 3).indices,
    }
