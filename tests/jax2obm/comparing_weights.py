"""Trees of weights, compared to the bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from orbax_model_lite.core.tree import flatten_with_path


def words(array):
    """Returns typed PRNG keys as words, any other array as it is."""
    is_key = hasattr(array, "dtype") and jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if is_key else array)


def require_equal(found, expected):
    """Checks containers, shapes, element types and every bit."""
    same_containers = jax.tree.map(lambda _: 0, found, is_leaf=lambda x: x is None)
    assert same_containers == jax.tree.map(lambda _: 0, expected, is_leaf=lambda x: x is None)
    for (path, a), (_, b) in zip(
        flatten_with_path(found), flatten_with_path(expected), strict=True
    ):
        have, want = words(a), words(b)
        assert (have.shape, have.dtype) == (want.shape, want.dtype), path
        assert have.tobytes() == want.tobytes(), path
