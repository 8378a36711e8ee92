"""`obm diff`: what changed from one bundle to another, and whether it breaks those who use it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from orbax_model_lite.cli import arguments
from orbax_model_lite.cli.commands.diff_tables import write_difference
from orbax_model_lite.cli.console import Console
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.inspection import Difference, diff

DESCRIPTION: Final = """\
Prints what changed from one bundle to another: signatures, pipelines, platforms, programs,
operations, custom calls, weights and metadata.

A change is breaking where a call that worked may not work any more, or may give something else in
shape or type. It is not where inputs only become wider (a fixed size becomes symbolic), where an
optional input or a key of the output comes in addition, or where names of symbolic sizes change.
"""
EXAMPLES: Final = """\
examples:
  obm diff v1.obm v2.obm
  obm diff v1.obm v2.obm --fail-on breaking    exit code 1 if callers may break
  obm diff v1.obm v2.obm --no-values           names, types and sizes of weights only

exit codes: 0 unless --fail-on is met, 1 if it is or a bundle is damaged, 2 misuse,
3 if something could not be compared
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the two bundles and what is a reason to fail."""
    parser.add_argument(
        "before", metavar="BEFORE", type=arguments.folder, help="the one bundle's folder"
    )
    parser.add_argument("after", metavar="AFTER", type=arguments.folder, help="the other's")
    arguments.add_form(parser)
    parser.add_argument(
        "--fail-on",
        choices=["breaking", "any"],
        metavar="breaking|any",
        help="exit code 1 if there is a change that breaks callers, or any change",
    )
    parser.add_argument(
        "--no-values", action="store_true", help="do not compare the values of weights"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Prints what changed; returns the exit code.

    Raises:
      ObmError: If one of the bundles cannot be read.
    """
    is_shown = not (options.json or options.quiet)
    with ProgressBar(Console(sys.stderr), "weights", is_shown=is_shown) as bar:
        found = diff(
            options.before, options.after, weights=not options.no_values, progress=bar.update
        )
    if options.json:
        console.json(
            asdict(found)
            | {
                "is_empty": found.is_empty,
                "breaking_count": len(found.breaking),
                "is_inconclusive": found.is_inconclusive,
                "is_damaged": found.is_damaged,
            }
        )
    elif not options.quiet:
        write_difference(console, found)
    return _exit_code(found, options.fail_on)


def _exit_code(found: Difference, fail_on: str | None) -> int:
    is_met = bool(found.breaking) if fail_on == "breaking" else fail_on and not found.is_empty
    if is_met or found.is_damaged:
        return 1
    return 3 if found.is_inconclusive else 0
