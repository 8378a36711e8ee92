"""Numbers of a dense attribute as a NumPy array, for every element type of StableHLO.

The bindings share the memory of NumPy's own types. All others are read as MLIR prints them: up to a
hundred elements as a nested list, more as hexadecimal digits of their bytes.
"""

from __future__ import annotations

import re
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jaxlib.mlir import ir

from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.types import TensorType

_OPEN, _CLOSE = "dense<", "> : tensor<"
_RESOURCE = "dense_resource<"
_TOKEN: Final = re.compile(r"[^\s,()\[\]]+")


def dense_values(constant: ir.Operation, expected: TensorType) -> np.ndarray:
    """Returns the numbers of a constant operation.

    One number for all elements is broadcast, so it takes no memory for each; its strides are 0.

    Args:
      constant: Whose attribute "value" is a dense attribute.
      expected: The type of its result.

    Raises:
      NotLiftable: If the numbers are not in the module.
    """
    if expected.dtype.isbuiltin == 1 and expected.dtype.kind in "iufb":
        attribute = constant.attributes["value"]
        if isinstance(attribute, ir.DenseElementsAttr):
            return np.asarray(attribute)
    # The printed operation, because the bindings refuse to give an attribute of complex numbers.
    return _parse(str(constant.get_asm(enable_debug_info=False)), expected)


def resource_name(constant: ir.Operation) -> str | None:
    """Returns the name of the resource with a constant's numbers; None if they are in place."""
    try:
        attribute = constant.attributes["value"]
    except TypeError:
        return None  # Complex numbers in place, for which the bindings have no class.
    if isinstance(attribute, ir.DenseElementsAttr):
        return None
    printed = str(attribute)
    if not printed.startswith(_RESOURCE):
        return None
    return printed[len(_RESOURCE) : printed.rindex(_CLOSE)].strip('"')


def _parse(printed: str, expected: TensorType) -> np.ndarray:
    start = printed.index(_OPEN) + len(_OPEN)
    end = printed.rindex(_CLOSE)
    shape = expected.static_shape
    if printed.startswith('"0x', start):
        flat = from_bytes(bytes.fromhex(printed[start + 3 : end - 1]), expected.dtype)
    else:
        tokens = _TOKEN.findall(printed, start, end)
        flat = _from_tokens(tokens, expected.dtype)
    is_splat = flat.size == 1
    return np.broadcast_to(flat.reshape(()), shape) if is_splat else flat.reshape(shape)


def _from_tokens(tokens: list[str], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "c":
        parts = _from_tokens(tokens, np.dtype(f"f{dtype.itemsize // 2}"))
        return parts.view(dtype)
    if dtype.kind == "b":
        return np.array([token == "true" for token in tokens], bool)
    if jnp.issubdtype(dtype, jnp.integer):
        return np.array([int(token, 0) for token in tokens], np.int64).astype(dtype)
    bits = np.dtype(f"u{dtype.itemsize}")
    # NaN, infinities and what decimal digits cannot tell are printed as bits.
    numbers: list[Any] = [
        np.array(int(token, 16), bits).view(dtype) if token.startswith("0x") else float(token)
        for token in tokens
    ]
    return np.array(numbers, dtype) if numbers else np.empty(0, dtype)


def from_bytes(data: bytes, dtype: np.dtype) -> np.ndarray:
    """Returns little-endian elements as MLIR stores them, in whole bytes.

    Args:
      data: The bytes; integers of 2 or 4 bits have a byte each, whose upper bits are 0.
      dtype: Of the elements.

    Raises:
      NotLiftable: If they end inside an element.
    """
    if len(data) % dtype.itemsize:
        raise NotLiftable(f"{len(data)} bytes of {dtype} elements")
    if dtype.kind == "V" and jnp.issubdtype(dtype, jnp.integer):
        narrow = np.frombuffer(data, np.uint8).astype(np.int8)
        bits = jnp.iinfo(dtype).bits
        if jnp.issubdtype(dtype, jnp.signedinteger):
            sign = np.int8(1 << (bits - 1))
            narrow = (narrow ^ sign) - sign
        return narrow.astype(dtype)
    # Two numbers of a byte order that depends on the machine would be a silent error elsewhere.
    little = dtype.newbyteorder("<") if dtype.isbuiltin == 1 else dtype
    return np.frombuffer(data, little).astype(dtype, copy=False)
