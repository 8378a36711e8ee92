"""Values that are known while JAX traces: sizes, shapes and the platform.

A dimension's size may be a symbolic expression. It must stay one on its way through the integer
arithmetic of a module to the operation that takes it as a shape, so such values are not traced:
they are `Sizes`, or NumPy arrays where all is known. `folding` computes with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from orbax_model_lite.lift.problems import NotLiftable

_MOST_KNOWN_ELEMENTS = 256


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Integers of which at least one is a symbolic dimension expression.

    Attributes:
      values: Object array of ints and expressions, of rank 0 or more.
      dtype: The element type in the module.
    """

    values: np.ndarray
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of sizes itself."""
        return self.values.shape

    def as_array(self) -> jax.Array:
        """Returns the sizes as a traced array."""
        flat = [jnp.asarray(size, self.dtype) for size in self.values.flat]
        return jnp.stack(flat).reshape(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class PerPlatform:
    """An integer scalar that depends on the platform for which JAX lowers.

    Attributes:
      values: By platform ("cpu", "cuda", "rocm", "tpu").
      dtype: The element type in the module.
    """

    values: dict[str, int]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """A scalar's."""
        return ()

    def as_array(self) -> jax.Array:
        """Returns the number as a traced scalar; JAX settles it while it lowers."""
        branches = {
            platform: lambda value=value: jnp.asarray(value, self.dtype)
            for platform, value in self.values.items()
        }
        # A platform that the module does not know takes the variant of its first one.
        return jax.lax.platform_dependent(**branches, default=next(iter(branches.values())))


TraceTime: TypeAlias = Sizes | PerPlatform


def is_known(value: Any) -> bool:
    """Returns whether a value is a small array of integers or booleans known while tracing."""
    if isinstance(value, Sizes):
        return True
    return (
        isinstance(value, np.ndarray)
        and value.size <= _MOST_KNOWN_ELEMENTS
        and value.dtype.kind in "iub"
    )


def sizes(values: Any, dtype: np.dtype) -> Sizes | np.ndarray:
    """Returns known integers in their simplest form: a NumPy array if none is symbolic.

    Args:
      values: Ints and dimension expressions, as anything that NumPy makes an array of.
      dtype: The element type; integers wrap to its width as the operation itself would.
    """
    array = values if isinstance(values, np.ndarray) else _object_array(values)
    if not all(isinstance(size, (int, np.integer, np.bool_)) for size in array.flat):
        return Sizes(array, dtype)
    if dtype.kind == "b":
        return array.astype(bool)
    bits = 8 * dtype.itemsize
    wrapped = [int(size) % (1 << bits) for size in array.flat]
    if dtype.kind == "i":
        wrapped = [size - (1 << bits) if size >> (bits - 1) else size for size in wrapped]
    return np.array(wrapped, dtype).reshape(array.shape)


def _object_array(values: Any) -> np.ndarray:
    if not isinstance(values, (list, tuple)):
        array = np.empty((), object)
        array[()] = values
        return array
    array = np.empty(len(values), object)
    array[:] = values
    return array


def is_concrete(value: Any) -> bool:
    """Returns whether a value is a JAX array with numbers, so that nothing is traced."""
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)


def shape_of(value: Any) -> tuple[Any, ...]:
    """Returns the sizes in a known vector, as ints and dimension expressions.

    Sizes that are computed from data have values where nothing is traced.

    Raises:
      NotLiftable: If they are computed from data while tracing.
    """
    if isinstance(value, Sizes):
        return tuple(value.values.reshape(-1).tolist())
    if isinstance(value, np.ndarray) or is_concrete(value):
        return tuple(int(size) for size in np.asarray(value).reshape(-1))
    raise NotLiftable("a shape that is computed from the values of arrays")


def as_arrays(values: Sequence[Any]) -> list[Any]:
    """Returns values with sizes and platform choices as traced arrays, the others as they are."""
    return [v.as_array() if isinstance(v, (Sizes, PerPlatform)) else v for v in values]


def jax_arrays(values: Sequence[Any]) -> list[Any]:
    """Returns values as JAX arrays: those that are known while tracing too, and NumPy arrays."""
    arrays = as_arrays(values)
    return [jnp.asarray(a) if isinstance(a, np.ndarray | np.generic) else a for a in arrays]
