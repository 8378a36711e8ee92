"""Bundles with weights, made without a framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite.core.tree import flatten_with_path, format_path, map_leaves
from orbax_model_lite.jax2obm.weights import safetensors

MakeWeights = Callable[..., core.Bundle]


def spec_of(array: np.ndarray) -> core.Spec:
    return core.Spec(shape=array.shape, dtype=core.DType.from_numpy(array.dtype))


def write_safetensors(path: Path, tree: Any, specs: Any = None) -> None:
    """Writes a tree of NumPy arrays as this package's own files are written."""
    values = {format_path(at): array for at, array in flatten_with_path(tree)}
    plan = safetensors.planned(map_leaves(spec_of, tree) if specs is None else specs)
    safetensors.write(path, plan, lambda array: values[format_path(array.path)])


@pytest.fixture
def with_weights(tmp_path) -> MakeWeights:
    """Returns `make(tree, name="m", specs=None)`: a bundle whose only object is weights "w"."""

    def make(tree: Mapping[str, Any], name: str = "m", specs: Any = None) -> core.Bundle:
        folder = tmp_path / name
        folder.mkdir()
        write_safetensors(folder / "w.safetensors", tree, specs)
        core.save({"w": core.convert_path_to_value("w.safetensors", "safetensors")}, folder)
        return core.read(folder)

    return make
