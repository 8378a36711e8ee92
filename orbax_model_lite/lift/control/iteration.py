"""Numbers that grow by the same amount in each iteration of a loop, and how often a loop runs.

`tracking` computes with them in place of a loop's counters, before the loop is traced.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, final

import jax.core

TIME: Final = -1
"""The variable that counts a loop's iterations from 0."""


@final
class Undecided(Exception):  # noqa: N818  # not an error: the value is left to the run
    """The result is another one in different iterations, or of another form."""


@final
@dataclass(frozen=True, slots=True)
class Affine:
    """`offset + step * variable`; constants have the step 0.

    Attributes:
      offset: An int or a dimension expression.
      step: An int.
      variable: TIME, or the position of the carried value that is the variable.
      count: How many iterations there are, an int or a dimension expression; None if unknown.
    """

    offset: Any
    step: int = 0
    variable: int = TIME
    count: Any = None

    def __add__(self, other: Affine) -> Affine:
        """Returns the sum; Undecided for two variables."""
        whole = self._joined(other)
        return replace(whole, offset=self.offset + other.offset, step=self.step + other.step)

    def __neg__(self) -> Affine:
        """Returns the negative."""
        return replace(self, offset=-self.offset, step=-self.step)

    def __sub__(self, other: Affine) -> Affine:
        """Returns the difference; Undecided for two variables."""
        return self + -other

    def __mul__(self, other: Affine) -> Affine:
        """Returns the product with a constant; Undecided for any other."""
        varying, factor = (self, other) if other.step == 0 else (other, self)
        if factor.step or (varying.step and not isinstance(factor.offset, int)):
            raise Undecided
        step = varying.step * factor.offset if varying.step else 0
        return replace(varying, offset=varying.offset * factor.offset, step=step)

    def __lt__(self, other: Affine) -> bool:
        """Returns whether it is less in every iteration; Undecided if only in some."""
        return (self - other)._is_negative()

    def __le__(self, other: Affine) -> bool:
        """Returns whether it is not greater in any iteration; Undecided if only in some."""
        return not other < self

    def equals(self, other: Affine) -> bool:
        """Returns whether it is equal in every iteration; Undecided if only in some."""
        difference = self - other
        if difference.step == 0 and difference.offset == 0:
            return True
        if difference._is_negative() or (-difference)._is_negative():
            return False
        raise Undecided

    def at(self, time: Any) -> Any:
        """Returns its value at an iteration."""
        return self.offset + self.step * time

    def _is_negative(self) -> bool:
        ends = [self.offset]
        if self.step:
            if self.count is None:
                raise Undecided
            ends.append(self.at(self.count - 1))
        found = {bool(end < 0) for end in ends}
        if len(found) > 1:
            raise Undecided
        return found.pop()

    def _joined(self, other: Affine) -> Affine:
        if self.step and other.step and self.variable != other.variable:
            raise Undecided
        return self if self.step else other


Compare = Callable[[Affine, Affine], bool]

COMPARISONS: Final[dict[str, Compare]] = {
    "EQ": lambda x, y: x.equals(y),
    "GE": lambda x, y: y <= x,
    "GT": lambda x, y: y < x,
    "LE": operator.le,
    "LT": operator.lt,
    "NE": lambda x, y: not x.equals(y),
}


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether `difference` is less than, ... zero, which depends on the iteration.

    Attributes:
      direction: "LT" and so on, as StableHLO writes it.
      difference: Left side minus right side.
    """

    direction: str
    difference: Affine


def count_of(condition: Comparison) -> Any:
    """Returns how often a loop runs: the first iteration at which its condition does not hold.

    Returns:
      An int or a dimension expression; None if that number is not known, or there is none.
    """
    found, direction = condition.difference, condition.direction
    if direction in {"GT", "GE"}:
        found = -found
    if direction == "NE":
        return _first_zero(found if found.step > 0 else -found)
    if direction == "EQ" or found.step <= 0:
        return None
    bound = -found.offset + (1 if direction in {"LE", "GE"} else 0)
    return _at_least_zero((bound + found.step - 1) // found.step)


def _first_zero(found: Affine) -> Any:
    if found.step == 0 or (found.step > 1 and not isinstance(found.offset, int)):
        return None
    if -found.offset < 0 or (found.step > 1 and -found.offset % found.step):
        return None
    return -found.offset // found.step


def _at_least_zero(count: Any) -> Any:
    return max(count, 0) if isinstance(count, int) else jax.core.max_dim(count, 0)
