"""Large flat dicts of arrays taken apart before JAX sees them.

JAX sorts the keys of every dict at every call. For hundreds of weights by name that costs more than
all the rest of a call, and the names are known from the signature.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import Tree

_FEWEST: Final = 16
"""With fewer leaves JAX is as fast."""


@final
class Row:
    """The leaves of a flat dict with known keys, in a row."""

    __slots__ = ("_names", "_take")

    def __init__(self, names: Sequence[str]) -> None:
        """Prepares for these keys, at least two."""
        self._names = tuple(names)
        self._take = operator.itemgetter(*names)

    def of(self, tree: Any) -> tuple[Any, ...] | None:
        """Returns the values of a dict; None if it is none, or has other keys."""
        if type(tree) is not dict or len(tree) != len(self._names):
            return None
        try:
            return self._take(tree)
        except KeyError:
            return None

    def dict(self, row: Sequence[Any]) -> dict[str, Any]:
        """Returns the dict again."""
        return dict(zip(self._names, row, strict=True))


def row_of(tree: Tree) -> Row | None:
    """Returns how to take apart what a signature's tree stands for; None if JAX does it as well."""
    if not isinstance(tree, Mapping) or len(tree) < _FEWEST:
        return None
    is_flat = all(isinstance(leaf, (Spec, Token)) for leaf in tree.values())
    return Row(list(tree)) if is_flat else None
