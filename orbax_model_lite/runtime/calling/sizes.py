"""Sizes for the open dimensions of a form: those that were asked for, others small and allowed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from orbax_model_lite import _lazy
from orbax_model_lite.core.spec import Dim, Spec, dim_names
from orbax_model_lite.core.tree import Path
from orbax_model_lite.errors import (
    InvalidModelError,
    SignatureMismatchError,
    unknown_name,
)
from orbax_model_lite.runtime.calling.target import Form

BATCH: Final = "b"
"""What an unknown leading dimension is called."""

# Two before one: a size of one hides a dimension that is broadcast or left out.
_CANDIDATES: Final = (2, 1, 3, 4, 8, 5, 6, 7, 16, 32, 64, 128, 256, 9, 10, 12, 24, 48, 96, 512)
_MOST_TRIES: Final = 4000


def named_leaves(form: Form) -> list[tuple[Path, Any]]:
    """Returns (path, spec) of a form's leaves, with names for unknown sizes.

    An unknown leading dimension is "b", the others are "d0", "d1", ...; an unknown rank is that of
    a batch of single values.
    """
    taken = {name for _, spec in form.leaves() for name in _names(spec)}
    numbers = (f"d{i}" for i in itertools.count() if f"d{i}" not in taken)

    def named(spec: Any) -> Any:
        if not isinstance(spec, Spec):
            return spec
        shape: Sequence[Dim] = (None,) if spec.shape is None else spec.shape
        names = [
            dim if dim is not None else BATCH if i == 0 else next(numbers)
            for i, dim in enumerate(shape)
        ]
        return replace(spec, shape=tuple(names))

    return [(path, named(spec)) for path, spec in form.leaves()]


def symbols_of(form: Form) -> tuple[str, ...]:
    """Returns the names of a form's open dimensions, in order of appearance."""
    return tuple(dict.fromkeys(name for _, spec in named_leaves(form) for name in _names(spec)))


def fixed_leaves(form: Form, sizes: Mapping[str, int]) -> list[tuple[Path, Any]]:
    """Returns (path, spec) of a form's leaves with every dimension a number.

    Args:
      form: What a call takes.
      sizes: By name of an open dimension, those that are asked for.

    Raises:
      UnknownNameError: If there is no such dimension.
      SignatureMismatchError: If no small sizes for the others meet the constraints.
    """
    leaves = named_leaves(form)
    symbols = symbols_of(form)
    for name in sizes:
        if name not in symbols:
            raise unknown_name("open dimension", name, symbols)
    free = [name for name in symbols if name not in sizes]
    for tried in _choices(free):
        fixed = _fixed(leaves, {**sizes, **tried}, form.constraints)
        if fixed is not None:
            return fixed
    given = ", ".join(f"{name}={size}" for name, size in sizes.items()) or "none"
    raise SignatureMismatchError(
        f"sizes of {', '.join(symbols)}: expected small sizes that meet "
        f"{', '.join(form.constraints) or 'the dimensions'} in {form}; found none, with {given} "
        "given; choose some with --size NAME=N"
    )


def static_shape(spec: Spec) -> tuple[int, ...]:
    """Returns the sizes of a spec whose dimensions are all numbers."""
    return tuple(dim for dim in spec.shape or () if isinstance(dim, int))


def _choices(free: Sequence[str]) -> Iterator[dict[str, int]]:
    """Gives sizes for symbols: first all alike, then every mixture, as many as are worth it."""
    if not free:
        yield {}
        return
    for size in _CANDIDATES:
        yield dict.fromkeys(free, size)
    mixtures = itertools.product(_CANDIDATES, repeat=len(free))
    for mixture in itertools.islice(mixtures, _MOST_TRIES):
        yield dict(zip(free, mixture, strict=True))


def _fixed(
    leaves: list[tuple[Path, Any]], sizes: Mapping[str, int], constraints: Sequence[str]
) -> list[tuple[Path, Any]] | None:
    """Returns the leaves at these sizes; None where they break a constraint or are less than 1."""
    expressions = [dim for _, spec in leaves for dim in _shape(spec) if isinstance(dim, str)]
    if not constraints and all(dim in sizes for dim in expressions):
        # Names alone take no arithmetic, and no JAX to do it.
        return [(path, _plainly_fixed(spec, sizes)) for path, spec in leaves]
    fixing = _lazy.load("orbax_model_lite.jaxtypes.fixing", purpose="choosing sizes")
    try:
        fixing.remaining(tuple(constraints), sizes, "sizes")
        found = [(p, fixing.fixed_spec(s, sizes) if _names(s) else s) for p, s in leaves]
    except (InvalidModelError, ArithmeticError, ValueError):
        return None
    is_empty = any(
        new < 1
        for (_, old), (_, fixed) in zip(leaves, found, strict=True)
        for was, new in zip(_shape(old), _shape(fixed), strict=True)
        if isinstance(was, str) and isinstance(new, int)
    )
    return None if is_empty else found


def _plainly_fixed(spec: Any, sizes: Mapping[str, int]) -> Any:
    if not _names(spec):
        return spec
    return replace(spec, shape=tuple(sizes[d] if isinstance(d, str) else d for d in _shape(spec)))


def _shape(spec: Any) -> tuple[Dim, ...]:
    return (spec.shape or ()) if isinstance(spec, Spec) else ()


def _names(spec: Any) -> tuple[str, ...]:
    return dim_names(_shape(spec))
