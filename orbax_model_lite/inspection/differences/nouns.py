"""The nouns of a difference: plain values that a table, JSON or a page is made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, final

from orbax_model_lite.inspection.wording import counted

SECTIONS: Final = ("signatures", "pipelines", "platforms", "programs", "weights", "metadata")
"""What a `Change` can be about, in the order in which people read it."""

Kind: TypeAlias = Literal["added", "removed", "renamed", "changed"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that changed.

    Attributes:
      section: One of `SECTIONS`.
      where: What it is about: "function 'f', input 'x'".
      kind: What became of it.
      before: What it was; "" where it was not there.
      after: What it is; "" where it is not there any more.
      is_breaking: Whether something that worked with the bundle before may not work any more.
      reason: Why it breaks callers, or why it does not; "" where that is plain.
    """

    section: str
    where: str
    kind: Kind
    before: str = ""
    after: str = ""
    is_breaking: bool = False
    reason: str = ""

    def __str__(self) -> str:
        """Returns for example "breaking: function 'f', input 'x': int32 [b] -> int64 [b]"."""
        told = {"added": self.after, "removed": self.before}.get(
            self.kind, f"{self.before} -> {self.after}"
        )
        kind = f"{self.kind} " if self.kind in {"added", "removed"} else ""
        reason = f" ({self.reason})" if self.reason else ""
        mark = "breaking: " if self.is_breaking else ""
        return f"{mark}{self.where}: {kind}{told}{reason}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CountChange:
    """How often one function uses an operation or a custom call, as recorded when it was saved.

    Attributes:
      function: The function, as in "function 'f'".
      name: Of the operation or the custom call's target.
      before: Occurrences.
      after: Occurrences.
    """

    function: str
    name: str
    before: int
    after: int

    def __str__(self) -> str:
        """Returns for example "function 'f': stablehlo.add 3 -> 4"."""
        return f"{self.function}: {self.name} {self.before} -> {self.after}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayChange:
    """One array of the weights that changed.

    Attributes:
      name: Its dotted key path; where it was renamed, the new one.
      kind: What became of it. A renamed array has the same content as before.
      before_name: Where it was renamed, the old key path; else "".
      before: Type and sizes, such as "float32 [3, 4]"; "" where it was not there or is no array.
      after: Likewise.
      changed_count: Elements with another value; None where that was not compared.
      relative_norm: Of the change: ||after - before|| / ||before|| over the elements that are
        finite in both; None where it was not compared, has no meaning or the old norm is 0.
      problem: Why its values were not compared; "" if they were or another size says enough.
    """

    name: str
    kind: Kind
    before_name: str = ""
    before: str = ""
    after: str = ""
    changed_count: int | None = None
    relative_norm: float | None = None
    problem: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsDifference:
    """Weights that both bundles have, compared.

    Attributes:
      name: Of the object after.
      arrays: Those that changed, and those whose values could not be compared.
      unchanged_count: Arrays with the same name, type, sizes and values.
      unread_count: Arrays with the same name, type and sizes whose values nobody asked for.
      has_other_files: Whether the files differ, by their recorded digests; None where there are
        none.
      problem: Why they could not be compared, or not wholly; "" if they could.
      is_damaged: Whether that is because they are damaged, missing or outside of their bundle.
    """

    name: str
    arrays: tuple[ArrayChange, ...] = ()
    unchanged_count: int = 0
    unread_count: int = 0
    has_other_files: bool | None = None
    problem: str = ""
    is_damaged: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to have changed."""
        is_untold = self.unread_count > 0 and self.has_other_files is True
        return not (self.arrays or self.problem or is_untold)

    @property
    def is_inconclusive(self) -> bool:
        """Whether something could not be compared that might have changed."""
        return bool(self.problem) or any(array.problem for array in self.arrays)

    def __str__(self) -> str:
        """Returns for example "weights 'w': 1 added, 2 changed, 40 unchanged"."""
        counts = Counter(array.kind for array in self.arrays)
        parts = [f"{count} {kind}" for kind, count in sorted(counts.items())]
        parts.append(f"{self.unchanged_count} unchanged")
        if self.unread_count:
            parts.append(f"{self.unread_count} not compared")
        return f"weights {self.name!r}: {self.problem or ', '.join(parts)}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything that changed from one bundle to another.

    Attributes:
      before: Path of the one, as given.
      after: Path of the other.
      changes: Everything but what follows, by section.
      operations: Of StableHLO functions whose numbers are recorded in both bundles.
      custom_calls: Likewise.
      weights: Weights that both have.
    """

    before: str
    after: str
    changes: tuple[Change, ...] = ()
    operations: tuple[CountChange, ...] = ()
    custom_calls: tuple[CountChange, ...] = ()
    weights: tuple[WeightsDifference, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to have changed."""
        return not (
            self.changes
            or self.operations
            or self.custom_calls
            or any(not weights.is_empty for weights in self.weights)
        )

    @property
    def breaking(self) -> tuple[Change, ...]:
        """The changes after which a caller may not work any more."""
        return tuple(change for change in self.changes if change.is_breaking)

    @property
    def is_inconclusive(self) -> bool:
        """Whether something could not be compared that might have changed."""
        return any(weights.is_inconclusive for weights in self.weights)

    @property
    def is_damaged(self) -> bool:
        """Whether weights of one of the two are damaged, missing or outside of it."""
        return any(weights.is_damaged for weights in self.weights)

    def __str__(self) -> str:
        """Returns the verdict, then one line for each change and for weights that changed."""
        if self.is_empty:
            return "no difference"
        verdict = counted(len(self.breaking), "breaking change")
        weights = [found for found in self.weights if not found.is_empty]
        lines = [*self.changes, *self.operations, *self.custom_calls, *weights]
        told = verdict if self.breaking else "nothing breaks"
        return "\n".join([told, *(f"  {line}" for line in lines)])
