"""The rows of the table: every public callable with the ways to call it."""

from __future__ import annotations

from tests.lift.conformance import (
    control_recipes,
    lax_recipes,
    library_recipes,
    numpy_recipes,
    random_recipes,
)
from tests.lift.conformance.callables import public_callables
from tests.lift.conformance.left_out import LEFT_OUT
from tests.lift.conformance.recipes import Recipe, guesses

RECIPES: dict[str, Recipe] = {
    **numpy_recipes.RECIPES,
    **lax_recipes.RECIPES,
    **control_recipes.RECIPES,
    **library_recipes.RECIPES,
    **random_recipes.RECIPES,
}


def row_names() -> list[str]:
    """Returns the names of all rows that are not left out from the start, sorted."""
    return [name for name in public_callables() if name not in LEFT_OUT]


def recipes_of(name: str) -> list[Recipe]:
    """Returns how to call a callable: its own recipe, or guesses of which the first that works."""
    own = RECIPES.get(name)
    return [own] if own else guesses(public_callables()[name])
