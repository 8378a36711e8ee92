"""`obm run`: what a bundle gives for inputs from files, or at random."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from orbax_model_lite.cli import arguments, inputs
from orbax_model_lite.cli.console import Console, clean
from orbax_model_lite.cli.tables import Column, wrapped, write_table
from orbax_model_lite.errors import SignatureMismatchError

if TYPE_CHECKING:
    from orbax_model_lite.core.bundle import Bundle
    from orbax_model_lite.runtime.calling import Call, HostTree, Target

DESCRIPTION: Final = """\
Runs a pipeline or a function in this process, and prints what it gives.

Inputs are .npy, .npz or .json files with their names as keys, pictures, any file for an input that
is a string, or numbers at random.
"""
EXAMPLES: Final = """\
examples:
  obm run digits.obm --input png=8.png --value 'ids=["mine"]'
  obm run digits.obm --function serving_default --input pixels.npy --output logits.npz
  obm run digits.obm --random --size b=4 --seed 1
  obm run encode.obm --input a.npz --output - | obm run decode.obm --input - --json
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {
    **inputs.NEEDS,
    "seed": ("random",),
    "size": ("random",),
}

_STDOUT: Final = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is called, with what, and where its outputs go."""
    arguments.add_path(parser)
    arguments.add_form(parser)
    inputs.add_target(parser)
    inputs.add_sources(parser)
    parser.add_argument("--random", action="store_true", help="inputs at random instead")
    parser.add_argument(
        "--output", metavar="FILE", help="all values: .npz, .json, or - for .npz on standard output"
    )
    arguments.add_trust(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Calls what was asked for, prints and writes what it gives; returns the exit code.

    Raises:
      ObmError: If inputs do not fit, the bundle is damaged or untrusted, or cannot run here.
    """
    from orbax_model_lite.core.reading import read

    bundle = read(options.path)
    target = inputs.target_of(options, bundle)
    _require_output(options, console)
    call = _call(options, bundle, target)
    outputs = _outputs(options, bundle, target, call)
    if options.output not in (None, _STDOUT):
        from orbax_model_lite.runtime.calling import write_outputs

        write_outputs(options.output, outputs)
    _print(options, console, target, call, outputs)
    return 0


def write_result(console: Console, target: Target, call: Call, outputs: HostTree) -> None:
    """Writes the inputs and outputs of a call for people, with their first values."""
    from orbax_model_lite.core.tree import flatten_with_path, format_path
    from orbax_model_lite.inspection.recorded import describe_array

    console.line(console.styled(clean(f"{target.kind} {target.name}"), "bold"))
    columns = [
        Column(),
        Column(is_flexible=True),
        Column(),
        Column(),
        Column(is_flexible=True),
    ]
    lines = [("in", describe_array(name, x), logical) for name, x, logical in call.leaves()]
    lines += [
        ("out", describe_array(format_path(path) or ".", array), outputs.logical.get(path))
        for path, array in flatten_with_path(outputs.tree)
    ]
    rows = [
        [side, array.name, logical or array.dtype, str(list(array.shape)), array.begins]
        for side, array, logical in lines
    ]
    if rows:
        write_table(console, columns, rows, keys=2)
    for note in call.notes:
        for line in wrapped(clean(note), console.width or len(note) or 1):
            console.line(console.styled(line, "dim"))


def _require_output(options: argparse.Namespace, console: Console) -> None:
    if options.output == _STDOUT:
        if console.is_terminal and not options.json:
            raise SignatureMismatchError(
                "output '-': expected a pipe or a file for the bytes of an .npz; found a terminal; "
                "print --json, or choose a file"
            )
    elif options.output is not None:
        from orbax_model_lite.runtime.calling.outputs import require_output

        require_output(options.output)


def _call(options: argparse.Namespace, bundle: Bundle, target: Target) -> Call:
    from orbax_model_lite.runtime.calling import call_from, random_call

    if not options.random:
        return call_from(target, inputs.sources_of(options))
    if options.input or options.value:
        raise SignatureMismatchError(
            "inputs: expected files and values, or --random; found both; leave one out"
        )
    return random_call(bundle, target, seed=options.seed or 0, sizes=dict(options.size))


def _outputs(options: argparse.Namespace, bundle: Bundle, target: Target, call: Call) -> HostTree:
    from orbax_model_lite.cli.limits import trust_of
    from orbax_model_lite.runtime.calling import (
        bind,
        host_tree,
        platform_errors,
        require_platform,
    )
    from orbax_model_lite.runtime.loading import load

    # What frameworks notice is no part of what is printed.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.platform is not None:
        require_platform(options.platform)
    with platform_errors(), load(bundle, trust=trust_of(options)) as model:
        return host_tree(bind(model, target)(*call.args, **call.kwargs))


def _print(
    options: argparse.Namespace, console: Console, target: Target, call: Call, outputs: HostTree
) -> None:
    if options.json:
        from orbax_model_lite.runtime.calling.outputs import json_tree

        console.json(json_tree(outputs))
    elif options.output == _STDOUT:
        from orbax_model_lite.runtime.calling.outputs import write_npz

        console.flush()
        write_npz(sys.stdout.buffer, outputs)
        sys.stdout.buffer.flush()
    elif not options.quiet:
        write_result(console, target, call, outputs)
