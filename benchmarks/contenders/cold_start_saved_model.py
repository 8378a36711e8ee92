"""The same model as SavedModel, loaded with TensorFlow. Arguments: SAVED_MODEL WIDTH."""

import sys

import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
x = np.ones((8, int(sys.argv[2])), np.float32)
output = model.signatures["serving_default"](x=tf.constant(x))
print(float(next(iter(output.values())).numpy()[0, 0]))
