"""Bundles in memory for tests of the engine: functions whose payloads are not in files."""

from __future__ import annotations

import pathlib
from typing import Any

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.jax2obm import JaxEngine, convert


def bundle_of(**objects: Any) -> Bundle:
    """Returns a bundle of functions that are only in memory."""
    return Bundle(
        path=pathlib.Path("in-memory"),
        objects=objects,
        supplementals={},
        device_assignment=None,
        layout="2025-09",
        frequent_paths=(),
    )


def bound(function: ShloFunction, *, name: str = "f", **placement: Any) -> Any:
    """Returns a function as the engine binds it."""
    return JaxEngine(bundle_of(**{name: function}), **placement).bind(function)


def converted(function: Any, *args: Any, platforms: Any = ("cpu",), **options: Any) -> Any:
    """Returns a function converted and bound; `kwargs` are its keyword specs."""
    kwargs = options.pop("kwargs", None)
    return bound(convert(function, args, kwargs, platforms=platforms, **options))
