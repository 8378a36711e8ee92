"""Finds the public callables of JAX's array libraries by walking the modules themselves."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Callable, Iterator
from typing import Any

ROOTS = ("jax.numpy", "jax.lax", "jax.nn", "jax.scipy", "jax.random", "jax.image")


def public_callables() -> dict[str, Callable[..., Any]]:
    """Returns every public callable by its dotted name, "jax.numpy.linalg.svd", sorted."""
    found = {
        f"{module.__name__}.{name}": value
        for root in ROOTS
        for module in _modules(root)
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_")
    }
    return dict(sorted(found.items()))


def _modules(name: str) -> Iterator[types.ModuleType]:
    """Yields a module and, whether its parent imports them or not, its public submodules."""
    module = importlib.import_module(name)
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not info.name.startswith("_"):
            yield from _modules(f"{name}.{info.name}")
