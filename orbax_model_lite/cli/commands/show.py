"""`obm show`: what a bundle is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from orbax_model_lite.cli import arguments
from orbax_model_lite.cli.console import Console, clean, counted, size_text
from orbax_model_lite.cli.drawing import write_pipeline
from orbax_model_lite.cli.tables import Column, wrapped, write_table
from orbax_model_lite.core.reading import read
from orbax_model_lite.inspection import (
    Description,
    FunctionDescription,
    WeightsDescription,
    describe,
)

EXAMPLES: Final = """\
examples:
  obm show digits.obm
  obm show digits.obm --json | jq .weights
  obm show digits.obm --weights 'layer_0.*'
  obm show digits.obm --weights '*.kernel' --stats
  obm show digits.obm --hlo serving_default --output model.mlir
"""
NEEDS: Final[Mapping[str, Sequence[str]]] = {"output": ("hlo",), "stats": ("weights",)}

_MOST_ROWS: Final = 40
_VIEWS: Final = ("details", "tree", "weights", "proto", "examples", "hlo")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the views, of which one is chosen."""
    arguments.add_path(parser)
    arguments.add_form(parser)
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
    parser.add_argument(
        "--stats",
        action="store_true",
        help="with --weights: least, greatest, mean, deviation, NaN and infinities; reads them all",
    )
    parser.add_argument(
        "--output", metavar="FILE", type=arguments.file, help="where --hlo writes to"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Prints what was asked for about a bundle; returns the exit code.

    Raises:
      ObmError: If it cannot be read, or has no object of the name that was asked for.
    """
    bundle = read(options.path)
    for name in _VIEWS:
        asked = getattr(options, name)
        if asked is not None and asked is not False:
            from orbax_model_lite.cli.commands.show_views import VIEWS

            return VIEWS[name](bundle, asked, options, console)
    description = describe(bundle)
    if options.json:
        console.json(asdict(description) | {"needs_tensorflow": description.needs_tensorflow})
    elif not options.quiet:
        write_description(console, description)
    return 1 if description.is_damaged else 0


def write_description(console: Console, found: Description) -> None:
    """Writes a description for people."""
    _write_head(console, found)
    for pipeline in found.pipelines:
        default = " (default)" if pipeline.is_default and len(found.pipelines) > 1 else ""
        console.heading(f"pipeline {clean(pipeline.name)}{default}")
        write_pipeline(console, pipeline)
    _write_functions(console, found.functions)
    _write_weights(console, found.weights)
    _write_facts(console, found)
    _write_rest(console, found)
    damaged = [weights.problem for weights in found.weights if weights.problem]
    for problem in (*damaged, *found.problems):
        console.line()
        console.line(console.styled("damaged: ", "red") + clean(problem))


def _write_head(console: Console, found: Description) -> None:
    metadata = dict(found.metadata)
    title = " ".join(filter(None, (metadata.pop("name", ""), metadata.pop("version", ""))))
    console.line(console.styled(clean(title or found.path), "bold"))
    written = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    rows = [["path", found.path]] if title else []
    rows += [
        ["size", f"{size_text(found.size_bytes)} in {counted(found.file_count, 'file')}"],
        ["layout", found.layout],
        ["written by", written or "not recorded"],
        ["content hash", found.content_hash or "none: no digests are recorded"],
        *metadata.items(),
    ]
    write_table(console, [Column(), Column(is_flexible=True)], rows)


def _write_functions(console: Console, functions: Sequence[FunctionDescription]) -> None:
    if not functions:
        return
    console.heading(counted(len(functions), "function"))
    columns = [
        Column(title="name", is_flexible=True),
        Column(title="kind"),
        Column(title="platforms"),
        Column(title="size", align="right"),
        Column(title="signature", is_flexible=True),
    ]
    rows = [
        [
            f.name if f.is_public else f"{f.name} (private)",
            f"{f.kind}, StableHLO" if f.has_stablehlo_form else f.kind,
            " ".join(f.platforms),
            size_text(f.size_bytes),
            f.signature,
        ]
        for f in functions[:_MOST_ROWS]
    ]
    write_table(console, columns, rows)
    _write_more(console, len(functions))


def _write_weights(console: Console, weights: Sequence[WeightsDescription]) -> None:
    if not weights:
        return
    console.heading("weights")
    columns = [
        Column(title="name", is_flexible=True),
        Column(title="format"),
        Column(title="arrays", align="right"),
        Column(title="size", align="right"),
        Column(title="on disk", align="right"),
        Column(title="types", is_flexible=True),
    ]
    rows = [
        [
            w.name,
            w.format,
            "?" if w.array_count is None else f"{w.array_count:,}",
            size_text(None if w.problem or w.array_count == w.unknown_count else w.size_bytes),
            size_text(w.disk_bytes),
            _types(w),
        ]
        for w in weights[:_MOST_ROWS]
    ]
    write_table(console, columns, rows)
    _write_more(console, len(weights))


def _types(weights: WeightsDescription) -> str:
    if weights.problem:
        return "damaged"
    total = max(1, weights.size_bytes)
    parts = [f"{name} {100 * size / total:.0f}%" for name, size in weights.dtypes.items()]
    if weights.unknown_count:
        parts.append(f"{counted(weights.unknown_count, 'array')} of unrecorded type")
    return ", ".join(parts)


def _write_facts(console: Console, found: Description) -> None:
    """Writes what is recorded about programs, and what calling them needs."""
    rows = []
    for f in found.functions[:_MOST_ROWS]:
        parts = [f"StableHLO {f.stablehlo_version}"] if f.stablehlo_version else []
        if f.operation_count:
            parts.append(counted(f.operation_count, "operation"))
            parts.append(f"constants {size_text(f.constant_bytes)}")
            calls = [f"{name} x{count}" for name, count in f.custom_calls.items()]
            parts.append(f"custom calls {', '.join(calls)}" if calls else "no custom calls")
        if f.form_note:
            parts.append(
                f.form_note if f.has_stablehlo_form else f"stays TensorFlow: {f.form_note}"
            )
        if parts:
            rows.append([f.name, "; ".join(parts)])
    if rows:
        console.heading("programs, as recorded")
        write_table(console, [Column(is_flexible=True), Column(is_flexible=True)], rows)
    console.line()
    needs = ", ".join(map(clean, found.needs_tensorflow[:_MOST_ROWS]))
    text = f"needs TensorFlow for {needs}" if needs else "needs no TensorFlow"
    for line in wrapped(text, console.width or len(text) or 1):
        console.line(line)


def _write_rest(console: Console, found: Description) -> None:
    rows = [["recorded examples", str(found.example_count)]] if found.example_count else []
    if found.device_count:
        rows.append(["device assignment", counted(found.device_count, "device")])
    rows += [[f"object {name}", kind] for name, kind in list(found.other_objects.items())[:20]]
    rows += [
        [f"supplemental {key}", mime_type.rpartition("type=")[2] or "untyped"]
        for key, mime_type in list(found.supplementals.items())[:20]
    ]
    if rows:
        console.heading("also")
        write_table(console, [Column(is_flexible=True), Column(is_flexible=True)], rows)


def _write_more(console: Console, count: int) -> None:
    if count > _MOST_ROWS:
        console.line(f"  ... and {count - _MOST_ROWS:,} more; --json lists all")
