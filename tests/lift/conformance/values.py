"""Makes the arrays that rows are called with: small, repeatable, of any dtype."""

from __future__ import annotations

import zlib
from typing import Any

import jax.numpy as jnp
import numpy as np

DTYPES = {
    "f32": np.dtype("float32"),
    "i32": np.dtype("int32"),
    "bf16": np.dtype(jnp.bfloat16),
    "f64": np.dtype("float64"),
    "c64": np.dtype("complex64"),
}
_FIXED = {
    "bool": np.dtype(bool),
    "count": np.dtype("int32"),
    "f32": np.dtype("float32"),
    "c64": np.dtype("complex64"),
    "i32": np.dtype("int32"),
    "u8": np.dtype("uint8"),
    "u32": np.dtype("uint32"),
    "fraction": np.dtype("float32"),
    "index": np.dtype("int32"),
    "key": np.dtype("uint32"),
    "permutation": np.dtype("int32"),
}
_SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 0.5, 1e30, -1e-30)


def dtype_of(text: str, dtype: np.dtype) -> np.dtype:
    """Returns the dtype of an input; that of the column unless its kind has one of its own."""
    return _FIXED.get(_kind(text), dtype)


def shape_of(text: str, b: Any) -> tuple[Any, ...]:
    """Returns the sizes of an input, with `b` for the one of that name."""
    sizes = [size for size in text.partition(":")[0].split(",") if size]
    sizes += ["2"] if _kind(text) == "key" else []
    return tuple(b if size == "b" else b + 1 if size == "b+1" else int(size) for size in sizes)


def array(text: str, dtype: np.dtype, *, b: int, name: str, special: bool = False) -> np.ndarray:
    """Returns an input's values.

    Args:
      text: As in a recipe.
      dtype: Of the column.
      b: The size `b`.
      name: Anything; another name gives other values.
      special: Whether NaN, infinities, zeros of both signs and huge numbers are among them.
    """
    random = np.random.default_rng(zlib.crc32(f"{name} {text}".encode()))
    shape, dtype, kind = shape_of(text, b), dtype_of(text, dtype), _kind(text)
    if kind in _INTEGERS:
        return _INTEGERS[kind](random, shape).astype(dtype)
    values = _reals(random, shape, kind, dtype)
    if dtype.kind == "c":
        values = values + 1j * _reals(random, shape, kind, dtype)
    if special and not kind and dtype.kind not in "iub":
        flat = values.reshape(-1)
        flat[::2] = [_SPECIAL[i % len(_SPECIAL)] for i in range(len(flat[::2]))]
    return values.astype(dtype)


def _kind(text: str) -> str:
    return text.partition(":")[2]


def _permutation(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.argsort(random.random(shape), axis=-1)


_INTEGERS = {
    "bool": lambda random, shape: random.integers(0, 2, shape),
    "count": lambda random, shape: random.integers(1, 4, shape),
    "index": lambda random, shape: random.integers(0, 3, shape),
    "key": lambda random, shape: random.integers(0, 1 << 32, shape),
    "permutation": _permutation,
    "u8": lambda random, shape: random.integers(0, 256, shape),
    "u32": lambda random, shape: random.integers(0, 1 << 32, shape),
}


def _reals(
    random: np.random.Generator, shape: tuple[int, ...], kind: str, dtype: np.dtype
) -> np.ndarray:
    """Returns values in the range of a kind, away from integers unless the dtype is of them."""
    if dtype.kind == "b":
        return random.integers(0, 2, shape)
    low, high = {"positive": (0.2, 3.0), "unit": (0.05, 0.95), "fraction": (0.0, 1.0)}.get(
        kind, (-2.6, 2.6)
    )
    values = random.uniform(low, high, shape)
    if dtype.kind in "iu":
        limits = {"positive": (1, 5), "unit": (0, 2)}.get(kind, (-5, 6))
        values = random.integers(*limits, shape).astype(float)
    if kind == "sorted":
        return np.sort(values, axis=-1)
    if kind == "simplex":
        return (np.abs(values) + 0.1) / (np.abs(values) + 0.1).sum(axis=0)
    if kind in {"spd", "well"}:
        values = values @ np.swapaxes(values, -1, -2) if kind == "spd" else values
        return values + 6 * np.eye(shape[-1])
    return values
