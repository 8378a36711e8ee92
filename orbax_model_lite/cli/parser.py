"""The command line's grammar: which commands there are. Each adds its own arguments."""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Final

COMMANDS: Final[Mapping[str, str]] = {
    "show": "what a bundle is",
    "verify": "everything that is wrong with one",
    "diff": "what changed between two of them",
    "doctor": "whether it will load here, and what to do if not",
    "view": "a page with all of it",
    "run": "what it gives for inputs",
    "bench": "how long it takes, and how much memory",
    "completion": "a script that completes command lines in a shell",
}
"""Name of a command, and of its module, to what it prints."""

_EXAMPLES: Final = """\
examples:
  obm show digits.obm                         what it is
  obm show digits.obm --details label         one function's inputs and outputs
  obm show digits.obm --weights '*.kernel'    some of its parameters
  obm verify digits.obm                       is it whole?
  obm verify digits.obm --isolate             does it still compute the same? in a child process
  obm diff v1.obm v2.obm                      what changed, and does it break callers?
  obm doctor digits.obm                       will it load and run here?
  obm view digits.obm                         all of it as a page in a browser
  obm run digits.obm --input png=8.png        what does it say to this?
  obm bench digits.obm --batch 1,8,32         how long does it take?

exit codes: 0 fine, 1 findings, 2 misuse, 3 inconclusive
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options of a command line, with `run(options, console)` among them.

    Raises:
      SystemExit: After `--help` and `--version`, and when the arguments are none of ours.
    """
    typed = next((a for a in arguments if not a.startswith("-")), None)
    parser = grammar({typed} & set(COMMANDS))
    options, unknown = parser.parse_known_args(arguments)
    # From here on the usage is that of the command.
    command = options.command
    if unknown:
        command.error(f"unrecognized arguments: {' '.join(unknown)}{_hint(command, unknown)}")
    for name, needed in options.needs.items():
        if _is_given(getattr(options, name, None)) and not any(getattr(options, n) for n in needed):
            others = " or ".join(f"--{n.replace('_', '-')}" for n in needed)
            command.error(f"--{name.replace('_', '-')} means nothing without {others}")
    return options


def _hint(command: argparse.ArgumentParser, unknown: Sequence[str]) -> str:
    import difflib

    known = [text for action in command._actions for text in action.option_strings]
    typed = next((text.partition("=")[0] for text in unknown if text.startswith("--")), "")
    near = difflib.get_close_matches(typed, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _is_given(value: object) -> bool:
    # A number that is 0 was typed.
    return value is not None and value is not False and value != []


def grammar(detailed: Container[str]) -> argparse.ArgumentParser:
    """Returns the parser of `obm`.

    Args:
      detailed: Commands whose own arguments are added; their modules are imported.
    """
    parser = argparse.ArgumentParser(
        prog="obm",
        description="Looks into bundles of models; imports no framework unless a program is run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    # Told its name, argparse does not format a usage to find it, which takes as long as the rest.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, prog="obm")
    for name, about in COMMANDS.items():
        command = commands.add_parser(
            name, help=about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name in detailed:
            _add_details(command, import_module(f"orbax_model_lite.cli.commands.{name}"), about)
    return parser


def _add_details(parser: argparse.ArgumentParser, module: ModuleType, about: str) -> None:
    parser.description = getattr(module, "DESCRIPTION", f"Prints {about}.")
    parser.epilog = module.EXAMPLES
    module.add_arguments(parser)
    parser.set_defaults(command=parser, run=module.run, needs=module.NEEDS)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Prints the version and exits."""
        from orbax_model_lite import __version__

        print(f"obm {__version__}")
        parser.exit()
