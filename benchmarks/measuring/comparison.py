"""What was measured beside what it was measured against, and whether that is within budget."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

Unit = Literal["s", "bytes"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much of ours is allowed: at most `factor` times theirs, plus `plus`.

    Attributes:
      factor: Times what is compared against.
      plus: Added to that, in seconds or bytes.
    """

    factor: float = 1.0
    plus: float = 0.0

    def format(self, unit: Unit) -> str:
        """Returns for example "1.05x + 20 us"."""
        parts = [f"{self.factor:.2f}x"] if self.factor != 1 or not self.plus else []
        return " + ".join(parts + ([format_quantity(self.plus, unit)] if self.plus else []))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Samples of ours and theirs; those with the same index were taken in the same round.

    Ratio and verdict are those of the median round, so that a machine that slows down for a while
    slows both sides down.

    Attributes:
      what: Ours.
      against: Theirs.
      ours: Samples.
      theirs: As many samples.
      budget: None for a line that is there for orientation.
      unit: Of the samples.
    """

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    budget: Budget | None = None
    unit: Unit = "s"

    @property
    def ratio(self) -> float:
        """Ours divided by theirs."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return statistics.median(a - b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def is_met(self) -> bool:
        """Whether the median round is within budget."""
        if self.budget is None:
            return True
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(a - self.budget.factor * b for a, b in pairs) <= self.budget.plus

    def cells(self) -> tuple[str, ...]:
        """Returns a line of the table."""
        sign = "-" if self.difference < 0 else "+"
        return (
            self.what,
            format_quantity(statistics.median(self.ours), self.unit),
            self.against,
            format_quantity(statistics.median(self.theirs), self.unit),
            f"{self.ratio:.3f}x",
            sign + format_quantity(abs(self.difference), self.unit),
            self.budget.format(self.unit) if self.budget else "",
            ("met" if self.is_met else "MISSED") if self.budget else "",
        )


_HEAD = ("what", "ours", "against", "theirs", "ratio", "difference", "budget", "verdict")
_RIGHT = frozenset({1, 3, 4, 5})


def report(title: str, comparisons: Sequence[Comparison]) -> bool:
    """Prints a table; returns whether all budgets are met."""
    lines = [_HEAD, *(comparison.cells() for comparison in comparisons)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if i in _RIGHT else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    return all(comparison.is_met for comparison in comparisons)


def format_quantity(value: float, unit: Unit) -> str:
    """Returns for example "34.1 ms" or "1,024 MB"."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    for scale, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.2f} {name}"
    return f"{value * 1e6:.1f} us"
