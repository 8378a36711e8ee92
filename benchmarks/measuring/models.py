"""Models to measure with, as plain JAX functions and their weights."""

from __future__ import annotations

from collections.abc import Callable
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


def for_lifting(*, is_small: bool) -> list[tuple[str, Callable[..., Any], Any, np.ndarray]]:
    """Returns name, function, weights and input of four nets of different make."""
    size = 16 if is_small else 256
    batch = 2 if is_small else 32
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) / np.float32(shape[-1])

    attention = {name: array(size, size) for name in ("q", "k", "v", "out")}
    ends = {"up": array(size, 4 * size), "down": array(4 * size, size)}
    kernels = [array(3, 3, 3, 16), array(3, 3, 16, 32), array(3, 3, 32, 32)]
    cell = {"input": array(size, size), "state": array(size, size)}
    return [
        (
            "MLP",
            residual_apply,
            residual_params(layers=4, width=size),
            array(batch, size),
        ),
        ("conv net", conv_net, {"kernels": kernels, "out": array(32, 10)}, array(batch, 32, 32, 3)),
        ("transformer block", transformer_block, attention | ends, array(batch // 2, 64, size)),
        ("scanned RNN", scanned_rnn, cell, array(64, batch, size)),
    ]


def conv_net(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [batch, 10] for float32 [batch, height, width, 3]."""
    for kernel in params["kernels"]:
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.mean(axis=(1, 2)) @ params["out"]


def transformer_block(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [batch, time, width] for the same: attention of four heads, then an MLP."""
    batch, time, width = x.shape

    def heads(kernel: jax.Array) -> jax.Array:
        return (normed(x) @ kernel).reshape(batch, time, 4, width // 4)

    query, key, value = (heads(params[name]) for name in ("q", "k", "v"))
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", query, key), axis=-1)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape)
    x = x + mixed @ params["out"]
    return x + jax.nn.gelu(normed(x) @ params["up"]) @ params["down"]


def normed(x: jax.Array) -> jax.Array:
    """Returns `x` with zero mean and unit variance over its last dimension."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)


def scanned_rnn(params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Returns float32 [time, batch, width] for the same: a plain recurrent cell under scan."""

    def step(state: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.tanh(now @ params["input"] + state @ params["state"])
        return state, state

    return jax.lax.scan(step, jnp.zeros(x.shape[1:], x.dtype), x)[1]
