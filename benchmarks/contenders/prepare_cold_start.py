"""Writes one model in every form that cold_start.py compares.

Arguments: FOLDER LAYERS WIDTH.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import tensorflow as tf
from jax import export
from jax.experimental import jax2tf
from measuring.models import residual_apply, residual_params

import orbax_model_lite as obm

folder = Path(sys.argv[1])
layers, width = map(int, sys.argv[2:])
params = residual_params(layers=layers, width=width)

for weights_format in ("orbax", "safetensors"):
    obm.pack(
        folder / f"{weights_format}.obm",
        residual_apply,
        params,
        f"b, {width}",
        weights_format=weights_format,
    )

x = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {width}"), np.float32)
specs = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)
exported = export.export(jax.jit(residual_apply), platforms=("cpu", "cuda", "tpu"))(specs, x)
(folder / "model.jax_export").write_bytes(exported.serialize())

module = tf.Module()
module.params = tf.nest.map_structure(tf.Variable, params)
in_tf = jax2tf.convert(residual_apply, polymorphic_shapes=[None, "b, ..."], with_gradient=False)
module.predict = tf.function(
    lambda x: in_tf(module.params, x),
    autograph=False,
    input_signature=[tf.TensorSpec([None, width], tf.float32, name="x")],
)
tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.predict)
