"""Which builder lifts which operation: one table, composed of those of the operation files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orbax_model_lite.lift.control import flow
from orbax_model_lite.lift.operation import Handler
from orbax_model_lite.lift.operations import (
    calls,
    chlo,
    collectives,
    comparisons,
    composites,
    constants,
    conversions,
    convolution,
    custom_calls,
    dot,
    dynamic,
    elementwise,
    gather,
    linalg,
    normalization,
    reductions,
    scans,
    scatter,
    select_and_scatter,
    shapes,
    sharding,
    sorting,
    tuples,
    windows,
)
from orbax_model_lite.lift.problems import NotLiftable

_FILES: Final = (
    calls,
    chlo,
    collectives,
    comparisons,
    composites,
    constants,
    flow,
    conversions,
    convolution,
    custom_calls,
    dot,
    dynamic,
    elementwise,
    gather,
    linalg,
    normalization,
    reductions,
    scans,
    scatter,
    select_and_scatter,
    shapes,
    sharding,
    sorting,
    tuples,
    windows,
)

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {name: handler for file in _FILES for name, handler in file.OPERATIONS.items()}
)


def handler_of(name: str) -> Handler:
    """Returns what lifts an operation; NotLiftable if nothing does."""
    if name not in HANDLERS:
        raise NotLiftable("no counterpart in JAX")
    return HANDLERS[name]
