"""The one door to weights for other rooms: saved, loaded, listed, and matched to a signature."""

from __future__ import annotations

from orbax_model_lite.jax2obm.checkpoint.folder import locate
from orbax_model_lite.jax2obm.loading import load_weights
from orbax_model_lite.jax2obm.matching import match
from orbax_model_lite.jax2obm.saving import save_weights
from orbax_model_lite.jax2obm.sources import weights_names, weights_spec

__all__ = ["load_weights", "locate", "match", "save_weights", "weights_names", "weights_spec"]
