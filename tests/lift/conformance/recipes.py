"""How a callable is called in its row: `Recipe`, and the guess for what has none of its own.

An input is told by a short text, "b,4:positive": sizes, then what the values are like (`values`).
The size `b` is the one that becomes symbolic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

Call = Callable[..., Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to call a function of JAX with arrays.

    Attributes:
      make: From a dtype, the function over the arrays alone.
      inputs: What each array is like.
      dtypes: Names of the columns that make sense; None is all.
      gradient: False where the original has no derivative to compare with: its result jumps, or is
        known only up to a sign.
      tolerance: Times what the dtype allows; more than 1 where errors are amplified.
    """

    make: Callable[[Any], Call]
    inputs: tuple[str, ...]
    dtypes: tuple[str, ...] | None = None
    gradient: bool = True
    tolerance: float = 1


def row(call: Call, *inputs: str, **options: Any) -> Recipe:
    """Returns the recipe for a call that does not depend on the dtype of the column."""
    return Recipe(make=lambda dtype: call, inputs=inputs, **options)


def typed(make: Callable[[Any], Call], *inputs: str, **options: Any) -> Recipe:
    """Returns the recipe for a call that takes the column's dtype as an argument."""
    return Recipe(make=make, inputs=inputs, **options)


def sized(make: Callable[[Any, Any], Any]) -> Recipe:
    """Returns the recipe for what makes an array of a size and a dtype, `make(size, dtype)`."""
    return typed(lambda dtype: lambda x: make(x.shape[0], dtype), "b:f32")


_GUESSES = ("b,4", "b,3,3", "b", "4")


def guesses(function: Call) -> list[Recipe]:
    """Returns calls to try for a function without a recipe: equal arrays for what it requires."""
    counts = _required(function)
    return [row(function, *[shape] * count) for shape in _GUESSES for count in counts]


def _required(function: Call) -> list[int]:
    """Returns how many arrays to pass; several guesses where the signature does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return [1, 2]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return [len(required)] if required or not variadic else [1, 2]
