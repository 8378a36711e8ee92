"""What an inspection found: a list of findings, each with its weight and place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

from orbax_model_lite import _lazy
from orbax_model_lite.errors import (
    MissingDependencyError,
    ObmError,
    StorageError,
    UnsupportedError,
)

Severity: TypeAlias = Literal["error", "inconclusive", "warning", "info"]
"""From heavy to light. Something is wrong; could not be judged; is unusual; is worth knowing."""

_MOST_SHOWN = 5
# What says something of this machine or version, and nothing of the bundle.
_UNJUDGED = (MissingDependencyError, StorageError, UnsupportedError)
_SEVERITIES: tuple[str, ...] = get_args(Severity)


def severity_of(error: ObmError) -> Severity:
    """Returns how much an error weighs that an inspection met: is the bundle wrong, or unjudged?

    >>> severity_of(UnsupportedError("bundle 'm.obm': newer than this reader; upgrade it"))
    'inconclusive'
    """
    return "inconclusive" if isinstance(error, _UNJUDGED) else "error"


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

    def __repr__(self) -> str:
        """Returns the verdict and the heaviest findings, a line each."""
        shown = [str(finding) for finding in self.findings[:_MOST_SHOWN]]
        if len(self.findings) > _MOST_SHOWN:
            shown.append(f"and {len(self.findings) - _MOST_SHOWN} more")
        return "".join([f"<Report: {self._verdict}", *(f"\n  {line}" for line in shown), ">"])

    def _repr_html_(self) -> str:
        """Returns the findings as a list, for a notebook."""
        return _lazy.load("orbax_model_lite.inspection.page.notebook:report_html")(self)

    @property
    def _verdict(self) -> str:
        if self.has_errors:
            return "not ok: something is wrong"
        if self.is_inconclusive:
            return "inconclusive: not everything could be judged"
        return "ok"

    def __str__(self) -> str:
        """Returns the verdict, then one line for each finding."""
        return "\n".join([self._verdict, *(f"  {finding}" for finding in self.findings)])
