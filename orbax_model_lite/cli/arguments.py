"""Arguments that commands have in common, and the types that argparse lacks."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_path(parser: argparse.ArgumentParser) -> None:
    """Adds the bundle's folder, as `options.path`."""
    parser.add_argument("path", metavar="PATH", type=folder, help="the bundle's folder")


def add_form(parser: argparse.ArgumentParser) -> None:
    """Adds the form of what is printed: `options.json`, `options.quiet`, or for people."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--quiet", action="store_true", help="print nothing; the exit code tells")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds what programs may do beyond the harmless; see `trust_of`."""
    parser.add_argument(
        "--trust-custom-call", action="append", default=[], metavar="NAME", help="may be called"
    )
    parser.add_argument(
        "--trust-tf-op", action="append", default=[], metavar="NAME", help="may be run"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds the limits of a child process; see `isolation_of`."""
    parser.add_argument("--memory-gib", type=positive, metavar="N", help="of the child; default 4")
    parser.add_argument("--timeout-s", type=positive, metavar="N", help="of the child; default 120")
    parser.add_argument(
        "--cpus", type=count, metavar="N", help="cores of the child; default half of them"
    )


def folder(text: str) -> str:
    """Returns the path of a folder on this machine, which need not exist."""
    if not text:
        raise argparse.ArgumentTypeError("expected a folder; found an empty path")
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"expected a folder on this machine; found {text!r}; download it first"
        )
    return text


def file(text: str) -> str:
    """Returns the path of a file that can be written, as far as folders tell."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected a file; found the folder {text!r}")
    above = Path(text).parent
    if not above.is_dir():
        raise argparse.ArgumentTypeError(f"no folder {str(above)!r} to write to")
    return text


def positive(text: str) -> float:
    """Returns a positive number."""
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"expected a positive number below 1e9; found {text!r}")
    return number


def count(text: str) -> int:
    """Returns a whole number, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more; found {text!r}")
    return number
