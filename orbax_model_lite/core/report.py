"""What an inspection found: a list of findings, each with its weight and place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

Severity: TypeAlias = Literal["error", "inconclusive", "warning", "info"]
"""From heavy to light. Something is wrong; could not be judged; is unusual; is worth knowing."""

_SEVERITIES: tuple[str, ...] = get_args(Severity)


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an inspection found.

    Attributes:
      severity: How much it weighs.
      where: The place in the bundle: "file 'manifest.pb'", "function 'f', input 'x'".
      message: What was expected, what was found, what to do.
    """

    severity: Severity
    where: str
    message: str

    def __post_init__(self) -> None:
        """Checks the severity."""
        if self.severity not in _SEVERITIES:
            raise ValueError(
                f"finding: expected a severity of {', '.join(_SEVERITIES)}; found {self.severity!r}"
            )

    def __str__(self) -> str:
        """Returns for example "error: file 'f.shlo': expected ..., found ...; ..."."""
        return f"{self.severity}: {self.where}: {self.message}"


@final
@dataclass(frozen=True, slots=True)
class Report:
    """All findings of an inspection, heaviest first and in the order found.

    Attributes:
      findings: As given but sorted by weight.
    """

    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        """Sorts the findings."""
        ordered = sorted(self.findings, key=lambda finding: _SEVERITIES.index(finding.severity))
        object.__setattr__(self, "findings", tuple(ordered))

    @property
    def ok(self) -> bool:
        """Whether everything could be judged and nothing is wrong."""
        return not any(f.severity in {"error", "inconclusive"} for f in self.findings)

    @property
    def has_errors(self) -> bool:
        """Whether something is wrong."""
        return any(f.severity == "error" for f in self.findings)

    @property
    def is_inconclusive(self) -> bool:
        """Whether something could not be judged."""
        return any(f.severity == "inconclusive" for f in self.findings)

    def and_also(self, findings: Iterable[Finding]) -> Report:
        """Returns a report with further findings."""
        return Report((*self.findings, *findings))

    def __str__(self) -> str:
        """Returns the verdict, then one line for each finding."""
        if self.has_errors:
            verdict = "not ok: something is wrong"
        elif self.is_inconclusive:
            verdict = "inconclusive: not everything could be judged"
        else:
            verdict = "ok"
        return "\n".join([verdict, *(f"  {finding}" for finding in self.findings)])
