"""`obm view`: a bundle in a browser."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from orbax_model_lite.cli import arguments
from orbax_model_lite.cli.console import Console, clean, counted, size_text
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.core.reading import read
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.inspection.page import write_page
from orbax_model_lite.runtime.verification import verify

DESCRIPTION: Final = """\
Shows a bundle as one HTML page, which needs no network: pipelines, signatures, weights,
operations, recorded examples and findings. Without --html, in a browser.
With --explorer, as graphs in Google's Model Explorer: pipelines, and the StableHLO of functions.
"""
EXAMPLES: Final = """\
examples:
  obm view digits.obm                         in a browser
  obm view digits.obm --html digits.html      as a file to keep or send
  obm view digits.obm --explorer              as graphs, until Ctrl-C
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {"port": ("explorer",), "no_browser": ("explorer",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what it is shown as, and where it is written to."""
    arguments.add_path(parser)
    arguments.add_form(parser)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--html", metavar="FILE", type=arguments.file, help="where the page goes")
    kind.add_argument("--explorer", action="store_true", help="in Model Explorer, until Ctrl-C")
    parser.add_argument(
        "--port", type=_port, metavar="N", help="for --explorer, on 127.0.0.1; default a free one"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print where --explorer is to be seen"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Writes the page, and opens it if it was not asked for as a file; returns the exit code.

    Raises:
      ObmError: If the bundle cannot be read, or the page not be written or opened.
    """
    return _explore(options, console) if options.explorer else _show_page(options, console)


def _explore(options: argparse.Namespace, console: Console) -> int:
    from orbax_model_lite.explorer import serve

    def announce(address: str) -> None:
        if options.json:
            console.json({"address": address})
        elif not options.quiet:
            console.line(f"{clean(options.path)}: {address} (Ctrl-C ends it)")
        console.flush()

    serve(options.path, port=options.port, announce=announce, is_opened=not options.no_browser)
    return 0


def _show_page(options: argparse.Namespace, console: Console) -> int:
    bundle = read(options.path)
    is_shown = not (options.json or options.quiet)
    with ProgressBar(Console(sys.stderr), "digests", is_shown=is_shown) as bar:
        report = verify(options.path, progress=bar.update)
    if options.html is None:
        name = bundle.path.resolve().name
        file = _opened(name, lambda page: write_page(bundle, page, report=report))
    else:
        file = Path(options.html)
        write_page(bundle, file, report=report)
    if options.json:
        console.json(
            {
                "page": os.fspath(file),
                "size_bytes": file.stat().st_size,
                "is_ok": report.ok,
                "findings": len(report.findings),
            }
        )
    elif not options.quiet:
        found = counted(len(report.findings), "finding") if report.findings else "no findings"
        size = size_text(file.stat().st_size)
        console.line(f"{clean(os.fspath(file))}: {size}, {found}")
    if report.has_errors:
        return 1
    return 3 if report.is_inconclusive else 0


def _opened(name: str, write: Callable[[Path], None]) -> Path:
    """Writes a page where only its owner may read it, and opens it."""
    import webbrowser

    folder = Path(tempfile.mkdtemp(prefix="obm-view-"))
    is_open = False
    try:
        page = folder / f"{name}.html"
        write(page)
        is_open = webbrowser.open(page.as_uri())
    finally:
        if not is_open:
            shutil.rmtree(folder)
    if not is_open:
        raise UnsupportedError(
            "page: expected a browser to show it in; found none; "
            "write it to a file with --html FILE and open that elsewhere"
        )
    return page


def _port(text: str) -> int:
    number = arguments.count(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"expected a port up to 65535; found {text!r}")
    return number
