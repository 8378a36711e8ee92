"""Weights of strangers that lead out of the bundle: by its manifest, or by links inside."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.errors import InvalidBundleError

pytestmark = pytest.mark.frameworks


@pytest.fixture
def private(tmp_path):
    """Returns a checkpoint of the victim's, beside the bundle."""
    from orbax_model_lite import jax2obm

    jax2obm.save_weights(tmp_path / "private", {"secret": np.ones(3, np.float32)})
    return tmp_path / "private"


@pytest.fixture
def bundle(tmp_path):
    """Returns a bundle whose value `w` is the checkpoint in `weights/`."""
    from orbax_model_lite import jax2obm

    folder = tmp_path / "m"
    folder.mkdir()
    jax2obm.save_weights(folder / "weights", {"kernel": np.zeros(3, np.float32)})
    core.save({"w": core.convert_path_to_value("weights/", "orbax_checkpoint")}, folder)
    return folder


def require_refused(bundle, reason):
    with obm.load(bundle) as model, pytest.raises(InvalidBundleError, match=reason):
        model.value("w")


def test_sound_weights_are_read(bundle):
    with obm.load(bundle) as model:
        np.testing.assert_array_equal(model.value("w")["kernel"], np.zeros(3, np.float32))


def test_a_folder_of_weights_that_is_a_link_out_of_the_bundle_is_refused(bundle, private):
    shutil.rmtree(bundle / "weights")
    (bundle / "weights").symlink_to(private)
    require_refused(bundle, "outside")


@pytest.mark.parametrize("name", ["default", "7"], ids=["item", "step"])
def test_a_part_of_the_weights_that_is_a_link_out_of_the_bundle_is_refused(bundle, private, name):
    shutil.rmtree(bundle / "weights")
    (bundle / "weights").mkdir()
    (bundle / "weights" / name).symlink_to(private)
    require_refused(bundle, "is a link to")


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt"])
def test_a_file_of_the_weights_that_is_a_link_out_of_the_bundle_is_refused(bundle, private, name):
    (bundle / "weights" / name).unlink()
    (bundle / "weights" / name).symlink_to(private / name)
    require_refused(bundle, "outside")


def test_a_safetensors_file_that_is_a_link_out_of_the_bundle_is_refused(tmp_path):
    from orbax_model_lite import jax2obm

    outside, folder = tmp_path / "private.safetensors", tmp_path / "m"
    folder.mkdir()
    for path in (outside, folder / "weights.safetensors"):
        jax2obm.save_weights(path, {"secret": np.ones(3, np.float32)}, format="safetensors")
    core.save({"w": core.convert_path_to_value("weights.safetensors", "safetensors")}, folder)
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to(outside)
    require_refused(folder, "outside")
