"""Typed PRNG keys: the author sees key<fry>, the module takes the key's words as uint32.

The names ("key<fry>") are JAX's own and stand in `Spec.logical`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax

from orbax_model_lite.errors import UnsupportedError

_IMPLEMENTATIONS = ("threefry2x32", "rbg", "unsafe_rbg")


def is_key(dtype: Any) -> bool:
    """Returns whether a JAX dtype is that of typed PRNG keys."""
    return jax.numpy.issubdtype(dtype, jax.dtypes.prng_key)


def key_dtype(logical: str, where: str) -> Any:
    """Returns the JAX dtype that "key<fry>" and the like name.

    Raises:
      UnsupportedError: If this JAX has no such generator.
    """
    return _known(logical, where)[0]


def words_shape(logical: str, where: str) -> tuple[int, ...]:
    """Returns the trailing dimensions that a key has as uint32 words: (2,) for "key<fry>"."""
    return _known(logical, where)[1]


def wrap(words: jax.Array, logical: str, where: str) -> jax.Array:
    """Returns typed keys [...] from their words, uint32 [..., n]."""
    return jax.random.wrap_key_data(words, impl=_known(logical, where)[2])


def words_of(dtype: Any) -> tuple[int, ...]:
    """Returns the trailing dimensions of the words of keys with this JAX dtype."""
    return _words(dtype)


def _known(logical: str, where: str) -> tuple[Any, tuple[int, ...], str]:
    known = _table()
    if logical not in known:
        raise UnsupportedError(
            f"{where}: expected a PRNG key type among {', '.join(sorted(known))}; "
            f"found {logical!r}; pass the key's words as uint32 instead"
        )
    return known[logical]


@functools.cache
def _table() -> dict[str, tuple[Any, tuple[int, ...], str]]:
    found = {}
    for name in _IMPLEMENTATIONS:
        # Shapes only: no key is made.
        key = jax.eval_shape(functools.partial(jax.random.key, 0, impl=name))
        found[str(key.dtype)] = (key.dtype, _words(key.dtype), name)
    return found


def _words(dtype: Any) -> tuple[int, ...]:
    key = jax.ShapeDtypeStruct((), dtype)
    return tuple(jax.eval_shape(jax.random.key_data, key).shape)
