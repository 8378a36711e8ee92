"""TensorFlow functions packed into a small bundle and bound again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orbax_model_lite import core, tf2obm
from orbax_model_lite.core import layout


@pytest.fixture
def packed(tmp_path: Path) -> Callable[..., core.Bundle]:
    """Returns `packed(functions, resources=None)`: writes functions, gives the bundle read back."""

    def pack(functions: dict[str, Any], resources: Any = None, name: str = "m") -> core.Bundle:
        target = tmp_path / name
        objects = {key: tf2obm.convert_function(key, fn) for key, fn in functions.items()}
        saved = tf2obm.save_tf_functions(target, functions, resources)
        supplemental = tf2obm.tf_saved_model_as_obm_supplemental(saved.folder)
        options = core.SaveOptions(
            version=2,
            supplemental_info={layout.KEY_SAVED_MODEL: core.GlobalSupplemental(supplemental)},
        )
        core.save(objects, target, options)
        return core.read(target)

    return pack


@pytest.fixture
def bound(packed: Callable[..., core.Bundle]) -> Callable[..., Callable[..., Any]]:
    """Returns `bound(fn, resources=None)`: one function, packed and bound by the engine."""

    def bind(fn: Any, resources: Any = None) -> Callable[..., Any]:
        bundle = packed({"f": fn}, resources)
        return tf2obm.TfEngine(bundle).bind(bundle.functions["f"], name="f")

    return bind
