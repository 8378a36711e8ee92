"""Functions for several sizes under one name: the symbolic one, and others with fixed sizes.

The author's function is converted once more for each; the runtime takes the most precise that fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax

from orbax_model_lite.core.function import Function, PolymorphicFunction, ShloFunction
from orbax_model_lite.errors import InvalidModelError, unknown_name
from orbax_model_lite.jaxtypes.fixing import fixed_leaf, remaining
from orbax_model_lite.jaxtypes.shapes import DimScope
from orbax_model_lite.packing.chain import Chain


def with_variants(
    chain: Chain, specializations: Sequence[Mapping[str, int]], constraints: Sequence[str]
) -> dict[str, Function]:
    """Returns a chain's functions, polymorphic where they have a symbol of a specialization.

    Args:
      chain: Converted.
      specializations: Sizes by symbol, one mapping for each variant: `[{"b": 1}, {"b": 8}]`.
      constraints: On symbolic dimensions, as in `pack`.

    Raises:
      UnknownNameError: If no function has such a symbol.
      InvalidModelError: If a size is no integer of zero or more, or breaks a constraint.
    """
    shlo = {n: f for n, f in chain.functions.items() if isinstance(f, ShloFunction)}
    known = {symbol for function in shlo.values() for symbol in function.signature.symbols}
    for sizes in specializations:
        _require_sizes(sizes, known)
    return {
        name: _polymorphic(chain, name, function, specializations, constraints)
        if isinstance(function, ShloFunction)
        else function
        for name, function in chain.functions.items()
    }


def _require_sizes(sizes: Mapping[str, int], known: set[str]) -> None:
    if not sizes:
        raise InvalidModelError(
            "specializations: expected sizes by symbol; found an empty mapping; "
            'pass for example [{"b": 1}, {"b": 8}]'
        )
    for symbol, size in sizes.items():
        if symbol not in known:
            raise unknown_name("symbolic dimension", symbol, known)
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidModelError(
                f"specialization {symbol}: expected an integer of zero or more; found {size!r}; "
                "pass a size"
            )


def _polymorphic(
    chain: Chain,
    name: str,
    function: ShloFunction,
    specializations: Sequence[Mapping[str, int]],
    constraints: Sequence[str],
) -> Function:
    own = [
        {symbol: size for symbol, size in sizes.items() if symbol in function.signature.symbols}
        for sizes in specializations
    ]
    order = function.vjp_order
    variants = [_converted(chain, name, s, constraints, vjp_order=order) for s in own if s]
    return PolymorphicFunction(functions=(function, *variants)) if variants else function


def _converted(
    chain: Chain,
    name: str,
    sizes: Mapping[str, int],
    constraints: Sequence[str],
    *,
    vjp_order: int,
) -> ShloFunction:
    where = f"function {name!r}"
    left = remaining(constraints, sizes, where)
    scope = DimScope(left)
    args, kwargs = jax.tree.map(
        lambda leaf: fixed_leaf(leaf, sizes, scope, where), chain.calls[name]
    )
    found = chain.convert(
        chain.callables[name], args, kwargs, name=name, constraints=left, vjp_order=vjp_order
    )
    assert isinstance(found, ShloFunction)
    return found
