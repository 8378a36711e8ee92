"""Hands a bundle's SavedModel to TensorFlow, once its files are known to be the recorded ones."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import FileRange
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.tf2obm.framework import quiet_messages, tensorflow


def saved_model_folder(bundle: Bundle) -> str:
    """Returns the folder of a bundle's SavedModel, relative to the bundle.

    Raises:
      InvalidBundleError: If the bundle does not say where it lies.
    """
    data = bundle.supplementals.get(layout.KEY_SAVED_MODEL)
    if data is None or data.file is None:
        raise InvalidBundleError(
            f"bundle {os.fspath(bundle.path)!r}: expected supplemental {layout.KEY_SAVED_MODEL!r} "
            "with the folder of its SavedModel; found none; save the bundle again"
        )
    return data.file.path


def load_saved_model(bundle: Bundle, folder: str) -> Any:
    """Returns what `tf.saved_model.load` gives, after every file was found to be the recorded one.

    Args:
      bundle: The bundle.
      folder: The SavedModel's, relative to it.

    Raises:
      InvalidBundleError: If the SavedModel is missing or damaged, or holds files that the bundle
        does not record.
      StorageError: If the file system refuses.
      MissingDependencyError: If TensorFlow is not installed.
    """
    where = f"SavedModel {folder!r}"
    found = bundle.resolve(folder, where=where)
    root = bundle.path.resolve()
    # A link to a folder is looked at itself: the walk does not go into it, TensorFlow would.
    for file in sorted(p for p in found.rglob("*") if p.is_symlink() or not p.is_dir()):
        _require_recorded(bundle, file.relative_to(root), where)
    tf = tensorflow("loading a SavedModel")
    try:
        with quiet_messages(tf):
            return tf.saved_model.load(os.fspath(found))
    # What TensorFlow raises for a damaged SavedModel depends on where it first stumbles.
    except (
        tf.errors.OpError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        NotImplementedError,
        OSError,
        TypeError,
        ValueError,
    ) as e:
        raise InvalidBundleError(
            f"{where}: expected TensorFlow {tf.__version__} to load it; found {first_line(e)}; "
            "the bundle is damaged or needs another TensorFlow"
        ) from e


def _require_recorded(bundle: Bundle, file: PurePath, where: str) -> None:
    """Checks that a file is inside the bundle and as it was when the bundle was saved."""
    path = file.as_posix()
    bundle.resolve(path, where=where)
    if bundle.digests is not None:
        if bundle.digest(path) is None:
            raise InvalidBundleError(
                f"{where}: expected files that the bundle records; found {path!r} beside them; "
                "remove it, or save the bundle again"
            )
        bundle.read_bytes(FileRange(path=path, size=0), where=where)


def first_line(error: Exception) -> str:
    """Returns the line of a TensorFlow error that says what went wrong."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Graph execution error", "Detected"))]
    return (useful or lines or [type(error).__name__])[0][:300]
