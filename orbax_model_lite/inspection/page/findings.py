"""What is wrong with a bundle, as a list with the heaviest first."""

from __future__ import annotations

from typing import Final

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.report import Finding, Report, severity_of
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.page.markup import Html, element
from orbax_model_lite.inspection.page.parts import badge, section
from orbax_model_lite.inspection.wording import counted
from orbax_model_lite.orchestration import check_orchestration, from_data

_MOST_FINDINGS: Final = 500
_KINDS: Final = {"error": "error", "inconclusive": "warning", "warning": "warning", "info": "quiet"}


def inspected(bundle: Bundle) -> Report:
    """Returns what is wrong with files, digests, references and wires; nothing is run."""
    report = check(bundle)
    data = bundle.supplementals.get(layout.KEY_ORCHESTRATION)
    if data is None:
        return report
    try:
        record = from_data(bundle.read_bytes(data), data.mime_type)
        problems = check_orchestration(record, bundle.objects, bundle.read_bytes)
    except ObmError as e:
        return report.and_also(
            [Finding(severity=severity_of(e), where="orchestration", message=str(e))]
        )
    return report.and_also(
        Finding(severity="error", where="orchestration", message=problem) for problem in problems
    )


def verdict(report: Report) -> Html:
    """Returns the outcome in a word."""
    if report.has_errors:
        count = sum(finding.severity == "error" for finding in report.findings)
        return badge(counted(count, "error"), "error")
    if report.is_inconclusive:
        return badge("inconclusive", "warning")
    return badge("no findings" if not report.findings else "ok", "good")


def findings(report: Report) -> Html:
    """Returns the section of the findings."""
    if not report.findings:
        fine = "Files, digests, references and pipelines are as they should be."
        return section("findings", "Findings", element("p", fine, class_="card good"))
    items = [finding_item(finding) for finding in report.findings[:_MOST_FINDINGS]]
    if len(report.findings) > _MOST_FINDINGS:
        more = len(report.findings) - _MOST_FINDINGS
        items.append(element("li", f"{more:,} more; `obm verify` lists all"))
    return section(
        "findings",
        "Findings",
        element("ul", items, class_="card findings"),
        note=f"{len(report.findings):,}",
    )


def finding_item(finding: Finding) -> Html:
    """Returns one finding as an item of a list."""
    return element(
        "li",
        badge(finding.severity, _KINDS[finding.severity]),
        element("div", element("strong", f"{finding.where}:"), " ", finding.message),
    )
