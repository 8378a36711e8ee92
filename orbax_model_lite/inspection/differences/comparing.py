"""Two bundles compared: the one walk through everything that can differ."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.examples import read_examples_record
from orbax_model_lite.core.metadata import Metadata
from orbax_model_lite.core.references import is_function
from orbax_model_lite.core.value import ExternalValue, Object, UnknownObject
from orbax_model_lite.inspection.differences import pipelines
from orbax_model_lite.inspection.differences.nouns import SECTIONS, Change, Difference, Kind
from orbax_model_lite.inspection.differences.programs import FunctionsDifference
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.differences.traits import short
from orbax_model_lite.inspection.differences.weights import weights_difference

_READ = frozenset({layout.KEY_ORCHESTRATION, layout.KEY_METADATA, layout.KEY_SAVED_MODEL})


def diff(
    before: Bundle | str | os.PathLike[str],
    after: Bundle | str | os.PathLike[str],
    *,
    weights: bool = True,
    progress: Progress | None = None,
) -> Difference:
    """Returns everything that changed from one bundle to another.

    No framework is imported, except what reads checkpoints where values of theirs are compared;
    files whose recorded digests are equal are looked for, and not read: that they are what is
    recorded is the matter of `verify`.

    Args:
      before: A folder, or what was read from it.
      after: Likewise.
      weights: Whether values of weights are compared; names, types and sizes are in any case.
      progress: Told how much of the weights has been read.

    Raises:
      InvalidBundleError: If one is no bundle, unfinished or damaged; the message says which.
        Damaged weights are told in the result.
      UnsupportedError: If one is of a version that this reader does not know.
      StorageError: If the file system refuses.

    Example:
      >>> from orbax_model_lite import core
      >>> core.save({"nothing": core.TupleValue(elements=())}, "a.obm")
      >>> core.save({"nothing": core.TupleValue(elements=())}, "b.obm")
      >>> print(diff("a.obm", "b.obm"))
      no difference
    """
    old, new = Side("before", before), Side("after", after)
    names = os.fspath(old.bundle.path), os.fspath(new.bundle.path)
    if _is_same_content(old, new):
        return Difference(before=names[0], after=names[1])
    changes = list(pipelines.pipeline_changes(old, new))
    in_use = pipelines.outer_functions(pipelines.orchestration(old))
    functions = FunctionsDifference(before=old, after=new, in_use=in_use)
    functions.run()
    changes += functions.changes
    changes += _saved_model_changes(old, new)
    weights_changes, compared = weights_difference(old, new, is_read=weights, progress=progress)
    changes += weights_changes
    changes += _metadata_changes(old, new)
    changes += _object_changes(old, new)
    changes += _supplemental_changes(old, new)
    return Difference(
        before=names[0],
        after=names[1],
        changes=tuple(sorted(changes, key=_order)),
        operations=tuple(functions.operations),
        custom_calls=tuple(functions.custom_calls),
        weights=tuple(compared),
    )


def _order(change: Change) -> tuple[int, bool]:
    return SECTIONS.index(change.section), not change.is_breaking


def _is_same_content(before: Side, after: Side) -> bool:
    with before.errors():
        old = before.bundle.content_hash
    with after.errors():
        new = after.bundle.content_hash
    is_same = old is not None and old == new
    return is_same and before.has_recorded_files and after.has_recorded_files


def _metadata_changes(before: Side, after: Side) -> Iterator[Change]:
    old, new = _metadata(before), _metadata(after)
    yield from _mapping_changes("", old, new)
    yield from _mapping_changes(
        "",
        {"layout": before.bundle.layout, "devices": _devices(before)},
        {"layout": after.bundle.layout, "devices": _devices(after)},
    )


def _metadata(side: Side) -> dict[str, str]:
    raw = side.supplemental(layout.KEY_METADATA)
    with side.errors():
        found = Metadata() if raw is None else Metadata.from_payload(raw)
    texts = {}
    for field in fields(Metadata):
        value = getattr(found, field.name)
        if isinstance(value, Mapping):
            kind = "version of " if field.name == "framework_versions" else ""
            texts |= {f"{kind}{key}": text for key, text in sorted(value.items())}
        else:
            texts[field.name] = value if isinstance(value, str) else ", ".join(value)
    return texts


def _devices(side: Side) -> str:
    assigned = side.bundle.device_assignment
    return "" if assigned is None else ", ".join(map(str, assigned))


def _object_changes(before: Side, after: Side) -> Iterator[Change]:
    """Gives what changed among objects that are neither functions nor weights."""
    had = {name: _object_text(o) for name, o in before.bundle.objects.items()}
    has = {name: _object_text(o) for name, o in after.bundle.objects.items()}
    yield from _mapping_changes("object ", had, has)


def _object_text(found: Object) -> str:
    if is_function(found) or isinstance(found, ExternalValue):
        return ""
    if isinstance(found, UnknownObject):
        return (
            f"unknown, {len(found.origin)} bytes: {short(hashlib.sha256(found.origin).hexdigest())}"
        )
    return str(getattr(found, "elements", ""))


def _supplemental_changes(before: Side, after: Side) -> Iterator[Change]:
    had, has = _supplemental_texts(before), _supplemental_texts(after)
    yield from _mapping_changes("supplemental ", had, has)
    yield from _mapping_changes("recorded call ", _example_texts(before), _example_texts(after))


def _supplemental_texts(side: Side) -> dict[str, str]:
    return {
        key: f"{data.mime_type or 'untyped'}, {short(side.digest(data))}"
        for key, data in side.bundle.supplementals.items()
        if key not in _READ
    }


def _example_texts(side: Side) -> dict[str, str]:
    raw = side.supplemental(layout.KEY_EXAMPLES)
    if raw is None:
        return {}
    with side.errors():
        found = read_examples_record(raw)
    return {e.path: short(side.digest(Data(content=FileRange(path=e.path)))) for e in found}


def _saved_model_changes(before: Side, after: Side) -> Iterator[Change]:
    """Gives files of TensorFlow programs that differ."""
    had, has = _saved_model_texts(before), _saved_model_texts(after)
    yield from _mapping_changes("SavedModel, file ", had, has, section="programs")


def _saved_model_texts(side: Side) -> dict[str, str]:
    data = side.bundle.supplementals.get(layout.KEY_SAVED_MODEL)
    if data is None or data.file is None:
        return {}
    files = side.files(data, "the SavedModel")
    return {name: short(digest.sha256.hex()) for name, digest in files.items()}


def _mapping_changes(
    start: str, before: Mapping[str, str], after: Mapping[str, str], section: str = "metadata"
) -> Iterator[Change]:
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, ""), after.get(key, "")
        if old == new:
            continue
        kind: Kind = "changed" if old and new else "removed" if old else "added"
        where = f"{start}{key!r}" if start else key
        yield Change(section=section, where=where, kind=kind, before=old, after=new)
