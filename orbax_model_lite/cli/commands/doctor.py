"""`obm doctor`: will a bundle load here, and what is to be done if not?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from orbax_model_lite.cli import arguments
from orbax_model_lite.cli.console import Console, clean, counted
from orbax_model_lite.cli.limits import isolation_of, trust_of
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.cli.tables import wrapped
from orbax_model_lite.runtime.diagnosis.checks import Check, Diagnosis

DESCRIPTION: Final = """\
Prints whether a bundle will load and run here: one line a check, each with what to do. Its
programs are compiled in a child process, without their weights.
"""
EXAMPLES: Final = """\
examples:
  obm doctor digits.obm
  obm doctor digits.obm --size b=64
  obm doctor digits.obm --function serving_default --platform cuda
  obm doctor digits.obm --quiet && python serve.py

exit codes: 0 it will load, 1 a problem, 2 misuse, 3 something could not be judged
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {}

_STYLES: Final = {"ok": "green", "note": "cyan", "unknown": "yellow", "problem": "red"}
_CODES: Final = {"ok": 0, "note": 0, "unknown": 3, "problem": 1}
_MARK_WIDTH: Final = 7
_ADVICE: Final = "-> "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds which functions are looked at, at what sizes, and the limits of the child."""
    arguments.add_path(parser)
    arguments.add_form(parser)
    parser.add_argument("--function", metavar="NAME", help="look at this function alone")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        type=size,
        metavar="NAME=N",
        help="of a symbolic dimension; default the smallest that it may have",
    )
    parser.add_argument(
        "--platform", choices=("cpu", "cuda", "rocm", "tpu"), help="default: what JAX chooses"
    )
    parser.add_argument(
        "--digests", action="store_true", help="read every file and compare its digest"
    )
    arguments.add_limits(parser)
    arguments.add_trust(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Prints every check and the verdict; returns the exit code.

    Raises:
      ObmError: If there is no bundle at the path, it has no function or size of a given name, or
        its constraints forbid a given size.
    """
    # Misuse and --help do not wait for all that a diagnosis imports.
    from orbax_model_lite.runtime.diagnosis.diagnosing import diagnose

    is_shown = options.digests and not (options.json or options.quiet)
    with ProgressBar(Console(sys.stderr), "digests", is_shown=is_shown) as bar:
        diagnosis = diagnose(
            options.path,
            function=options.function,
            sizes=dict(options.size),
            platform=options.platform,
            trust=trust_of(options),
            isolation=isolation_of(options),
            with_digests=options.digests,
            progress=bar.update,
        )
    if options.json:
        checks = [asdict(check) for check in diagnosis.checks]
        console.json({"verdict": diagnosis.verdict, "checks": checks})
    elif not options.quiet:
        write_diagnosis(console, diagnosis)
    return _CODES[diagnosis.verdict]


def size(text: str) -> tuple[str, int]:
    """Returns the name and the size of a symbolic dimension that `b=8` gives."""
    name, equals, number = text.partition("=")
    if not name.isidentifier() or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=N, such as b=8; found {text!r}")
    return name, arguments.count(number)


def write_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Writes a line for each check, advice below those that have some, then the verdict."""
    names = max((len(check.name) for check in diagnosis.checks), default=0)
    for check in diagnosis.checks:
        _write_check(console, check, names)
    told = {
        "ok": "it will load here",
        "note": "it will load here",
        "unknown": "it may load here; not everything could be judged",
        "problem": "it will not load or run here as it is",
    }[diagnosis.verdict]
    count = sum(check.verdict == diagnosis.verdict for check in diagnosis.checks)
    more = {"problem": "problem", "unknown": "open question", "note": "note"}
    noun = more.get(diagnosis.verdict)
    counting = f" ({counted(count, noun)})" if noun else ""
    style = _STYLES[diagnosis.verdict]
    console.line(f"{clean(diagnosis.path)}: {console.styled(told, style)}{counting}")


def _write_check(console: Console, check: Check, names: int) -> None:
    mark = console.styled(f"{check.verdict:<{_MARK_WIDTH}}", _STYLES[check.verdict])
    indent = _MARK_WIDTH + 2 + names + 2
    lines = _lines(console, clean(check.found), indent)
    console.line(f"{mark}  {clean(check.name):<{names}}  {lines[0]}")
    for line in lines[1:]:
        console.line(" " * indent + line)
    if check.advice:
        first, *rest = _lines(console, clean(check.advice), indent + len(_ADVICE))
        console.line(" " * indent + console.styled(_ADVICE, "dim") + first)
        for line in rest:
            console.line(" " * (indent + len(_ADVICE)) + line)


def _lines(console: Console, text: str, indent: int) -> list[str]:
    return wrapped(text, console.width - indent) if console.width else [text]
