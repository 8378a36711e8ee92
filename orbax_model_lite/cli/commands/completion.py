"""`obm completion`: a script by which a shell completes commands, options and paths."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from orbax_model_lite.cli.console import Console

DESCRIPTION: Final = "Prints a script; a shell that has read it completes obm's command lines."
EXAMPLES: Final = """\
examples:
  source <(obm completion bash)                                this session
  obm completion bash >> ~/.bash_completion                    from now on
  obm completion zsh > ~/.zfunc/_obm                           a folder of $fpath
  obm completion fish > ~/.config/fish/completions/obm.fish
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {}

_SHELLS: Final = ("bash", "zsh", "fish", "tcsh", "powershell")
_FOLDERS: Final = ("PATH", "BEFORE", "AFTER")
_FILES: Final = ("FILE",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the shell."""
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


def run(options: argparse.Namespace, console: Console) -> int:
    """Prints the script; returns the exit code."""
    import shtab

    from orbax_model_lite.cli.parser import COMMANDS, grammar

    parser = grammar(COMMANDS)
    for action in _actions(parser):
        names = {action.metavar} if isinstance(action.metavar, str) else set(action.metavar or ())
        if names & {*_FOLDERS, *_FILES}:
            what = shtab.DIRECTORY if names & set(_FOLDERS) else shtab.FILE
            setattr(action, "complete", what)  # noqa: B010 (shtab's own way; argparse has no such field)
    console.raw(shtab.complete(parser, shell=options.shell) + "\n")
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
