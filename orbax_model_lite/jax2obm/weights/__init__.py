"""Weights, both directions: saved, loaded, listed, and matched to a signature by key path.

`sources` opens what is there (SafeTensors here, checkpoints in the folder beside), `loading` reads
it, `placement` puts it on devices, `saving` writes. Each name is imported on first use, so that
reading does not import what writing takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.weights.loading import load_weights
    from orbax_model_lite.jax2obm.weights.matching import match
    from orbax_model_lite.jax2obm.weights.saving import save_weights
    from orbax_model_lite.jax2obm.weights.sources import weights_names, weights_spec

_PLACES = {
    "load_weights": "loading",
    "match": "matching",
    "save_weights": "saving",
    "weights_names": "sources",
    "weights_spec": "sources",
}

__all__ = ["load_weights", "match", "save_weights", "weights_names", "weights_spec"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
