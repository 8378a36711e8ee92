"""Functions that carry their VJPs in memory, as the objects of a bundle that refer to each other.

On disk a function names the object that computes its VJP, which may name its own in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orbax_model_lite.core.function import (
    ConcreteFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.object_names import free_name
from orbax_model_lite.core.value import Object


def with_vjps_as_objects(objects: Mapping[str, Object]) -> dict[str, Object]:
    """Returns objects with every VJP that a function carries as a private object of its own.

    The VJP of `f` is called `f_vjp`, or the first of `f_vjp_1`, `f_vjp_2`, ... that is free, unless
    the function says a name. A bundle's own objects come back as they are.

    Args:
      objects: By name.
    """
    found = dict(objects)
    for name, entry in objects.items():
        if isinstance(entry, PolymorphicFunction):
            variants = [
                _linked(function, f"{name}_{i}", found)
                for i, function in enumerate(entry.functions)
            ]
            if any(new is not old for new, old in zip(variants, entry.functions, strict=True)):
                found[name] = replace(entry, functions=tuple(variants))
        elif isinstance(entry, ShloFunction):
            found[name] = _linked(entry, name, found)
    return found


def _linked(function: ConcreteFunction, name: str, objects: dict[str, Object]) -> ConcreteFunction:
    """Returns a function that names its VJP; that one is among the objects now."""
    if not isinstance(function, ShloFunction) or function.vjp is None:
        return function
    vjp_name = function.gradient_function_name or free_name(f"{name}_vjp", objects)
    # Its place is taken before its own VJP looks for a name.
    objects[vjp_name] = function.vjp
    vjp = _linked(function.vjp, vjp_name, objects)
    assert isinstance(vjp, ShloFunction)
    objects[vjp_name] = replace(vjp, visibility=Visibility.PRIVATE)
    return replace(function, vjp=None, gradient_function_name=vjp_name)
