"""Findings and the verdict that follows from them."""

from __future__ import annotations

import pytest

from orbax_model_lite.core.report import Finding, Report

ERROR = Finding("error", "file 'a'", "expected x; found y; do z")
UNSURE = Finding("inconclusive", "bundle 'm'", "expected digests; found none; save it again")
WARNING = Finding("warning", "file 'b'", "expected p; found q; do r")
INFO = Finding("info", "file 'c'", "is there")


@pytest.mark.parametrize(
    ("findings", "ok", "has_errors"),
    [
        ((), True, False),
        ((INFO, WARNING), True, False),
        ((UNSURE,), False, False),
        ((ERROR,), False, True),
        ((INFO, UNSURE, ERROR), False, True),
    ],
)
def test_only_errors_and_what_could_not_be_judged_spoil_the_verdict(
    findings: tuple[Finding, ...], ok: bool, has_errors: bool
) -> None:
    report = Report(findings)
    assert (report.ok, report.has_errors) == (ok, has_errors)


def test_the_heaviest_findings_come_first_in_the_text() -> None:
    assert str(Report((INFO, WARNING, UNSURE, ERROR))).splitlines() == [
        "not ok: something is wrong",
        "  error: file 'a': expected x; found y; do z",
        "  inconclusive: bundle 'm': expected digests; found none; save it again",
        "  warning: file 'b': expected p; found q; do r",
        "  info: file 'c': is there",
    ]


def test_an_inconclusive_report_says_so() -> None:
    assert str(Report((UNSURE,))).startswith("inconclusive")


def test_a_report_without_findings_is_ok() -> None:
    assert str(Report()) == "ok"


def test_findings_of_two_inspections_join() -> None:
    assert Report((INFO,)).and_also([ERROR]).findings == (ERROR, INFO)


def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(ValueError, match="severity"):
        Finding("bad", "x", "y")
