"""`obm show --weights`: every array of every set of weights, by its header or summed up."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from orbax_model_lite.cli.console import Console, clean, counted, size_text
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.cli.tables import Column, write_table
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import UnknownNameError
from orbax_model_lite.inspection import ListedArray, list_weights

if TYPE_CHECKING:
    from orbax_model_lite.inspection import ArrayStatistics

_A = TypeVar("_A", "ListedArray", "ArrayStatistics")


def show_weights(
    bundle: Bundle, pattern: str, options: argparse.Namespace, console: Console
) -> int:
    """Prints the arrays whose names match a pattern; returns the exit code.

    Raises:
      UnknownNameError: If there are weights and no name matches.
    """
    values = {n: value for n, value in bundle.values.items() if isinstance(value, ExternalValue)}
    if not options.stats:
        listed = {
            name: [a for a in list_weights(bundle, name, v) if fnmatch.fnmatchcase(a.name, pattern)]
            for name, v in values.items()
        }
        return _print(listed, _write_arrays, pattern, options, console)
    # Values are read, which takes NumPy.
    from orbax_model_lite.cli.commands.show_statistics import write_statistics
    from orbax_model_lite.inspection import weights_statistics

    is_shown = not (options.json or options.quiet)
    found: dict[str, list[ArrayStatistics]] = {}
    for name, value in values.items():
        with ProgressBar(Console(sys.stderr), clean(name), is_shown=is_shown) as bar:
            found[name] = weights_statistics(
                bundle, name, value, pattern=pattern, progress=bar.update
            )
    return _print(found, write_statistics, pattern, options, console)


def _print(
    found: Mapping[str, list[_A]],
    write: Callable[[Console, str, Sequence[_A]], None],
    pattern: str,
    options: argparse.Namespace,
    console: Console,
) -> int:
    if found and not any(found.values()) and pattern != "*":
        raise UnknownNameError(
            f"weights {', '.join(found)}: expected an array with a name like {pattern!r}; found "
            "none; leave the pattern out to see all names"
        )
    if options.json:
        console.json({name: [asdict(array) for array in arrays] for name, arrays in found.items()})
    elif not options.quiet:
        for i, (name, arrays) in enumerate(found.items()):
            if i:
                console.line()
            write(console, name, arrays)
        if not found:
            console.line("this bundle has no weights")
    return 0


def _write_arrays(console: Console, name: str, arrays: Sequence[ListedArray]) -> None:
    total = sum(array.size_bytes or 0 for array in arrays)
    title = f"{clean(name)}: {counted(len(arrays), 'array')}, {size_text(total)}"
    console.line(console.styled(title, "bold"))
    columns = [
        Column(title="path", is_flexible=True),
        Column(title="type"),
        Column(title="shape", is_flexible=True),
        Column(title="size", align="right"),
    ]
    rows = [
        [
            array.name or ".",
            array.dtype or array.problem or "not recorded",
            "?" if array.shape is None else str(list(array.shape)),
            size_text(array.size_bytes),
        ]
        for array in arrays
    ]
    if rows:
        write_table(console, columns, rows)
