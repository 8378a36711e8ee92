"""Leaves of a call between what a caller sees and what a module takes.

A typed PRNG key is its words for the module, a float0 (the tangent of an integer) is false.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.jaxtypes import keys


def to_physical(spec: Any, leaf: Any) -> Any:
    """Returns what the module takes for a leaf: the words of a key, false for float0."""
    if isinstance(spec, Spec) and spec.dtype is DType.FLOAT0:
        # Of a key there may be words here, which a cotangent has not.
        rank = len(spec.shape or ())
        return jnp.zeros(spec.shape if spec.is_static else leaf.shape[:rank], jnp.bool_)
    if keys.is_key(leaf.dtype):
        return jax.random.key_data(leaf)
    return leaf


def to_logical(spec: Any, leaf: Any, where: str) -> Any:
    """Returns what the caller gets for a result: a typed key for its words, float0 for false.

    Raises:
      UnsupportedError: If this JAX does not know the kind of key.
    """
    if spec.dtype is DType.FLOAT0:
        return np.zeros(leaf.shape, jax.dtypes.float0)
    return keys.wrap(leaf, spec.logical, where) if spec.logical else leaf
