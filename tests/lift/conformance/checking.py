"""The verdict on one row: converted, lifted, and compared with the original, in every column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from orbax_model_lite import jax2obm, lift
from orbax_model_lite.errors import ObmError
from tests.lift.conformance import values
from tests.lift.conformance.comparing import difference
from tests.lift.conformance.recipes import Recipe
from tests.lift.conformance.rows import recipes_of

COLUMNS = ("f32", "i32", "bf16", "f64", "c64", "symbolic", "grad", "vmap")
PASS = "pass"
_SIZE = 3
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    ObmError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What JAX raises for what a function does not take; never SystemExit or an interrupt."""


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
@dataclass(kw_only=True)
class _Case:
    """One recipe with one dtype: the original, and what it is called with."""

    name: str
    recipe: Recipe
    column: str
    call: Callable[..., tuple[Any, ...]]

    def specs(self, b: Any) -> list[jax.ShapeDtypeStruct]:
        """Returns what the inputs are like, with the size `b`."""
        dtype = values.DTYPES[self.column]
        return [
            jax.ShapeDtypeStruct(values.shape_of(text, b), values.dtype_of(text, dtype))
            for text in self.recipe.inputs
        ]

    def arrays(self, name: str, *, special: bool = False) -> list[np.ndarray]:
        """Returns inputs; another name gives other values."""
        dtype = values.DTYPES[self.column]
        return [
            values.array(text, dtype, b=_SIZE, name=f"{self.name} {name} {i}", special=special)
            for i, text in enumerate(self.recipe.inputs)
        ]

    @property
    def is_elementwise(self) -> bool:
        """Whether it was guessed to be, so that NaN and infinity are worth a try."""
        return set(self.recipe.inputs) == {"b,4"} and ".linalg." not in self.name


@final
@dataclass(frozen=True, kw_only=True)
class _Check:
    """Two functions of the same arrays that must give the same numbers."""

    original: Callable[..., Any]
    lifted: Callable[..., Any]
    arrays: Sequence[Any]


class _Refused(Exception):  # noqa: N818  # JAX's verdict on a case, not an error of the lift
    """jax.export does not take the function with these inputs."""


class _Broken(Exception):  # noqa: N818  # the verdict that goes into a cell
    """What is wrong with the lifted function."""


def check_row(name: str, dtypes: Sequence[str] = ()) -> Verdict:
    """Returns the verdict on a callable that is not left out from the start.

    Args:
      name: Of the callable.
      dtypes: Of which columns; by default all that the recipe has.
    """
    verdict = Verdict(name=name)
    refusals = []
    for recipe in recipes_of(name):
        offered = recipe.dtypes or tuple(values.DTYPES)
        for column in [c for c in offered if c in dtypes] or offered[: bool(dtypes)] or offered:
            try:
                with jax.enable_x64(column == "f64"):
                    _check_case(_case(name, recipe, column), verdict)
            except _Refused as e:
                refusals.append(str(e))
        if verdict.cells:
            return verdict
    real = [reason for reason in refusals if reason.startswith("jax.export")]
    verdict.left_out = real[0] if real else ""
    if not real:
        verdict.cells["f32"] = f"no recipe works: {refusals[0]}"
    return verdict


def _case(name: str, recipe: Recipe, column: str) -> _Case:
    function = recipe.make(values.DTYPES[column])

    def call(*arrays: Any) -> tuple[Any, ...]:
        return tuple(jax.tree.leaves(function(*arrays)))

    return _Case(name=name, recipe=recipe, column=column, call=call)


def _check_case(case: _Case, verdict: Verdict) -> None:
    """Adds the cells of one dtype; raises _Refused if it is not one of the function's."""
    arrays = case.arrays("one")
    checks: dict[str, _Check] = {}
    is_first = not verdict.cells

    def add(cell: str, make: Callable[[], _Check | None]) -> None:
        try:
            check = make()
        except _Broken as e:
            verdict.cells[cell] = str(e)
        else:
            if check is not None:
                checks[cell] = check

    stored = _converted(case, _SIZE)
    add(case.column, lambda: _Check(original=case.call, lifted=_lifted(stored), arrays=arrays))
    if any("b" in text.partition(":")[0] for text in case.recipe.inputs):
        add(f"{case.column} symbolic", lambda: _symbolic(case, arrays))
    if is_first and case.column in checks:
        lifted = checks[case.column].lifted
        add("vmap", lambda: _vmapped(case, lifted))
    if "grad" not in verdict.cells and case.recipe.gradient and case.column in checks:
        add("grad", lambda: _gradient(case, checks[case.column].lifted, arrays))
    verdict.cells |= _results(checks, case)


