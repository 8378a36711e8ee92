"""Calling a polymorphic function: the arguments choose the concrete one that fits best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature, format_tree
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import leaves, map_leaves, structure_differences
from orbax_model_lite.errors import SignatureMismatchError


@final
class PolymorphicCallable:
    """Several bound functions under one name."""

    def __init__(
        self, name: str, signatures: Sequence[Signature], bind: Callable[[int], Callable[..., Any]]
    ) -> None:
        """Prepares the choice.

        Args:
          name: Of the object.
          signatures: Of the concrete functions, in the author's order.
          bind: Gives the callable of the i-th concrete function.
        """
        self._name = name
        self._signatures = tuple(signatures)
        self._bind = bind
        # Stable: among equally precise ones the author's order decides.
        self._order = sorted(range(len(signatures)), key=lambda i: _openness(signatures[i]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the most precise function whose signature takes the arguments.

        Raises:
          SignatureMismatchError: If none does; the message lists them.
        """
        return self._bind(self.choose(*args, **kwargs))(*args, **kwargs)

    def choose(self, *args: Any, **kwargs: Any) -> int:
        """Returns the index of the concrete function that takes the arguments.

        Raises:
          SignatureMismatchError: If none does; the message lists them.
        """
        index = self.find(*args, **kwargs)
        if index is not None:
            return index
        found = ", ".join(
            [format_tree(_specs(arg)) for arg in args]
            + [f"{name}={format_tree(_specs(arg))}" for name, arg in kwargs.items()]
        )
        variants = "\n".join(f"  {signature}" for signature in self._signatures)
        raise SignatureMismatchError(
            f"polymorphic function {self._name!r}: expected arguments for one of\n{variants}\n"
            f"found ({found})"
        )

    def find(self, *args: Any, **kwargs: Any) -> int | None:
        """Returns the index of the concrete function that takes the arguments; None for none."""
        given = (args, kwargs)
        for i in self._order:
            if _takes(self._signatures[i], given):
                return i
        return None


def _openness(signature: Signature) -> tuple[int, int]:
    """Returns how much a signature leaves open: unknown ranks, then open dimensions."""
    specs = [leaf for leaf in signature.input_leaves if isinstance(leaf, Spec)]
    ranks = sum(spec.shape is None for spec in specs)
    dims = sum(not isinstance(dim, int) for spec in specs for dim in spec.shape or ())
    return ranks, dims


def _takes(signature: Signature, given: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    wanted = (signature.args, signature.kwargs)
    if structure_differences(wanted, given):
        return False
    symbols: dict[str, int] = {}
    return all(
        _takes_leaf(want, have, symbols)
        for want, have in zip(leaves(wanted), leaves(given), strict=True)
    )


def _takes_leaf(want: Any, have: Any, symbols: dict[str, int]) -> bool:
    if not isinstance(want, Spec):
        return True
    spec = _spec(have)
    if want.dtype not in (spec.dtype, DType.UNSPECIFIED):
        return False
    if want.shape is None:
        return True
    if spec.shape is None or len(want.shape) != len(spec.shape):
        return False
    for expected, size in zip(want.shape, spec.shape, strict=True):
        if isinstance(expected, int) and expected != size:
            return False
        if not isinstance(expected, str) or not isinstance(size, int):
            continue
        if expected.isidentifier() and symbols.setdefault(expected, size) != size:
            return False
    return True


def _specs(tree: Any) -> Any:
    return map_leaves(_spec, tree)


def _spec(leaf: Any) -> Spec:
    array = leaf if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else np.asarray(leaf)
    shape = tuple(dim if isinstance(dim, int) else str(dim) for dim in array.shape)
    try:
        dtype = DType.from_numpy(array.dtype)
    except TypeError:
        # A typed PRNG key: no NumPy type, so its data decide inside the engine.
        dtype = DType.UNSPECIFIED
    return Spec(shape=shape, dtype=dtype)
