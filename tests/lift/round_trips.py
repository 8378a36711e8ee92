"""A function exported, lifted and compared with itself: values, derivatives, vmap, other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from orbax_model_lite.lift import LiftedModule, lift_module

Function = Callable[..., Any]


def lifted(function: Function, *specs: Any, **options: Any) -> LiftedModule:
    """Returns what the export of a function lifts to."""
    exported = jax.export.export(jax.jit(function), **options)(*specs)
    return lift_module(bytes(exported.mlir_module_serialized))


def require_same(function: Function, *arrays: Any, rtol: float = 1e-5, **options: Any) -> None:
    """Asserts that a lifted function gives what it gave, also under jit and vmap."""
    found = lifted(function, *arrays, **options)
    expected = jax.tree.leaves(jax.jit(function)(*arrays))
    twice = [np.stack([array, array]) for array in arrays]
    require_equal(found(*arrays), expected, rtol)
    require_equal(jax.jit(found)(*arrays), expected, rtol)
    require_equal([x[1] for x in jax.vmap(found)(*twice)], expected, rtol)


def require_same_gradient(function: Function, *arrays: Any, rtol: float = 1e-4) -> None:
    """Asserts that a lifted function has the gradient of the function itself."""
    found = lifted(function, *arrays)
    places = tuple(i for i, array in enumerate(arrays) if array.dtype.kind == "f")
    require_equal(
        jax.grad(_scalar(found), places)(*arrays),
        jax.grad(_scalar(jax.jit(function)), places)(*arrays),
        rtol,
    )


def require_same_when_symbolic(
    function: Function, specs: Sequence[Any], *arrays: Any, rtol: float = 1e-5
) -> None:
    """Asserts that sizes stay symbolic: what is lifted can be exported again."""
    found = lifted(function, *specs)
    again = jax.export.export(jax.jit(found))(*specs)
    expected = jax.tree.leaves(jax.jit(function)(*arrays))
    require_equal(found(*arrays), expected, rtol)
    require_equal(again.call(*arrays), expected, rtol)


def require_equal(found: Sequence[Any], expected: Sequence[Any], rtol: float) -> None:
    """Asserts that arrays have the same dtypes and, up to rounding, the same numbers."""
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype == wanted.dtype
        kind = np.complex64 if actual.dtype.itemsize <= 4 else None
        np.testing.assert_allclose(
            np.asarray(actual).astype(kind or actual.dtype),
            np.asarray(wanted).astype(kind or wanted.dtype),
            rtol=rtol,
            atol=rtol / 10,
        )


def _scalar(function: Function) -> Function:
    def run(*arrays: Any) -> Any:
        results = jax.tree.leaves(function(*arrays))
        floats = [x for x in results if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(jnp.sum(jnp.sin(x)) for x in floats)

    return run
