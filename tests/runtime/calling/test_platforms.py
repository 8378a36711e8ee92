"""Platforms without a device here: what JAX only asserts is told, and how to go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.runtime.calling.platforms import no_device_text, platform_errors

pytestmark = pytest.mark.frameworks

REPOSITORY = Path(__file__).parent.parent.parent.parent
OBM = [sys.executable, "-W", "error", "-m", "orbax_model_lite"]


@pytest.fixture(scope="module")
def linear(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "linear"
    obm.pack(path, lambda w, x: x @ w, np.ones((4, 3), np.float32), "b, 4", platforms=["cpu"])
    return path


def said(*line: object, platforms: str = "cpu") -> subprocess.CompletedProcess[str]:
    # No NVIDIA GPU is visible to JAX then, whatever the machine has.
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": platforms}
    return subprocess.run(
        [*OBM, *map(str, line)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | hidden,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


LINES = {"run": ("--random",), "bench": ("--repeats", "1")}


@pytest.mark.parametrize("command", LINES)
def test_a_platform_option_without_a_device_says_what_to_install(command, linear):
    found = said(command, linear, *LINES[command], "--platform", "cuda")
    assert found.returncode == 3
    assert "platform 'cuda': expected a device of it; found no such device" in found.stderr
    assert 'pip install "jax[cuda13]"' in found.stderr


@pytest.mark.parametrize("command", LINES)
def test_an_environment_without_a_device_is_told_like_the_option(command, linear):
    found = said(command, linear, *LINES[command], platforms="cuda")
    assert found.returncode == 3
    assert "platform 'cuda': expected a device of it; found no such device" in found.stderr


@pytest.mark.parametrize("kind", [AssertionError, RuntimeError, UnsupportedError])
def test_an_error_of_a_jax_that_runs_stays_what_it_is(kind):
    import jax

    assert jax.default_backend()
    with pytest.raises(kind, match="of the model"), platform_errors():
        raise kind("of the model")


def test_what_jax_says_is_told_in_one_line():
    assert no_device_text(RuntimeError("no tpu\nat all")) == "RuntimeError: no tpu"
