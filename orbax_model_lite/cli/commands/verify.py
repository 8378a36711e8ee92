"""`obm verify`: is a bundle whole, and does it still compute what the original did?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from orbax_model_lite.cli import arguments
from orbax_model_lite.cli.console import Console, clean, counted
from orbax_model_lite.cli.limits import isolation_of, trust_of
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.cli.tables import wrapped
from orbax_model_lite.core.report import Report
from orbax_model_lite.runtime.replay import count_replayed
from orbax_model_lite.runtime.verification import verify

EXAMPLES: Final = """\
examples:
  obm verify digits.obm
  obm verify digits.obm --replay
  obm verify digits.obm --isolate --memory-gib 8 --timeout-s 300
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "memory_gib": ("isolate",),
    "timeout_s": ("isolate",),
    "cpus": ("isolate",),
    "trust_custom_call": ("replay", "isolate"),
    "trust_tf_op": ("replay", "isolate"),
}

_STYLES: Final = {"error": "red", "inconclusive": "yellow", "warning": "yellow", "info": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds whether programs are run, where, and what they may do."""
    arguments.add_path(parser)
    arguments.add_form(parser)
    parser.add_argument("--replay", action="store_true", help="run the recorded examples too")
    parser.add_argument(
        "--isolate", action="store_true", help="the same in a child process with limits"
    )
    arguments.add_limits(parser)
    arguments.add_trust(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Prints every finding and the verdict; returns the exit code."""
    is_shown = not (options.json or options.quiet)
    with ProgressBar(Console(sys.stderr), "digests", is_shown=is_shown) as bar:
        report = verify(
            options.path,
            replay=options.replay or options.isolate,
            trust=trust_of(options),
            isolation=isolation_of(options) if options.isolate else None,
            progress=bar.update,
        )
    if options.json:
        console.json(
            {"verdict": _verdict(report), "findings": [asdict(f) for f in report.findings]}
        )
    elif not options.quiet:
        write_report(console, report, options.path)
    if not os.path.lexists(options.path):
        return 2
    return {"ok": 0, "not ok": 1, "inconclusive": 3}[_verdict(report)]


def write_report(console: Console, report: Report, path: str) -> None:
    """Writes the findings, heaviest first, then the verdict."""
    for finding in report.findings:
        label = console.styled(f"{finding.severity:<12}", _STYLES[finding.severity])
        text = f"{clean(finding.where)}: {clean(finding.message)}"
        lines = wrapped(text, console.width - 14) if console.width else [text]
        console.line(f"{label}  {lines[0]}")
        for line in lines[1:]:
            console.line(" " * 14 + line)
    verdict = _verdict(report)
    style = {"ok": "green", "not ok": "red", "inconclusive": "yellow"}[verdict]
    console.line(f"{clean(path)}: {console.styled(verdict, style)}{_counts(report)}")


def _counts(report: Report) -> str:
    """Returns for example ", 6 outputs replayed (1 finding)"; what is only told is no finding."""
    replayed = count_replayed(report)
    found = sum(finding.severity != "info" for finding in report.findings)
    outputs = f", {counted(replayed, 'output')} replayed" if replayed and not found else ""
    return outputs + (f" ({counted(found, 'finding')})" if found else "")


def _verdict(report: Report) -> str:
    if report.has_errors:
        return "not ok"
    return "inconclusive" if report.is_inconclusive else "ok"