def _converted(case: _Case, b: Any) -> Any:
    """Returns the stored function.

    Raises:
      _Refused: If jax.export does not take it.
    """
    specs = case.specs(b)
    try:
        return jax2obm.convert(case.call, specs, platforms=["cpu"], name=case.name)
    except REFUSALS as e:
        ours = e
    try:
        shapes = jax.eval_shape(case.call, *specs)
    except REFUSALS as e:
        prefix = "jax.export: " if _works_eagerly(case) else ""
        raise _Refused(prefix + _told(e)) from e
    if not shapes:
        raise _Refused("gives no array")
    try:
        jax.export.export(jax.jit(case.call), platforms=["cpu"])(*specs)
    except REFUSALS as e:
        raise _Refused(f"jax.export: {_told(e)}") from e
    raise _Broken(f"convert: {_told(ours)}") from ours


def _works_eagerly(case: _Case) -> bool:
    try:
        return any(isinstance(x, jax.Array) for x in case.call(*case.arrays("one")))
    except REFUSALS:
        return False


def _lifted(stored: Any) -> Callable[..., Any]:
    try:
        return lift.lift_function(stored)
    except REFUSALS as e:
        raise _Broken(f"lift: {_told(e)}") from e


def _symbolic(case: _Case, arrays: Sequence[Any]) -> _Check | None:
    """Returns the check of the symbolic export; None if jax.export has none of the function."""
    (b,) = jax.export.symbolic_shape("b")
    try:
        stored = _converted(case, b)
    except _Refused:
        return None
    lifted = _lifted(stored)
    wanted = [x.shape for x in jax.tree.leaves(jax.eval_shape(case.call, *case.specs(b)))]
    try:
        found = [x.shape for x in jax.tree.leaves(jax.eval_shape(lifted, *case.specs(b)))]
    except REFUSALS as e:
        raise _Broken(f"traced symbolically: {_told(e)}") from e
    if wanted != found:
        raise _Broken(f"symbolic shapes {found} instead of {wanted}")
    return _Check(original=case.call, lifted=lifted, arrays=arrays)


def _vmapped(case: _Case, lifted: Callable[..., Any]) -> _Check | None:
    if not case.recipe.inputs:
        return None
    stacked = [np.stack(pair) for pair in zip(case.arrays("one"), case.arrays("two"), strict=True)]
    try:
        jax.eval_shape(jax.vmap(case.call), *stacked)
    except REFUSALS:
        return None
    return _Check(original=jax.vmap(case.call), lifted=jax.vmap(lifted), arrays=stacked)


def _gradient(
    case: _Case, lifted: Callable[..., Any], arrays: Sequence[np.ndarray]
) -> _Check | None:
    """Returns the check of all derivatives, with fixed weights for what the results contribute."""
    places = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
    chosen = [arrays[i] for i in places]

    def pulled(function: Callable[..., Any]) -> Callable[..., Any]:
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

    if not places:
        return None
    try:
        if not jax.tree.leaves(jax.eval_shape(pulled(case.call), *chosen)):
            return None
    except REFUSALS:
        return None
    return _Check(original=pulled(case.call), lifted=pulled(lifted), arrays=chosen)


def _weights(x: Any) -> Any:
    return jnp.asarray(np.cos(np.arange(x.size) + 1.0).reshape(x.shape)).astype(x.dtype)


def _results(checks: dict[str, _Check], case: _Case) -> dict[str, str]:
    """Runs all checks in one compilation, or, if it fails, each by itself."""
    if not checks:
        return {}
    try:
        found = _run(checks, case)
    except REFUSALS as e:
        if len(checks) == 1:
            return dict.fromkeys(checks, _told(e))
        parts = [_results({cell: check}, case) for cell, check in checks.items()]
        return {cell: reason for part in parts for cell, reason in part.items()}
    return found


def _run(checks: dict[str, _Check], case: _Case) -> dict[str, str]:
    def both(given: dict[str, Sequence[Any]]) -> dict[str, Any]:
        return {
            cell: (
                jax.tree.leaves(check.original(*given[cell])),
                jax.tree.leaves(check.lifted(*given[cell])),
            )
            for cell, check in checks.items()
        }

    run = jax.jit(both)
    found = _compared(run({cell: check.arrays for cell, check in checks.items()}), case)
    if case.is_elementwise:
        special = case.arrays("special", special=True)
        again = {c: special if c.startswith(case.column) else k.arrays for c, k in checks.items()}
        other = _compared(run(again), case)
        found = {
            c: other[c] if c.startswith(case.column) and found[c] == PASS else found[c]
            for c in found
        }
    return found


def _compared(pairs: dict[str, Any], case: _Case) -> dict[str, str]:
    return {
        cell: difference(*pair, times=case.recipe.tolerance) or PASS for cell, pair in pairs.items()
    }


def _told(error: BaseException) -> str:
    """Returns the first line of an error with its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
