"""The verdict on one row: converted, lifted, and compared with the original, in every column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from tests.lift.conformance import values
from tests.lift.conformance.cases import (
    REFUSALS,
    SIZE,
    Broken,
    Case,
    Function,
    Refused,
    lifted,
    told,
)
from tests.lift.conformance.comparing import difference
from tests.lift.conformance.recipes import Recipe
from tests.lift.conformance.rows import recipes_of

PASS = "pass"


@final
@dataclass(kw_only=True)
class Verdict:
    """What became of a row.

    Attributes:
      name: The callable.
      cells: "pass" or what failed, by column; a missing one does not apply to the callable. The
        symbolic export is checked with each dtype, as "f32 symbolic".
      left_out: Why the row does not count; "" if it does.
    """

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    left_out: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class _Check:
    """Two functions of the same arrays that must give the same numbers."""

    original: Function
    found: Function
    arrays: Sequence[Any]


def check_row(name: str, dtypes: Sequence[str] = ()) -> Verdict:
    """Returns the verdict on a callable that is not left out from the start.

    Args:
      name: Of the callable.
      dtypes: Of which columns, if the recipe has them; by default all that it has.
    """
    verdict = Verdict(name=name)
    refusals: list[str] = []
    for recipe in recipes_of(name):
        offered = recipe.dtypes or tuple(values.DTYPES)
        chosen = [column for column in offered if column in dtypes]
        refusals += _check_columns(verdict, recipe, chosen or offered)
        if chosen and not verdict.cells:
            refusals += _check_columns(verdict, recipe, offered)
        if verdict.cells:
            return verdict
    real = [reason for reason in refusals if reason.startswith("jax.export")]
    verdict.left_out = real[0] if real else ""
    if not real:
        verdict.cells["f32"] = f"no recipe works: {refusals[0]}"
    return verdict


def _check_columns(verdict: Verdict, recipe: Recipe, columns: Sequence[str]) -> list[str]:
    """Adds the cells of some dtypes; returns why the others have none."""
    refusals = []
    for column in columns:
        try:
            with jax.enable_x64(column == "f64"):
                _check_case(Case.of(verdict.name, recipe, column), verdict)
        except Refused as e:
            refusals.append(str(e))
    return refusals


def _check_case(case: Case, verdict: Verdict) -> None:
    """Adds the cells of one dtype; raises Refused if it is not one of the function's."""
    arrays, checks = case.arrays("one"), {}
    is_first = not verdict.cells

    def add(cell: str, make: Callable[[], _Check | None]) -> None:
        try:
            check = make()
        except Broken as e:
            verdict.cells[cell] = str(e)
        else:
            if check is not None:
                checks[cell] = check

    add(case.column, lambda: _static(case, arrays))
    if case.has_batch:
        add(f"{case.column} symbolic", lambda: _symbolic(case, arrays))
    if case.column in checks:
        found = checks[case.column].found
        if is_first:
            add("vmap", lambda: _vmapped(case, found))
        if "grad" not in verdict.cells and case.recipe.gradient:
            add("grad", lambda: _gradient(case, found, arrays))
    if checks:
        verdict.cells |= _results(checks, case)


def _static(case: Case, arrays: Sequence[Any]) -> _Check:
    return _Check(original=case.call, found=lifted(case, SIZE), arrays=arrays)


def _symbolic(case: Case, arrays: Sequence[Any]) -> _Check | None:
    """Returns the check of the symbolic export; None if jax.export has none of the function."""
    (b,) = jax.export.symbolic_shape("b")
    try:
        function = lifted(case, b)
    except Refused:
        return None
    wanted = [x.shape for x in jax.tree.leaves(jax.eval_shape(case.call, *case.specs(b)))]
    try:
        found = [x.shape for x in jax.tree.leaves(jax.eval_shape(function, *case.specs(b)))]
    except REFUSALS as e:
        raise Broken(f"traced symbolically: {told(e)}") from e
    if wanted != found:
        raise Broken(f"symbolic shapes {found} instead of {wanted}")
    return _Check(original=case.call, found=function, arrays=arrays)


def _vmapped(case: Case, found: Function) -> _Check | None:
    if not case.recipe.inputs:
        return None
    stacked = [np.stack(pair) for pair in zip(case.arrays("one"), case.arrays("two"), strict=True)]
    try:
        jax.eval_shape(jax.vmap(case.call), *stacked)
    except REFUSALS:
        return None
    return _Check(original=jax.vmap(case.call), found=jax.vmap(found), arrays=stacked)


def _gradient(case: Case, found: Function, arrays: Sequence[np.ndarray]) -> _Check | None:
    """Returns the check of all derivatives; None if the original has none."""
    places = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
    chosen = [arrays[i] for i in places]
    original = _pulled(case.call, arrays, places)
    try:
        if not places or not jax.tree.leaves(jax.eval_shape(original, *chosen)):
            return None
    except REFUSALS:
        return None
    return _Check(original=original, found=_pulled(found, arrays, places), arrays=chosen)


def _pulled(function: Function, arrays: Sequence[Any], places: Sequence[int]) -> Function:
    """Returns the derivatives by some arguments, with fixed weights for what results contribute."""

    def some(*given: Any) -> list[Any]:
        full = list(arrays)
        for place, x in zip(places, given, strict=True):
            full[place] = x
        leaves = jax.tree.leaves(function(*full))
        return [x for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]

    def pull(*given: Any) -> Any:
        results, back = jax.vjp(some, *given)
        return back([_weights(x) for x in results]) if results else ()

    return pull


def _weights(x: Any) -> Any:
    return jnp.asarray(np.cos(np.arange(x.size) + 1.0).reshape(x.shape)).astype(x.dtype)


def _results(checks: dict[str, _Check], case: Case) -> dict[str, str]:
    """Runs all checks in one compilation, or, if that fails, each by itself."""
    try:
        return _run(checks, case)
    except REFUSALS as e:
        if len(checks) == 1:
            return dict.fromkeys(checks, told(e))
    parts = [_results({cell: check}, case) for cell, check in checks.items()]
    return {cell: reason for part in parts for cell, reason in part.items()}


def _run(checks: dict[str, _Check], case: Case) -> dict[str, str]:
    """Returns the cells; what was guessed to be elementwise runs with NaN and infinities too."""

    def both(given: dict[str, Sequence[Any]]) -> dict[str, Any]:
        return {
            cell: (
                jax.tree.leaves(check.original(*given[cell])),
                jax.tree.leaves(check.found(*given[cell])),
            )
            for cell, check in checks.items()
        }

    run = jax.jit(both)
    cells = _compared(run({cell: check.arrays for cell, check in checks.items()}), case)
    if case.is_elementwise:
        plain = {cell for cell in checks if cell.startswith(case.column) and cells[cell] == PASS}
        special = case.arrays("special", special=True)
        given = {c: special if c in plain else check.arrays for c, check in checks.items()}
        again = _compared(run(given), case)
        cells |= {cell: again[cell] for cell in plain}
    return cells


def _compared(pairs: dict[str, Any], case: Case) -> dict[str, str]:
    return {
        cell: difference(*pair, times=case.recipe.tolerance) or PASS for cell, pair in pairs.items()
    }
