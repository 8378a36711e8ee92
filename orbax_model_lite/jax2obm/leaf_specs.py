"""The author's leaves (arrays, scalars, structs, specs, shorthand) as what JAX is to trace.

All symbolic dimensions of one call end up in one scope, wherever they came from. Spelling and
conversion of a single spec is in `shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.export
import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec, dim_names
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes import keys
from orbax_model_lite.jaxtypes.shapes import DimScope, parse_shorthand, scope_constraints, to_struct


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSpecs:
    """What to trace a function with.

    Attributes:
      structs: One per leaf.
      scope: Of all their symbolic dimensions.
      is_wide: Whether one asks for a type that JAX keeps in x64 mode only.
    """

    structs: tuple[jax.ShapeDtypeStruct, ...]
    scope: DimScope
    is_wide: bool


def traced_specs(
    named: Sequence[tuple[str, Any]], constraints: tuple[str, ...], where: str
) -> TracedSpecs:
    """Returns what JAX is to trace for the leaves of one call.

    Args:
      named: The beginning of an error message, and the leaf: an array, Python scalar,
        ShapeDtypeStruct, Spec or shorthand.
      constraints: On symbolic dimensions, besides those that given dimensions bring along.
      where: The beginning of an error message about all of them.

    Raises:
      InvalidModelError: If a leaf is none of these, or a constraint speaks of no dimension.
    """
    described = [leaf_spec(leaf, at) for at, leaf in named]
    is_wide = any(map(_is_wide, described))
    if is_wide:
        # In x64 mode JAX no longer narrows the NumPy arrays among them.
        with jax.enable_x64(True):
            described = [leaf_spec(leaf, at) for at, leaf in named]
    scope = _shared_scope(described, constraints)
    structs = tuple(
        to_struct(spec, scope, at) if isinstance(spec, Spec) else in_scope(spec, scope, at)
        for (at, _), spec in zip(named, described, strict=True)
    )
    _require_known_symbols(constraints, described, where)
    return TracedSpecs(structs=structs, scope=scope, is_wide=is_wide)


def leaf_spec(leaf: Any, where: str) -> Spec | jax.ShapeDtypeStruct:
    """Returns what an author's leaf describes: a Spec from ours, otherwise JAX's struct.

    Arrays and Python scalars are described as JAX would trace them: NumPy's 64-bit types narrow to
    32 bits while x64 mode is off, a Python scalar is weakly typed, and the NamedSharding of an
    array on several devices is kept.

    Raises:
      InvalidModelError: If the leaf is not an array or a description of one.
    """
    if isinstance(leaf, str):
        return parse_shorthand(leaf, where)
    if isinstance(leaf, (Spec, jax.ShapeDtypeStruct)):
        return leaf
    if isinstance(leaf, jax.Array):
        aval = jax.typeof(leaf)
        return jax.ShapeDtypeStruct(
            aval.shape, aval.dtype, weak_type=aval.weak_type, sharding=_named_sharding(leaf)
        )
    if isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic):
        aval = jax.typeof(leaf)
        return jax.ShapeDtypeStruct((), aval.dtype, weak_type=aval.weak_type)
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    if shape is None or dtype is None or DType.from_numpy(dtype) is DType.STRING:
        raise InvalidModelError(
            f"{where}: expected an array, a ShapeDtypeStruct, a spec or shorthand; found "
            f"{_describe(leaf)}; name the argument in static_argnames if it is no array"
        )
    return jax.ShapeDtypeStruct(tuple(shape), _as_traced(dtype))


def _as_traced(dtype: Any) -> np.dtype:
    found = np.dtype(dtype)
    return found if found == jax.dtypes.float0 else jax.dtypes.canonicalize_dtype(found)


def _named_sharding(array: jax.Array) -> jax.sharding.NamedSharding | None:
    sharding = getattr(array, "sharding", None)
    is_named = isinstance(sharding, jax.sharding.NamedSharding)
    return sharding if is_named and sharding.num_devices > 1 else None


def _describe(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", None)
    return f"an array of {dtype}" if dtype is not None else f"{leaf!r} ({type(leaf).__name__})"


def _is_wide(spec: Spec | jax.ShapeDtypeStruct) -> bool:
    if isinstance(spec, Spec):
        return spec.dtype.is_64_bit
    return not keys.is_key(spec.dtype) and DType.from_numpy(spec.dtype).is_64_bit


def _shared_scope(
    described: Sequence[Spec | jax.ShapeDtypeStruct], constraints: tuple[str, ...]
) -> DimScope:
    """Returns the author's own scope where it can serve all leaves, else a new one for all."""
    scopes = {
        id(dim.scope): dim.scope
        for spec in described
        if isinstance(spec, jax.ShapeDtypeStruct)
        for dim in spec.shape
        if jax.export.is_symbolic_dim(dim)
    }
    given = [text for scope in scopes.values() for text in scope_constraints(scope)]
    united = tuple(dict.fromkeys([*given, *constraints]))
    own = next(iter(scopes.values()), None)
    if own is not None and united == scope_constraints(own):
        return DimScope(united, own)
    return DimScope(united)


def in_scope(
    struct: jax.ShapeDtypeStruct, scope: DimScope, where: str = "shape"
) -> jax.ShapeDtypeStruct:
    """Returns the same struct with its symbolic dimensions in `scope`."""
    scopes = [dim.scope for dim in struct.shape if jax.export.is_symbolic_dim(dim)]
    if all(own is scope.jax_scope for own in scopes):
        return struct
    dims = [dim if isinstance(dim, int) else str(dim) for dim in struct.shape]
    return jax.ShapeDtypeStruct(
        scope.shape(dims, where),
        struct.dtype,
        weak_type=struct.weak_type,
        sharding=struct.sharding,
    )


def with_sharding(
    struct: jax.ShapeDtypeStruct, sharding: jax.sharding.NamedSharding
) -> jax.ShapeDtypeStruct:
    """Returns the same struct, placed."""
    return jax.ShapeDtypeStruct(
        struct.shape, struct.dtype, weak_type=struct.weak_type, sharding=sharding
    )


def _require_known_symbols(
    constraints: Sequence[str], described: Sequence[Spec | jax.ShapeDtypeStruct], where: str
) -> None:
    # Not those of the finished structs: an equality may have replaced a symbol by another.
    known = dim_names(tuple(str(dim) for spec in described for dim in spec.shape or ()))
    for constraint in constraints:
        unknown = [name for name in dim_names((constraint,)) if name not in known]
        if unknown:
            there = ", ".join(known) or "none"
            raise InvalidModelError(
                f"{where}, constraint {constraint!r}: expected dimensions of the inputs ({there}); "
                f"found {unknown[0]!r}; correct the name"
            )
