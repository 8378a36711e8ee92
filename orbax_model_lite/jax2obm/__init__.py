"""Everything that knows JAX, both directions.

To a bundle: `convert` makes a function of the format, `save_weights` writes arrays. From a bundle:
`JaxEngine` binds a function to a callable, `load_weights` and `match` give it its weights. Each
name is imported on first use, so that running a function does not import what converting takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.assignment import device_assignment
    from orbax_model_lite.jax2obm.checkpoint.folder import locate
    from orbax_model_lite.jax2obm.constants import LargeConstantsWarning
    from orbax_model_lite.jax2obm.conversion import convert
    from orbax_model_lite.jax2obm.engine import JaxEngine
    from orbax_model_lite.jax2obm.hoisting import hoist_constants
    from orbax_model_lite.jax2obm.weights import load_weights, save_weights, weights_spec
    from orbax_model_lite.jax2obm.weights.matching import match

_PLACES = {
    "JaxEngine": "engine",
    "LargeConstantsWarning": "constants",
    "convert": "conversion",
    "device_assignment": "assignment",
    "hoist_constants": "hoisting",
    "load_weights": "weights.loading",
    "locate": "checkpoint.folder",
    "match": "weights.matching",
    "save_weights": "weights.saving",
    "weights_spec": "weights.sources",
}

__all__ = [
    "JaxEngine",
    "LargeConstantsWarning",
    "convert",
    "device_assignment",
    "hoist_constants",
    "load_weights",
    "locate",
    "match",
    "save_weights",
    "weights_spec",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
