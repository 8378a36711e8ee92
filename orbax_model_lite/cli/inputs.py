"""Arguments that name what is called and with which inputs, and what they come to."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from orbax_model_lite.errors import SignatureMismatchError

if TYPE_CHECKING:
    from orbax_model_lite.core.bundle import Bundle
    from orbax_model_lite.runtime.calling import Source, Target

NEEDS: Final[Mapping[str, Sequence[str]]] = {"use_weights": ("function",)}


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds what is called: a pipeline or a function; see `target_of`."""
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--pipeline", metavar="NAME", help="default: the default pipeline")
    target.add_argument("--function", metavar="NAME", help="one function, its weights bound")
    parser.add_argument(
        "--use-weights", metavar="NAME", help="its first argument, where no pipeline says so"
    )
    parser.add_argument(
        "--platform", choices=("cpu", "cuda", "rocm", "tpu"), help="default: what JAX chooses"
    )


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Adds where inputs come from; see `sources_of`."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help=".npy, .npz, .json, a picture, any file for a string, or - for standard input",
    )
    parser.add_argument(
        "--value", action="append", default=[], metavar="NAME=JSON", help="an input, as JSON"
    )
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        type=_size,
        metavar="NAME=N",
        help="of an open dimension of inputs at random",
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="of inputs at random; default 0")


def target_of(options: argparse.Namespace, bundle: Bundle) -> Target:
    """Returns what `add_target` was given.

    Raises:
      UnknownNameError: If the bundle has no such pipeline, function or value.
      InvalidBundleError: If its pipelines are damaged.
    """
    from orbax_model_lite.runtime.calling import find_target
    from orbax_model_lite.runtime.loading import read_orchestration

    return find_target(
        bundle,
        read_orchestration(bundle),
        pipeline=options.pipeline,
        function=options.function,
        weights=options.use_weights,
    )


def named_files(options: argparse.Namespace) -> list[tuple[str, str | None, str]]:
    """Returns (as typed, name or None, path) of each `--input`.

    Raises:
      SignatureMismatchError: If standard input is given twice.
    """
    found = []
    for text in options.input:
        name, is_named, path = text.partition("=")
        # A path with "=" in its name can be given as ./a=b.npy.
        if is_named and name and "/" not in name and "\\" not in name:
            found.append((text, name, path))
        else:
            found.append((text, None, text))
    if sum(path == "-" for _, _, path in found) > 1:
        raise SignatureMismatchError(
            "input '-': expected standard input once; found it twice; save one to a file"
        )
    return found


def sources_of(options: argparse.Namespace) -> list[Source]:
    """Returns what `add_sources` was given, its files read.

    Raises:
      SignatureMismatchError: If a file or value is damaged, or not there.
    """
    from orbax_model_lite.runtime.calling import Source, read_document, read_value

    found = [
        Source(text=text, name=name, document=read_document(path))
        for text, name, path in named_files(options)
    ]
    return found + [
        Source(text=text, name=name, document=read_value(value, f"value {text!r}"))
        for text, name, value in named_values(options)
    ]


def named_values(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Returns (beginning as typed, name, JSON) of each `--value`.

    Raises:
      SignatureMismatchError: If one has no name.
    """
    found = []
    for text in options.value:
        name, is_named, value = text.partition("=")
        if not is_named or not name:
            raise SignatureMismatchError(
                f"value {text[:60]!r}: expected NAME=JSON; found no name; name the input"
            )
        found.append((text[:60], name, value))
    return found


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or not 1 <= int(number) < 2**31:
        raise argparse.ArgumentTypeError(f"expected NAME=N with N of 1 or more; found {text!r}")
    return name, int(number)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on; found {text!r}")
    return int(text)
