"""What the tests of hostile SavedModels share: functions, and bundles around any SavedModel."""

from __future__ import annotations

import functools
from pathlib import Path

import tensorflow as tf

from orbax_model_lite import core, tf2obm
from orbax_model_lite.core import layout

S = tf.TensorSpec
SCALAR = S([], tf.float32)


def traced(fn, *specs):
    return tf.function(fn, input_signature=specs or [SCALAR])


def as_bundle(saved_model: Path, target: Path) -> core.Bundle:
    """Packs a SavedModel, whatever is in it, beside an honest description of signature f."""
    target.mkdir()
    saved_model.rename(target / "tf_saved_model")
    record = core.GlobalSupplemental(tf2obm.tf_saved_model_as_obm_supplemental())
    options = core.SaveOptions(version=2, supplemental_info={layout.KEY_SAVED_MODEL: record})
    core.save({"f": _honest()}, target, options)
    return core.read(target)


@functools.cache
def _honest() -> core.OpaqueFunction:
    return tf2obm.convert_function("f", traced(lambda x: x))
