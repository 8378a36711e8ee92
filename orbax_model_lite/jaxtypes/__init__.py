"""The nouns of the format in JAX's terms: dimensions, typed keys, trees, shardings, arguments.

Both directions of each, for the rooms that convert, call and lift functions; none of them traces,
lowers or runs anything. Each name is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.jaxtypes.trees import make_plain, plain

_PLACES = {"make_plain": "trees", "plain": "trees"}

__all__ = ["make_plain", "plain"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
