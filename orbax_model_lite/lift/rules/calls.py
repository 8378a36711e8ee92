"""Calls of functions that carry a derivative rule: their operands, values and tangents.

Arguments that are known while tracing (sizes, the platform, constants) are not arguments of the
custom function that `functions` makes of such a call, and so stay known inside of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift.evaluation import evaluate
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.values import PerPlatform, Sizes, jax_arrays
from orbax_model_lite.stablehlo.rule_marks import MarkedRule


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedFunction:
    """A function of a module that carries a derivative rule.

    Attributes:
      program: What it computes.
      mark: Its rule.
      leading: How many arguments come first that all functions of the module take.
    """

    program: Program
    mark: MarkedRule
    leading: int

    @property
    def constants(self) -> range:
        """Which arguments have no derivative, beyond those that all functions take."""
        return range(self.leading, self.leading + self.mark.constants)

    @property
    def first_differentiable(self) -> int:
        """Number of the first argument with a derivative."""
        return self.leading + self.mark.constants

    def refuse(self, found: str) -> UnsupportedError:
        """Returns the error for a derivative that cannot be had."""
        return UnsupportedError(
            f"derivative of {str(self.mark)!r} in a lifted function: expected its rule in the "
            f'module; found that {found}; lift with `derivative="program"` if the derivative of '
            "the program itself is meant"
        )


@final
class MarkedCall:
    """One call: its operands, those that are arrays apart from those that stay known."""

    def __init__(self, marked: MarkedFunction, operands: Sequence[Any]) -> None:
        self.marked = marked
        self.operands = operands
        self.places = [i for i, operand in enumerate(operands) if is_traced(operand)]
        self._x64 = jax.config.read("jax_enable_x64")

    @property
    def arrays(self) -> list[Any]:
        """The operands that are arrays."""
        return [self.operands[i] for i in self.places]

    def whole(self, arrays: Sequence[Any]) -> list[Any]:
        """Returns all operands, with other arrays."""
        found = list(self.operands)
        for place, array in zip(self.places, arrays, strict=True):
            found[place] = array
        return found

    def settings(self) -> AbstractContextManager[Any]:
        """Returns the context in which the call was traced; a rule may be traced in another one."""
        return jax.enable_x64(self._x64)

    def results(self, program: Program, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Returns the results of a program of the module; what is known stays known."""
        with self.settings():
            return evaluate(program, arguments)

    def as_arrays(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Returns values as arrays, those that are known while tracing too."""
        with self.settings():
            return tuple(jax_arrays(values))

    def run(self, program: Program, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Returns the results of a program of the module, as arrays."""
        return self.as_arrays(self.results(program, arguments))

    def value(self, *arrays: Any) -> tuple[Any, ...]:
        """Returns what the marked function itself gives."""
        return self.run(self.marked.program, self.whole(arrays))

    def tangents(self, given: Sequence[Any]) -> dict[int, Any]:
        """Returns the tangents that are not zero, by number of the operand."""
        pairs = zip(self.places, given, strict=True)
        return {place: t for place, t in pairs if not self.is_zero(t)}

    def is_zero(self, tangent: Any) -> bool:
        """Returns whether a tangent or cotangent is known to be zero; those of integers are."""
        return isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0

    def require_constant(self, numbers: Iterable[int]) -> None:
        """Raises if the caller differentiates by an argument that has no derivative."""
        if any(number in self.marked.constants for number in numbers):
            raise self.marked.refuse("it is differentiated by a value that the rule closes over")

    def zeros(self, program: Program, numbers: Sequence[int], like: Sequence[Any]) -> list[Any]:
        """Returns zeros for parameters of a program; those of integers are of another type."""
        types = [program.body.parameter_types[number] for number in numbers]
        pairs = zip(types, like, strict=True)
        return [
            jnp.zeros(t.static_shape if t and t.is_static else x.shape, t.dtype if t else x.dtype)
            for t, x in pairs
        ]


def is_traced(operand: Any) -> bool:
    """Returns whether a value is an array of JAX, and not one that is known while tracing."""
    is_array = hasattr(operand, "dtype") and hasattr(operand, "shape")
    return is_array and not isinstance(operand, (np.ndarray, np.generic, Sizes, PerPlatform))
