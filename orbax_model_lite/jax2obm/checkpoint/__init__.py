"""Weights as Orbax checkpoints: `folder` and `tree` (names), `reading`, `writing`.

Nothing here is public; `jax2obm.weights` is. Only this folder imports Orbax or TensorStore: Orbax
to write, TensorStore to read.
"""

from __future__ import annotations

__all__: list[str] = []
