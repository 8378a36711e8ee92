"""SavedModels of strangers with links that lead TensorFlow out of the bundle."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError

pytestmark = pytest.mark.frameworks


@pytest.fixture
def bundle(tmp_path):
    """Returns a bundle without digests, as the original writes them, with a variable."""
    import tensorflow as tf

    from orbax_model_lite import tf2obm

    class Scale(tf.Module):
        def __init__(self):
            super().__init__()
            self.factor = tf.Variable(3.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def scale(self, x):
            return self.factor * x

    owner, folder = Scale(), tmp_path / "m"
    function = owner.scale
    tf2obm.save_tf_functions(folder, {"scale": function})
    supplementals = {layout.KEY_SAVED_MODEL: tf2obm.tf_saved_model_as_obm_supplemental()}
    options = core.SaveOptions(supplemental_info=supplementals)
    core.save({"scale": tf2obm.convert_function("scale", function)}, folder, options)
    (folder / layout.INTEGRITY_FILE).unlink()
    return folder


def call(bundle):
    with obm.load(bundle) as model:
        return model.functions["scale"](np.ones(2, np.float32))


def test_a_sound_saved_model_is_run(bundle):
    np.testing.assert_array_equal(call(bundle), np.full(2, 3, np.float32))


@pytest.mark.parametrize("name", ["", "variables", "variables/variables.index", "saved_model.pb"])
def test_a_link_out_of_the_bundle_is_refused_before_it_is_followed(bundle, tmp_path, name):
    inside = bundle / layout.SAVED_MODEL_FOLDER / name
    shutil.move(inside, tmp_path / "private")
    inside.symlink_to(tmp_path / "private")
    with pytest.raises(InvalidBundleError, match="outside"):
        call(bundle)
