"""Random programs of a few operations: lifted, they and their gradients are the original's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax import lax

from orbax_model_lite import jax2obm, lift

pytestmark = pytest.mark.frameworks

Array = Any


def _scanned(x: Array) -> Array:
    return lax.scan(lambda c, row: (jnp.tanh(c + row), c - row), x[:, 0] * 0.5, x.T)[1].T


def _counted(x: Array) -> Array:
    return lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) + i.astype(y.dtype) * 0.1, x)


def _chosen(x: Array, y: Array) -> Array:
    return lax.cond(x.sum() > y.sum(), lambda a, b: a - b, lambda a, b: a * b, x, y)


def _updated(x: Array, y: Array) -> Array:
    return lax.dynamic_update_slice_in_dim(x, y[:, :2], jnp.argmax(x[0]) % 3, axis=1)


def _windowed(x: Array) -> Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "SAME")


def _gathered(x: Array, y: Array) -> Array:
    return jnp.take_along_axis(x, jnp.argsort(y, axis=1), axis=1)


UNARY: dict[str, Callable[[Array], Array]] = {
    "absolute": jnp.abs,
    "counted": _counted,
    "cumulated": lambda x: jnp.cumsum(x, axis=1) * 0.5,
    "flipped": lambda x: x[:, ::-1],
    "gated": jax.nn.relu,
    "half": lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
    "logistic": jax.nn.sigmoid,
    "normalized": lambda x: x - x.mean(axis=1, keepdims=True),
    "padded": lambda x: jnp.pad(x, ((0, 0), (1, 1)))[:, :4],
    "power": lambda x: x**3 * 0.1,
    "reshaped": lambda x: (x.reshape(-1, 2, 2) * 1.5).reshape(-1, 4),
    "root": lambda x: jnp.sqrt(jnp.abs(x) + 0.1),
    "scanned": _scanned,
    "shares": lambda x: jax.nn.softmax(x, axis=1),
    "sine": jnp.sin,
    "sorted": lambda x: jnp.sort(x, axis=1),
    "stopped": lambda x: lax.stop_gradient(x) * x,
    "summed": lambda x: jnp.broadcast_to(x.sum(axis=1, keepdims=True), x.shape) * 0.2,
    "tangent": jnp.tanh,
    "turned": lambda x: jnp.concatenate([x[:, 1:], x[:, :1]], axis=1),
    "windowed": _windowed,
}

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "added": jnp.add,
    "angle": jnp.arctan2,
    "attended": lambda x, y: jax.nn.softmax(x @ y.T * 0.1, axis=1) @ y,
    "chosen": _chosen,
    "divided": lambda x, y: x / (1 + y * y),
    "gathered": _gathered,
    "joined": lambda x, y: jnp.concatenate([x, y], axis=1)[:, ::2],
    "larger": jnp.maximum,
    "multiplied": lambda x, y: x * y * 0.5,
    "scattered": lambda x, y: x.at[:, jnp.array([0, 2])].add(y[:, 1:3]),
    "selected": lambda x, y: jnp.where(x > y, x, jnp.sin(y)),
    "subtracted": jnp.subtract,
    "updated": _updated,
    "weighed": lambda x, y: x @ (y.T @ y) * 0.05,
}

Step = tuple[str, int, int]
STEP = st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 99), st.integers(0, 99))
PROGRAMS = st.lists(STEP, min_size=1, max_size=7)
VALUES = st.integers(0, 2**31).map(
    lambda seed: np.random.default_rng(seed).uniform(-2, 2, (2, 3, 4)).astype(np.float32)
)


def program(steps: Sequence[Step]) -> Callable[[Array, Array], Array]:
    """Returns a function of two arrays [b, 4]; each step takes any of the values before it."""

    def run(x: Array, y: Array) -> Array:
        known = [x, y]
        for name, first, second in steps:
            one, other = known[first % len(known)], known[second % len(known)]
            known.append(UNARY[name](one) if name in UNARY else BINARY[name](one, other))
        return known[-1]

    return run


def lifted(run: Callable[[Array, Array], Array], size: str) -> Callable[[Array, Array], Array]:
    """Returns the program, stored with a leading size and lifted."""
    stored = jax2obm.convert(run, (f"{size}, 4", f"{size}, 4"), platforms=["cpu"])
    return lift.lift_function(stored)


def gradients(
    run: Callable[[Array, Array], Array],
) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Returns what computes the derivatives of a weighted sum of the results by both arrays."""
    weights = jnp.cos(jnp.arange(12.0)).reshape(3, 4)
    return jax.grad(lambda x, y: (run(x, y) * weights).sum(), argnums=(0, 1))


def require_equal(found: Callable[..., Any], expected: Callable[..., Any], values: Array) -> None:
    """Compares two functions of two arrays, compiled together."""
    both = jax.jit(
        lambda *given: (jax.tree.leaves(found(*given)), jax.tree.leaves(expected(*given)))
    )
    for one, other in zip(*both(*values), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", ["3", "b"], ids=["static", "symbolic"])
@hypothesis.settings(max_examples=20, derandomize=True)
@hypothesis.given(steps=PROGRAMS, values=VALUES)
def test_a_lifted_program_gives_the_original_numbers(size: str, steps: list[Step], values: Array):
    run = program(steps)
    require_equal(lifted(run, size), run, values)


@pytest.mark.parametrize("size", ["3", "b"], ids=["static", "symbolic"])
@hypothesis.settings(max_examples=20, derandomize=True)
@hypothesis.given(steps=PROGRAMS, values=VALUES)
def test_a_lifted_program_has_the_original_gradients(size: str, steps: list[Step], values: Array):
    run = program(steps)
    require_equal(gradients(lifted(run, size)), gradients(run), values)
