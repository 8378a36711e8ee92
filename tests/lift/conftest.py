"""What the lift is compared with: the same module run by XLA, without the lift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import numpy as np
import pytest
from jaxlib import xla_client

from orbax_model_lite.stablehlo.module import parse


@pytest.fixture
def run_by_xla() -> Callable[..., list[np.ndarray]]:
    """Returns a function that compiles MLIR text as it stands and runs it on NumPy arrays."""
    return _run_by_xla


def _run_by_xla(text: str, *arrays: Any) -> list[np.ndarray]:
    client = jax.extend.backend.get_backend("cpu")
    devices = client.local_devices()[:1]
    options = xla_client.CompileOptions()
    program = client.compile_and_load(str(parse(text)), devices, options)
    with jax.enable_x64(True):
        buffers = [jax.device_put(np.asarray(array), devices[0]) for array in arrays]
        return [np.asarray(result) for result in program.execute(buffers)]
