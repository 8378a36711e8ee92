"""What a diagnosis is: checks, each with a verdict, what was found and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

Verdict: TypeAlias = Literal["ok", "note", "unknown", "problem"]
"""From light to heavy: fine; fine but worth knowing; could not be judged; will not load so."""

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a diagnosis.

    Attributes:
      name: What was looked at: "platform", "memory".
      verdict: How it stands.
      found: What was found, and what the bundle needs.
      advice: What to do; "" where there is nothing to do.
    """

    name: str
    verdict: Verdict
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        """Checks the verdict, and that a problem comes with advice."""
        if self.verdict not in _VERDICTS:
            raise ValueError(
                f"check {self.name!r}: expected a verdict of {', '.join(_VERDICTS)}; found "
                f"{self.verdict!r}"
            )
        if self.verdict in {"problem", "unknown"} and not self.advice:
            raise ValueError(f"check {self.name!r}: expected advice; found none")

    def __str__(self) -> str:
        """Returns for example "problem: platform: cpu here; made for tpu; pack it for cpu too"."""
        told = f"{self.verdict}: {self.name}: {self.found}"
        return f"{told}; {self.advice}" if self.advice else told


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All checks of a bundle on this machine, in the order in which a load would meet them.

    Attributes:
      path: The bundle's folder, as it was given.
      checks: One for each subject.
    """

    path: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The heaviest verdict of all checks."""
        return heaviest(check.verdict for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether everything could be judged and nothing stands in the way."""
        return self.verdict in {"ok", "note"}

    def __str__(self) -> str:
        """Returns the verdict, then one line for each check."""
        return "\n".join([self.verdict, *(f"  {check}" for check in self.checks)])


def heaviest(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns the heaviest of some verdicts; "ok" for none."""
    found = set(verdicts)
    for verdict in reversed(_VERDICTS):
        if verdict in found:
            return verdict
    return "ok"


def refusal(name: str, message: str, verdict: Verdict = "problem") -> Check:
    """Returns the check that an error of ours comes to: its last part is the advice.

    Args:
      name: Of the check.
      message: Of the error.
      verdict: How it stands.
    """
    found, _, advice = " ".join(message.split()).rpartition("; ")
    if not found:
        found, advice = advice, "get an undamaged copy of the bundle"
    return Check(name=name, verdict=verdict, found=found, advice=advice)


def listed(names: Sequence[str], most: int = 6) -> str:
    """Returns names with commas between them; of many the first.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
