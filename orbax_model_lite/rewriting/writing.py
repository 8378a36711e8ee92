"""A changed bundle, written as a new folder: what did not change is copied, byte for byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, GlobalSupplemental
from orbax_model_lite.core.digests import list_files
from orbax_model_lite.core.examples import Example, write_examples
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.references import payloads
from orbax_model_lite.core.saving import SaveOptions, save
from orbax_model_lite.core.staging import staged
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.value import ExternalValue, Object
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm import save_weights

_WRITTEN = {
    layout.MANIFEST_FILE,
    layout.INTEGRITY_FILE,
    layout.VERSION_FILE,
    layout.LEGACY_VERSION_FILE,
}


def write(
    target: str | os.PathLike[str],
    bundle: Bundle,
    original: Bundle,
    *,
    supplementals: Mapping[str, Data],
    weights: Mapping[str, Any],
    examples: Sequence[Example] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes a changed bundle as a new folder, which appears when it is complete.

    Args:
      target: The new folder. It may be the original's own, with `overwrite`.
      bundle: The objects to write; payloads in files lie in the original's folder.
      original: As it was read.
      supplementals: Records about the whole bundle that replace those of `bundle`, by key.
      weights: Plain trees of arrays by name of the value that they replace.
      examples: What replaces the recorded ones; None keeps them.
      overwrite: Whether a bundle at `target` is replaced.

    Raises:
      InvalidModelError: If new weights are for a value that is not in a file of its own.
      BundleExistsError: If `target` exists and may not be replaced.
      StorageError: If the file system refuses.
    """
    values = {name: _value(bundle.objects[name], name) for name in weights}
    records = dict(bundle.supplementals) | dict(supplementals)
    if examples is not None:
        records.pop(layout.KEY_EXAMPLES, None)
    places = {name: _place(value) for name, value in values.items()}
    used = _files(bundle.objects) | {d.file.path for d in records.values() if d.file}
    before = _files(original.objects)
    before |= {d.file.path for d in original.supplementals.values() if d.file}
    left_out = {*(before - used), *(place.rstrip("/") for place in places.values())}
    if examples is not None:
        left_out.add(layout.EXAMPLES_FOLDER.rstrip("/"))
    with staged(target, overwrite=overwrite) as folder:
        _copy(original, folder, left_out)
        for name, place in places.items():
            save_weights(folder / place, weights[name], format=_format(values[name]))
        if examples:
            platform = jax.default_backend()
            records[layout.KEY_EXAMPLES] = write_examples(folder, examples, platform)
        options = SaveOptions.keeping(bundle)
        info = {key: _global(key, data) for key, data in records.items()}
        save(bundle.objects, folder, replace(options, supplemental_info=info))
    return read(target)


def _value(found: Object, name: str) -> ExternalValue:
    if isinstance(found, ExternalValue) and found.data.file is not None:
        return found
    raise InvalidModelError(
        f"value {name!r}: expected weights in a file or folder of their own; found "
        f"{type(found).__name__}; replace the values that it is made of"
    )


def _place(value: ExternalValue) -> str:
    assert value.data.file is not None
    return value.data.file.path


def _format(value: ExternalValue) -> Any:
    mime = layout.canonical_mime_type(value.data.mime_type)
    return "safetensors" if mime == layout.MIME_SAFETENSORS else "orbax"


def _global(key: str, data: Data) -> GlobalSupplemental | Data:
    """Returns a record for the save: a new pipeline record goes to its usual file."""
    if key == layout.KEY_ORCHESTRATION and data.file is None:
        return GlobalSupplemental(data, layout.ORCHESTRATION_FILE)
    return data


def _files(objects: Mapping[str, Object]) -> set[str]:
    """Returns the files and folders that objects refer to, without a trailing slash."""
    found = (data for name, o in objects.items() for _, data in payloads(name, o))
    return {data.file.path.rstrip("/") for data in found if data.file is not None}


def _copy(original: Bundle, folder: Path, left_out: Iterable[str]) -> None:
    with storage_errors("copying from", original.path):
        for path in list_files(original.path):
            if path in _WRITTEN or _is_below(path, left_out):
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original.resolve(path), target)


def _is_below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
