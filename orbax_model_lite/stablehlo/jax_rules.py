"""JAX's own functions and primitives that a mark may name, and nothing else.

Both sides use these lists: who writes marks names nothing outside of them, and who reads a bundle
calls nothing outside of them.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from typing import Any, Final

import jax
from jax.extend.core import Primitive, primitives

LIBRARY_NAMESPACES: Final = (
    "jax.nn",
    "jax.numpy",
    "jax.numpy.linalg",
    "jax.lax",
    "jax.lax.linalg",
    "jax.scipy.special",
    "jax.scipy.linalg",
    "jax.scipy.stats",
    "jax.random",
    "jax.image",
)

PRIMITIVE_NAMES: Final = (
    "bessel_i0e",
    "bessel_i1e",
    "cholesky",
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "digamma",
    "eig",
    "eigh",
    "erf_inv",
    "erfc",
    "hessenberg",
    "householder_product",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "lgamma",
    "logistic",
    "lu",
    "polygamma",
    "qr",
    "regularized_incomplete_beta",
    "schur",
    "svd",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
    "zeta",
)
"""Primitives that can be bound again, by name and static parameters.

All have a derivative that the program they lower to does not have: a call of a foreign kernel, a
loop, a reduction by an arbitrary function, or formulas that overflow where the result does not.
"""

LONGEST_PARAMETERS: Final = 4096
"""Characters in the text of a primitive's parameters."""


def rule_holder(value: Any) -> jax.custom_jvp[Any] | jax.custom_vjp[Any] | None:
    """Returns the custom_jvp or custom_vjp function that a value is, or wraps; None for others."""
    while value is not None:
        if isinstance(value, (jax.custom_jvp, jax.custom_vjp)):
            return value
        value = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None
    return None


def library_function(name: str) -> Callable[..., Any] | None:
    """Returns a public function of JAX that carries a derivative rule; None for anything else.

    Args:
      name: Qualified: "jax.nn.relu".
    """
    namespace, _, short = name.rpartition(".")
    if namespace not in LIBRARY_NAMESPACES or short.startswith("_"):
        return None
    found = getattr(importlib.import_module(namespace), short, None)
    return found if rule_holder(found) else None


def primitive(name: str) -> Primitive | None:
    """Returns a primitive that can be bound again; None for any other, or if JAX has it no more."""
    return getattr(primitives, f"{name}_p", None) if name in PRIMITIVE_NAMES else None


def parameters(text: str) -> dict[str, Any] | None:
    """Returns a primitive's static parameters; None if the text is no literal of them.

    Args:
      text: From a bundle. It is read as a literal and never evaluated.
    """
    if len(text) > LONGEST_PARAMETERS:
        return None
    try:
        found = ast.literal_eval(text or "{}")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    is_named = isinstance(found, dict) and all(isinstance(key, str) for key in found)
    return found if is_named else None
