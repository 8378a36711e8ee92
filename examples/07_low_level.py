"""The verbs of the original Orbax Model: convert each part, say how they are chained, save."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import orbax.checkpoint as ocp
import tensorflow as tf

import orbax_model_lite
from orbax_model_lite import core as obm
from orbax_model_lite import jax2obm, tf2obm
from orbax_model_lite import orchestration as oex

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()) / "model.obm"
params = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}


def apply_fn(params, x):
    return x @ params["kernel"]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def pre(text):
    return (tf.strings.to_number(tf.strings.split(text, ",")).to_tensor(shape=[None, 2]),)


@tf.function(input_signature=[tf.TensorSpec([None, 3])])
def post(logits):
    return {"text": tf.strings.reduce_join(tf.strings.as_string(logits), axis=-1, separator=" ")}


pre, post = pre.get_concrete_function(), post.get_concrete_function()
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder / "checkpoint", params)
args, kwargs = tf2obm.tf_specs_to_jax(pre.structured_outputs)
tf2obm.save_tf_functions(str(folder), {"pre": pre, "post": post})
objects = {
    "pre": tf2obm.convert_function("pre", pre),
    "model": jax2obm.convert(apply_fn, (params, *args), kwargs),
    "post": tf2obm.convert_function("post", post),
    "weights": obm.convert_path_to_value("checkpoint/", mime_type="orbax_checkpoint"),
}
names = {"model_function_name": "model", "weights_name": "weights"}
processors = {"pre_processor_name": "pre", "post_processor_name": "post"}
pipeline = oex.orchestration(**names, **processors)
saved_model = tf2obm.tf_saved_model_as_obm_supplemental("tf_saved_model/")
info = {
    "orchestration": obm.GlobalSupplemental(pipeline, "orchestration.pb"),
    "tensorflow_saved_model": obm.GlobalSupplemental(saved_model, None),
}
obm.save(objects, folder, obm.SaveOptions(version=2, supplemental_info=info))

print(orbax_model_lite.load(folder)(np.array([b"1,0", b"0,1"], object)))
