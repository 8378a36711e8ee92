"""One callable with one dtype: how JAX takes it, and the same function stored and lifted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.export
import numpy as np

from orbax_model_lite import jax2obm, lift
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import ObmError, UnsupportedError
from tests.lift.conformance import values
from tests.lift.conformance.recipes import Recipe

SIZE = 3
"""What the size `b` is when the functions run."""

REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    ObmError,
    RuntimeError,
    TypeError,
    ValueError,
    jax.errors.InconclusiveDimensionOperation,
)
"""What JAX raises for what a function does not take; never SystemExit or an interrupt."""

Function = Callable[..., Any]


class Refused(Exception):  # noqa: N818  # JAX's verdict on a case, not an error of the lift
    """jax.export does not take the function with these inputs."""


class Broken(Exception):  # noqa: N818  # the verdict that goes into a cell
    """What is wrong with the lifted function."""


@final
@dataclass(frozen=True, kw_only=True)
class Case:
    """A callable as it is called in one column.

    Attributes:
      name: Of the callable.
      recipe: How it is called.
      column: Of which dtype.
      call: From arrays to a flat tuple of arrays.
    """

    name: str
    recipe: Recipe
    column: str
    call: Function

    @classmethod
    def of(cls, name: str, recipe: Recipe, column: str) -> Case:
        """Returns the case of a recipe in a column."""
        function = recipe.make(values.DTYPES[column])

        def call(*arrays: Any) -> tuple[Any, ...]:
            return tuple(jax.tree.leaves(function(*arrays)))

        return cls(name=name, recipe=recipe, column=column, call=call)

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
            values.array(text, dtype, b=SIZE, name=f"{self.name} {name} {i}", special=special)
            for i, text in enumerate(self.recipe.inputs)
        ]

    @property
    def has_batch(self) -> bool:
        """Whether an input has the size `b`."""
        return any("b" in text.partition(":")[0].split(",") for text in self.recipe.inputs)

    @property
    def is_elementwise(self) -> bool:
        """Whether it was guessed to be, so that NaN and infinity are worth a try."""
        return set(self.recipe.inputs) == {"b,4"} and ".linalg." not in self.name


def lifted(case: Case, b: Any) -> Function:
    """Returns the function, exported with the size `b`, as JAX code again.

    Raises:
      Refused: If jax.export does not take it.
      Broken: If it cannot be lifted.
    """
    specs = case.specs(b)
    try:
        stored = jax2obm.convert(case.call, specs, platforms=["cpu"], name=case.name)
        return lift.lift_function(stored)
    except REFUSALS as e:
        ours = e
    exported = _exported(case, specs)
    if all(_is_named(aval.dtype) for aval in exported.out_avals):
        raise Broken(told(ours)) from ours
    # The bundle format has no name for some narrow types, but the lift of bare modules does.
    try:
        module = lift.lift_module(exported.mlir_module_serialized)
    except REFUSALS as e:
        raise Broken(told(e)) from e
    return lambda *arrays: module(*(arrays[i] for i in exported.module_kept_var_idx))


def _exported(case: Case, specs: list[jax.ShapeDtypeStruct]) -> jax.export.Exported:
    """Returns what jax.export makes of it."""
    try:
        shapes = jax.eval_shape(case.call, *specs)
    except REFUSALS as e:
        prefix = "jax.export: " if _works_eagerly(case) else ""
        raise Refused(prefix + told(e)) from e
    if not shapes:
        raise Refused("gives no array")
    try:
        return jax.export.export(jax.jit(case.call), platforms=["cpu"])(*specs)
    except REFUSALS as e:
        raise Refused(f"jax.export: {told(e)}") from e


def _is_named(dtype: np.dtype) -> bool:
    try:
        return DType.from_numpy(dtype) is not None
    except UnsupportedError:
        return False


def _works_eagerly(case: Case) -> bool:
    try:
        return any(isinstance(x, jax.Array) for x in case.call(*case.arrays("one")))
    except REFUSALS:
        return False


def told(error: BaseException) -> str:
    """Returns the first words of an error, with its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
