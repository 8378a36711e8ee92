"""The single views of `obm show`: one object, the folder, weights, manifest, examples, a module.

Each takes the bundle, what its option was given, all options and where to print; it gives the exit
code.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from orbax_model_lite.cli.commands.show_weights import show_weights
from orbax_model_lite.cli.console import Console, clean, size_text
from orbax_model_lite.cli.drawing import branches
from orbax_model_lite.cli.tables import Column, write_table
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.errors import unknown_name
from orbax_model_lite.inspection import SignatureLine, signature_lines

View = Callable[[Bundle, Any, argparse.Namespace, Console], int]


def _details(bundle: Bundle, name: str, options: argparse.Namespace, console: Console) -> int:
    if name not in bundle.functions:
        raise unknown_name("function", name, bundle.functions)
    found = list(concrete_functions(name, bundle.functions[name]))
    details = [_details_of(bundle, where, function) for where, function in found]
    if options.json:
        console.json(details)
    elif not options.quiet:
        for i, values in enumerate(details):
            if i:
                console.line()
            _write_details(console, values)
    return 0


def _details_of(bundle: Bundle, where: str, function: ConcreteFunction) -> dict[str, Any]:
    inputs, outputs = signature_lines(function, bundle.read_bytes)
    found: dict[str, Any] = {"function": where, "type": function.mime_type or ""}
    supplementals: dict[str, str] = {}
    if isinstance(function, ShloFunction):
        found["platforms"] = list(function.platforms)
        found["calling_convention"] = function.calling_convention_version
        if function.jax is not None:
            found["traced_name"] = function.jax.name
            found["devices"] = function.jax.device_count
            found["disabled_checks"] = list(function.jax.disabled_checks)
        supplementals = {key: s.data.mime_type or "" for key, s in function.supplementals.items()}
    return found | {
        "visibility": function.visibility.name.lower(),
        "symbols": list(function.signature.symbols),
        "gradient": function.gradient_function_name or "",
        "data_names": list(function.data_names),
        "inputs": [asdict(line) for line in inputs],
        "outputs": [asdict(line) for line in outputs],
        "supplementals": supplementals,
    }


def _write_details(console: Console, values: Mapping[str, Any]) -> None:
    console.line(console.styled(clean(values["function"]), "bold"))
    trees = ("function", "inputs", "outputs", "supplementals", "data_names")
    rows = [
        [key.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value)]
        for key, value in values.items()
        if key not in trees and value not in ("", [])
    ]
    rows.append(["data names", _shortened(values["data_names"]) or "all weights"])
    write_table(console, [Column(), Column(is_flexible=True)], rows)
    for side in ("inputs", "outputs"):
        console.heading(side)
        _write_signature(console, [SignatureLine(**line) for line in values[side]])
    if values["supplementals"]:
        console.heading("supplementals")
        write_table(
            console,
            [Column(), Column(is_flexible=True)],
            [[key, mime_type or "untyped"] for key, mime_type in values["supplementals"].items()],
        )


def _shortened(names: list[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _write_signature(console: Console, lines: list[SignatureLine]) -> None:
    columns = [Column(is_flexible=True), Column(), Column(is_flexible=True), Column()]
    rows = [
        [
            "  " * line.depth + (line.key or "."),
            line.dtype or ("" if line.kind == "array" else line.kind),
            line.shape,
            line.sharding,
        ]
        for line in lines
    ]
    write_table(console, columns, rows)


def _tree(bundle: Bundle, _: bool, options: argparse.Namespace, console: Console) -> int:
    root = bundle.path
    if options.json:
        console.json(_entries(root))
    elif not options.quiet:
        console.line(console.styled(clean(os.fspath(root)), "bold"))
        _write_folder(console, root)
    return 0


def _entries(root: Path) -> list[dict[str, Any]]:
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            path = file.relative_to(root).as_posix()
            found.append({"path": path, "size_bytes": file.lstat().st_size})
    return sorted(found, key=lambda entry: entry["path"])


def _write_folder(console: Console, folder: Path, before: str = "") -> None:
    children = sorted(folder.iterdir(), key=lambda child: child.name)
    forks = branches(len(children), is_ascii=console.is_ascii)
    for child, (branch, onward) in zip(children, forks, strict=True):
        name = clean(child.name)
        if child.is_symlink():
            console.line(f"{before}{branch}{name} -> {clean(os.fspath(child.readlink()))}")
        elif child.is_dir():
            console.line(f"{before}{branch}{name}/")
            _write_folder(console, child, before + onward)
        else:
            size = size_text(child.lstat().st_size)
            console.line(f"{before}{branch}{name}  {console.styled(size, 'dim')}")


def _proto(bundle: Bundle, _: bool, options: argparse.Namespace, console: Console) -> int:
    from orbax_model_lite.inspection.manifest import manifest_text, manifest_values

    if options.json:
        console.json(manifest_values(bundle))
    elif not options.quiet:
        for line in manifest_text(bundle).splitlines():
            console.line(clean(line))
    return 0


def _examples(bundle: Bundle, _: bool, options: argparse.Namespace, console: Console) -> int:
    # Arrays are looked into, which takes NumPy.
    from orbax_model_lite.inspection.recorded import list_examples

    found = list_examples(bundle)
    if options.json:
        console.json([asdict(example) for example in found])
        return 0
    if options.quiet:
        return 0
    columns = [Column(), Column(), Column(), Column(), Column(is_flexible=True)]
    for example in found:
        kind = "pipeline" if example.is_pipeline else "function"
        platform = f", recorded on {clean(example.platform)}" if example.platform else ""
        title = f"{clean(example.path)}: {kind} {clean(example.target)}{platform}"
        console.line(console.styled(title, "bold"))
        rows = [
            [side, array.name or ".", array.dtype, str(list(array.shape)), array.begins]
            for side, arrays in (("in", example.inputs), ("out", example.outputs))
            for array in arrays
        ]
        write_table(console, columns, rows)
    if not found:
        console.line("this bundle has no recorded examples")
    return 0


def _hlo(bundle: Bundle, name: str, options: argparse.Namespace, console: Console) -> int:
    from orbax_model_lite.runtime.isolation import module_text

    text = module_text(bundle, name)
    if options.output is not None:
        Path(options.output).write_text(text, encoding="utf-8")
    elif options.json:
        console.json({"function": name, "stablehlo": text})
    elif not options.quiet:
        for line in text.splitlines():
            console.line(clean(line))
    return 0


VIEWS: Final[Mapping[str, View]] = {
    "details": _details,
    "tree": _tree,
    "weights": show_weights,
    "proto": _proto,
    "examples": _examples,
    "hlo": _hlo,
}
