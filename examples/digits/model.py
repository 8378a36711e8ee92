"""The author's side: a small Flax convolution net for handwritten digits, and its training."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax


class ConvNet(nn.Module):
    """Logits, float32 [batch, 10], of images, float32 [batch, 16, 16, 1]."""

    @nn.compact
    def __call__(self, x):
        """Applies two convolutions and two dense layers."""
        for features in (16, 32):
            x = nn.relu(nn.Conv(features, (3, 3))(x))
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(nn.Dense(64)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10)(x)


def apply_fn(params, x):
    """Returns the logits of `x`."""
    return ConvNet().apply({"params": params}, x)


def train(images: np.ndarray, labels: np.ndarray, *, epochs: int = 12, batch: int = 64):
    """Returns trained parameters.

    Args:
      images: float32 [n, 16, 16, 1].
      labels: int [n], 0 to 9.
      epochs: Passes over the data.
      batch: Images per step.
    """
    params = ConvNet().init(jax.random.key(0), images[:1])["params"]
    optimizer = optax.adam(2e-3)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        def loss(p):
            return optax.softmax_cross_entropy_with_integer_labels(apply_fn(p, x), y).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            chosen = order[start : start + batch]
            params, state = step(
                params, state, jnp.asarray(images[chosen]), jnp.asarray(labels[chosen])
            )
    return params
