"""Which builder lifts which operation: one table, composed of those of the operation files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orbax_model_lite.lift.operation import Handler
from orbax_model_lite.lift.problems import NotLiftable

_FILES: Final = (
    "control.flow",
    "operations.calls",
    "operations.chlo",
    "operations.collectives",
    "operations.comparisons",
    "operations.composites",
    "operations.constants",
    "operations.conversions",
    "operations.convolution",
    "operations.custom_calls",
    "operations.dot",
    "operations.dynamic",
    "operations.elementwise",
    "operations.gather",
    "operations.linalg",
    "operations.normalization",
    "operations.reductions",
    "operations.scans",
    "operations.scatter",
    "operations.select_and_scatter",
    "operations.shapes",
    "operations.sharding",
    "operations.sorting",
    "operations.tuples",
    "operations.windows",
)

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        name: handler
        for file in _FILES
        for name, handler in importlib.import_module(
            f"orbax_model_lite.lift.{file}"
        ).OPERATIONS.items()
    }
)


def handler_of(name: str) -> Handler:
    """Returns what lifts an operation; NotLiftable if nothing does."""
    if name not in HANDLERS:
        raise NotLiftable("no counterpart in JAX")
    return HANDLERS[name]
