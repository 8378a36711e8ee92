"""`obm bench`: how long a bundle takes, and how much memory, measured in a process of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orbax_model_lite.cli import arguments, inputs
from orbax_model_lite.cli.console import Console, clean, counted, size_text
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.cli.tables import Column, wrapped, write_table
from orbax_model_lite.errors import SignatureMismatchError

if TYPE_CHECKING:
    from orbax_model_lite.runtime.measuring import BatchMeasurement, Measurement, Request

DESCRIPTION: Final = """\
Measures a pipeline or a function in a fresh process: how long it takes to load, to compile and to
call, and how much memory. Times are of one call after the other, from arrays on the host until the
outputs are there. Inputs are at random unless they are given; given rows are repeated.
"""
EXAMPLES: Final = """\
examples:
  obm bench digits.obm
  obm bench digits.obm --batch 1,16,256 --seconds 5
  obm bench encoder.obm --size t=128 --repeats 200 --json
  obm bench digits.obm --input png=8.png --value 'ids=["mine"]'
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = inputs.NEEDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is called, with what, and how often."""
    arguments.add_path(parser)
    arguments.add_form(parser)
    inputs.add_target(parser)
    inputs.add_sources(parser)
    parser.add_argument(
        "--batch",
        type=_batches,
        metavar="N,N,...",
        help="rows of a call; default: the author's batch options, or 1,8,32",
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument(
        "--repeats", type=arguments.count, metavar="N", help="calls of each batch size"
    )
    effort.add_argument(
        "--seconds", type=arguments.positive, metavar="S", help="of calls, each size; default 2"
    )
    arguments.add_trust(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Measures, and prints what it took; returns the exit code.

    Raises:
      ObmError: If inputs do not fit, the bundle is damaged or untrusted, or cannot run here.
    """
    from orbax_model_lite.core.reading import read
    from orbax_model_lite.runtime.measuring import measure

    # A wrong name is told before a process is started.
    inputs.target_of(options, read(options.path))
    request = _request(options)
    reads_stdin = any(path == "-" for _, _, path in request.files)
    is_shown = not (options.json or options.quiet)
    with ProgressBar(Console(sys.stderr), "bench", is_shown=is_shown) as bar:
        found = measure(
            request,
            stdin=sys.stdin.buffer if reads_stdin else None,
            progress=lambda share, doing: bar.update(share, 1, doing=doing),
        )
    if options.json:
        console.json(asdict(found))
    elif not options.quiet:
        write_measurement(console, found)
    return 0


def write_measurement(console: Console, found: Measurement) -> None:
    """Writes a measurement for people."""
    device = f" ({clean(found.device)})" if found.device not in ("", found.platform) else ""
    versions = ", ".join(f"{clean(name)} {clean(v)}" for name, v in found.versions.items())
    console.line(console.styled(clean(f"{found.kind} {found.name}"), "bold"))
    rows = [
        ["on", f"{found.platform}{device}, {counted(found.cores, 'core')}; {versions}"],
        ["load", seconds_text(found.load_s)],
        ["memory", _memory_text(found)],
    ]
    rows += [
        [f"memory of {device}", f"at most {size_text(peak)}"]
        for device, peak in found.device_peak_bytes.items()
    ]
    write_table(console, [Column(), Column(is_flexible=True)], rows)
    console.line()
    titles = ("batch", "compile", "p50", "p95", "p99", "throughput", "calls", "memory")
    columns = [Column(title=title, align="right") for title in titles]
    write_table(console, columns, [_row(batch) for batch in found.batches], keys=1)
    for note in found.notes:
        for line in wrapped(clean(note), console.width or len(note) or 1):
            console.line(console.styled(line, "dim"))


def _row(batch: BatchMeasurement) -> list[str]:
    return [
        "-" if batch.batch_size is None else f"{batch.batch_size:,}",
        seconds_text(batch.compile_s),
        seconds_text(batch.p50_s),
        seconds_text(batch.p95_s),
        seconds_text(batch.p99_s),
        f"{_digits(batch.examples_per_s)}/s",
        f"{batch.calls:,}",
        size_text(batch.peak_bytes),
    ]


def seconds_text(seconds: float) -> str:
    """Returns a time as people say it.

    >>> seconds_text(0.00123)
    '1.23 ms'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-6)} us"


def _digits(number: float) -> str:
    """Returns a number with three digits, or all before the point."""
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:,.{decimals}f}"


def _memory_text(found: Measurement) -> str:
    return f"at most {size_text(found.peak_bytes)}, {size_text(found.loaded_bytes)} when loaded"


def _request(options: argparse.Namespace) -> Request:
    from orbax_model_lite.runtime.measuring import Request

    if (options.input or options.value) and (options.seed is not None or options.size):
        raise SignatureMismatchError(
            "inputs: expected --seed and --size, which are for inputs at random, or inputs that "
            "are given; found both; leave one out"
        )
    return Request(
        path=str(Path(options.path).absolute()),
        pipeline=options.pipeline,
        function=options.function,
        weights=options.use_weights,
        platform=options.platform,
        batch_sizes=options.batch,
        repeats=options.repeats,
        seconds=options.seconds or 2.0,
        seed=options.seed or 0,
        sizes=dict(options.size),
        files=tuple(inputs.named_files(options)),
        values=tuple(inputs.named_values(options)),
        custom_calls=tuple(options.trust_custom_call),
        tf_ops=tuple(options.trust_tf_op),
    )


def _batches(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isdecimal() and 1 <= int(size) < 2**31 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected sizes such as 1,8,32; found {text!r}")
    return tuple(dict.fromkeys(map(int, sizes)))
