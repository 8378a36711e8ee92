"""The command line's grammar. Each command's own module is imported when it is chosen."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from orbax_model_lite import _lazy

_EXAMPLES: Final = """\
examples:
  obm show digits.obm                         what it is
  obm show digits.obm --details label         one function's inputs and outputs
  obm show digits.obm --weights '*.kernel'    some of its parameters
  obm verify digits.obm                       is it whole?
  obm verify digits.obm --isolate             does it still compute the same? in a child process

exit codes: 0 fine, 1 findings, 2 misuse, 3 inconclusive
"""
# An option that would do nothing is a mistake, and is said.
_NEEDS: Final = {
    "output": ("hlo",),
    "memory_gib": ("isolate",),
    "timeout_s": ("isolate",),
    "cpus": ("isolate",),
    "trust_custom_call": ("replay", "isolate"),
    "trust_tf_op": ("replay", "isolate"),
}
_SHOW_EXAMPLES: Final = """\
examples:
  obm show digits.obm
  obm show digits.obm --json | jq .weights
  obm show digits.obm --weights 'layer_0.*'
  obm show digits.obm --hlo serving_default --output model.mlir
"""
_VERIFY_EXAMPLES: Final = """\
examples:
  obm verify digits.obm
  obm verify digits.obm --replay
  obm verify digits.obm --isolate --memory-gib 8 --timeout-s 300
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options of a command line, with `run(options, console)` among them.

    Raises:
      SystemExit: After `--help` and `--version`, and when the arguments are none of ours.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, needed in _NEEDS.items():
        if getattr(options, name, None) and not any(getattr(options, n) for n in needed):
            others = " or ".join(f"--{n}" for n in needed)
            parser.error(f"--{name.replace('_', '-')} means nothing without {others}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="obm",
        description="Looks into bundles of models; imports no framework unless a program is run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    # Told its name, argparse does not format a usage to find it, which takes as long as the rest.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, prog="obm")
    _add_show(commands)
    _add_verify(commands)
    return parser


def _add_show(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "show", "what a bundle is", _SHOW_EXAMPLES)
    view = parser.add_mutually_exclusive_group()
    view.add_argument("--details", metavar="NAME", help="one function: its inputs and outputs")
    view.add_argument("--tree", action="store_true", help="the files of the folder")
    view.add_argument(
        "--weights", metavar="PATTERN", nargs="?", const="*", help="parameters, by glob if given"
    )
    view.add_argument("--proto", action="store_true", help="the manifest as text")
    view.add_argument("--examples", action="store_true", help="the recorded calls")
    view.add_argument(
        "--hlo", metavar="NAME", help="a function's StableHLO, parsed in a child process with JAX"
    )
    parser.add_argument("--output", metavar="FILE", help="where --hlo writes to")


def _add_verify(commands: argparse._SubParsersAction) -> None:
    parser = _command(commands, "verify", "everything that is wrong with one", _VERIFY_EXAMPLES)
    parser.add_argument("--replay", action="store_true", help="run the recorded examples too")
    parser.add_argument(
        "--isolate", action="store_true", help="the same in a child process with limits"
    )
    parser.add_argument("--memory-gib", type=_positive, metavar="N", help="of the child; default 4")
    parser.add_argument(
        "--timeout-s", type=_positive, metavar="N", help="of the child; default 120"
    )
    parser.add_argument(
        "--cpus", type=_count, metavar="N", help="cores of the child; default half of them"
    )
    parser.add_argument(
        "--trust-custom-call", action="append", default=[], metavar="NAME", help="may be called"
    )
    parser.add_argument(
        "--trust-tf-op", action="append", default=[], metavar="NAME", help="may be run"
    )


def _command(
    commands: argparse._SubParsersAction, name: str, about: str, examples: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=about,
        description=f"Prints {about}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="the bundle's folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--quiet", action="store_true", help="print nothing; the exit code tells")
    parser.set_defaults(run=_runner(name))
    return parser


def _runner(name: str) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        return _lazy.load(f"orbax_model_lite.cli.{name}:{name}")(*arguments)

    return run


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Prints the version and exits."""
        from orbax_model_lite import __version__

        print(f"obm {__version__}")
        parser.exit()


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"expected a positive number; found {text!r}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more; found {text!r}")
    return number
