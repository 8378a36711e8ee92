"""Loads a bundle and predicts once. Arguments: BUNDLE WIDTH."""

import sys

import numpy as np

import orbax_model_lite as obm

model = obm.load(sys.argv[1])
x = np.ones((8, int(sys.argv[2])), np.float32)
print(float(np.asarray(model(x))[0, 0]))
