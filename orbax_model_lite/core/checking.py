"""Is a bundle whole, and does it fit together? All findings at once, no framework, nothing run.

Digests and files are compared by `check_files`; what objects say of each other is looked at here.
Pipelines, and what the programs give, are the runtime's to verify.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from pathlib import Path

from orbax_model_lite.core import check_files, layout, paths, version_file, wire
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import OpaqueFunction
from orbax_model_lite.core.limits import ReadLimits
from orbax_model_lite.core.reading import read_with_problems
from orbax_model_lite.core.references import (
    concrete_functions,
    object_problems,
    payloads,
    range_problem,
)
from orbax_model_lite.core.report import Finding, Report
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.core.value import ExternalValue, Object, UnknownObject
from orbax_model_lite.errors import ObmError

_PROGRAMS = frozenset({layout.MIME_STABLEHLO, layout.MIME_TF_FUNCTION})
_WEIGHTS = frozenset({layout.MIME_ORBAX_CHECKPOINT, layout.MIME_SAFETENSORS})
_RECORDS = frozenset(
    {
        layout.KEY_ORCHESTRATION,
        layout.KEY_SAVED_MODEL,
        layout.KEY_COMPILE_OPTIONS,
        layout.KEY_LOGICAL_TYPES,
        layout.KEY_LOWERINGS,
        layout.KEY_JAX_TREES,
        layout.KEY_MODULE_FACTS,
        layout.KEY_METADATA,
        layout.KEY_EXAMPLES,
    }
)


def check(
    bundle: Bundle | str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    with_digests: bool = True,
) -> Report:
    """Returns everything that is wrong with a bundle's structure, files and digests.

    Errors are what contradicts the format or the record of digests. What cannot be judged is
    inconclusive: a bundle without digests, a file that cannot be read, a kind of object or program
    that this version does not know. Supplementals it does not know are only mentioned, because
    nothing here interprets them.

    Args:
      bundle: A folder, or what was read from it.
      progress: Called with (bytes done, total) while files are digested.
      with_digests: Whether files are read and digested; else their names and sizes are compared.
    """
    if isinstance(bundle, Bundle):
        found, problems, root = bundle, [], bundle.path
    else:
        root = Path(bundle)
        found, problems = read_with_problems(root)
    findings = [check_files.of_error(error) for error in problems]
    if root.is_dir():
        findings += _repeated_names(root)
        findings += check_files.check_files(root, progress, with_digests=with_digests)
    if found is not None:
        findings += _of_objects(found)
        findings += _of_payloads(found)
    return Report(tuple(dict.fromkeys(findings)))


def _repeated_names(root: Path) -> Iterator[Finding]:
    """Gives a finding for each name that a manifest has twice; readers differ in which counts."""
    where = f"bundle {os.fspath(root)!r}"
    try:
        marker = paths.read_file(root, layout.VERSION_FILE, where, version_file.MAX_BYTES)
        path = version_file.from_bytes(marker, where).manifest_file_path
        raw = paths.read_file(root, path, where, ReadLimits().manifest_bytes)
        entries = collections.Counter(
            (item.number, bytes(part.data))
            for item in wire.fields(raw, where)
            if item.has(1) or item.has(2)
            for part in wire.fields(item.data, where)
            if part.has(1)
        )
    except ObmError:
        return  # `read_with_problems` has said it
    for (number, name), count in entries.items():
        if count > 1:
            kind = "object" if number == 1 else "supplemental"
            message = "expected each name once; found it {} times; save the bundle again"
            text = name.decode(errors="replace")
            yield Finding("error", f"manifest, {kind} {text!r}", message.format(count))


def _of_objects(bundle: Bundle) -> Iterator[Finding]:
    for where, problem in object_problems(bundle.objects):
        yield Finding("error", where, problem)
    for name, found in bundle.objects.items():
        yield from _unknown_types(name, found)
        yield from _unknown_kind(name, found)
    for key, data in bundle.supplementals.items():
        if key not in _RECORDS:
            yield _mentioned(f"supplemental {key!r}", data)


def _unknown_kind(name: str, found: Object) -> Iterator[Finding]:
    """Gives findings for what this version has no reader for."""
    if isinstance(found, UnknownObject):
        message = "expected a function or a value; found another kind; upgrade orbax_model_lite"
        yield Finding("inconclusive", f"object {name!r}", message)
    if isinstance(found, ExternalValue):
        mime_type = layout.canonical_mime_type(found.data.mime_type)
        if mime_type not in _WEIGHTS:
            message = f"data of type {mime_type!r}, which this version does not load"
            yield Finding("info", f"value {name!r}", message)
    for where, function in concrete_functions(name, found):
        mime_type = layout.canonical_mime_type(function.mime_type)
        if mime_type not in _PROGRAMS:
            message = (
                f"expected a program of a known type; found {mime_type!r}; "
                "use the program that wrote it"
            )
            yield Finding("inconclusive", where, message)
        if not isinstance(function, OpaqueFunction):
            for key, supplemental in function.supplementals.items():
                if key not in _RECORDS:
                    yield _mentioned(f"{where}, supplemental {key!r}", supplemental.data)


def _mentioned(where: str, data: Data) -> Finding:
    kind = f" of type {data.mime_type!r}" if data.mime_type else ""
    return Finding("info", where, f"a record{kind} that this version keeps and does not read")


def _unknown_types(name: str, found: Object) -> Iterator[Finding]:
    for where, function in concrete_functions(name, found):
        signature = function.signature
        for side, tree in (("input", signature.inputs), ("output", signature.outputs)):
            for path, leaf in flatten_with_path(tree):
                if isinstance(leaf, Spec) and leaf.dtype is DType.UNSPECIFIED and not leaf.logical:
                    message = (
                        "expected a known element type; found none recorded; "
                        "read it from the module or save the bundle again"
                    )
                    place = f"{where}, {side} {format_path(path) or '.'!r}"
                    yield Finding("inconclusive", place, message)


def _of_payloads(bundle: Bundle) -> Iterator[Finding]:
    """Gives a finding for each payload that is not where the manifest says."""
    found = [pair for name, o in bundle.objects.items() for pair in payloads(name, o)]
    found += [(f"supplemental {key!r}", data) for key, data in bundle.supplementals.items()]
    for where, data in found:
        place = data.file
        if data.content is None:
            message = "expected a payload; found neither content nor a file; save the bundle again"
            yield Finding("error", where, message)
        if place is None:
            continue
        try:
            file = bundle.resolve(data, where=where)
            with storage_errors("reading", file):
                problem = None if file.is_dir() else range_problem(place, file.stat().st_size)
        except ObmError as e:
            yield check_files.of_error(e)
            continue
        if problem is not None:
            yield Finding("error", where, problem)
