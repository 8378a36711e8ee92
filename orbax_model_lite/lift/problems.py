"""What cannot be lifted: collected while a module is read, told all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from orbax_model_lite.errors import UnsupportedError


@final
class NotLiftable(Exception):  # noqa: N818  # a verdict on one operation, never seen by callers
    """Why one operation has no JAX counterpart; raised by its builder, collected by the reader."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One operation that cannot be lifted.

    Attributes:
      operation: Its name: "stablehlo.all_reduce"; with the target for a custom call.
      scope: Where the author's function has it: "jit(f)/layer_1/psum"; "" if unknown.
      reason: Why, in a few words.
    """

    operation: str
    scope: str
    reason: str

    def __str__(self) -> str:
        """Returns for example "stablehlo.all_reduce in 'jit(f)/psum' (a collective)"."""
        place = f" in {self.scope!r}" if self.scope else ""
        return f"{self.operation}{place} ({self.reason})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which operations of a module can be lifted.

    Attributes:
      operations: How often each operation occurs, all functions and regions together.
      problems: Each place that cannot be lifted, in the order of the module.
    """

    operations: Mapping[str, int]
    problems: Sequence[Problem]

    @property
    def is_complete(self) -> bool:
        """Whether all of it can be lifted."""
        return not self.problems

    @property
    def fraction(self) -> float:
        """The part of the operations that can be lifted, from 0 to 1."""
        total = sum(self.operations.values())
        return 1 - len(self.problems) / total if total else 1.0

    def __str__(self) -> str:
        """Returns a line of figures, then a line for each problem."""
        total = sum(self.operations.values())
        lines = [f"{total - len(self.problems)} of {total} operations can be lifted"]
        return "\n".join([*lines, *map(str, self.problems)])


def require_none(problems: Sequence[Problem], where: str) -> None:
    """Raises UnsupportedError that names every kind of problem, if there is one."""
    if not problems:
        return
    places = Counter((problem.operation, problem.reason) for problem in problems)
    first = {(p.operation, p.reason): p for p in reversed(problems)}
    named = [
        f"{first[key]}" + (f" and {count - 1} more places" if count > 1 else "")
        for key, count in places.items()
    ]
    raise UnsupportedError(
        f"{where}: expected operations that have a counterpart in JAX; found {'; '.join(named)}; "
        "call the function as it is stored instead"
    )


def too_deep(where: str) -> UnsupportedError:
    """Returns the error for regions whose nesting meets Python's limit of recursion."""
    return UnsupportedError(
        f"{where}: expected regions that nest no deeper than Python calls; found deeper ones; "
        "call the function as it is stored instead, or raise sys.setrecursionlimit"
    )
