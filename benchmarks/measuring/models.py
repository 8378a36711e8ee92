"""Models to measure with, as plain JAX functions and their weights."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def residual_params(*, layers: int, width: int) -> dict[str, Any]:
    """Returns weights for `residual_apply`: float32, 8 * width**2 bytes a layer."""
    rng = np.random.default_rng(0)

    def kernel() -> np.ndarray:
        return rng.standard_normal((width, width), np.float32) / np.float32(width)

    return {
        f"layer_{i:02d}": {"up": kernel(), "down": kernel(), "bias": np.zeros(width, np.float32)}
        for i in range(layers)
    }


def residual_apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [batch, width] for float32 [batch, width], through residual layers."""
    for _, layer in sorted(params.items()):
        hidden = jax.nn.gelu(x @ layer["up"] + layer["bias"])
        x = x + hidden @ layer["down"]
    return x


def many_leaves(count: int) -> dict[str, np.ndarray]:
    """Returns `count` arrays, float32 [8]."""
    return {f"leaf_{i:03d}": np.full(8, i, np.float32) for i in range(count)}


def sum_of_leaves(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [8]: `x` plus all weights."""
    return x + sum(jax.tree.leaves(params))


def affine(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [batch, out]: one dense layer."""
    return jnp.tanh(x @ params["kernel"] + params["bias"])
