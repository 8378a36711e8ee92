"""Writes the SavedModel that the TensorFlow functions of a bundle share.

One signature a function, flat and by keyword, named as `convert_function` records it. What could
tell about the author's machine is taken out of the file afterwards.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import tensorflow as tf

from orbax_model_lite.core import layout, paths
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidBundleError,
    InvalidModelError,
    StorageError,
)
from orbax_model_lite.tf2obm.framework import quiet_messages
from orbax_model_lite.tf2obm.names import NO_OUTPUT, signature_key
from orbax_model_lite.tf2obm.prepare import PreparedFunction, TfCallable, prepare_function
from orbax_model_lite.tf2obm.program import ASSETS_FOLDER, PROGRAM_FILE
from orbax_model_lite.tf2obm.resources import root_of
from orbax_model_lite.tf2obm.rewrite import without_author_paths

_FINGERPRINT: Final = "fingerprint.pb"
_PARTS: Final = frozenset({PROGRAM_FILE, _FINGERPRINT, "assets", "variables", "debug"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFunctions:
    """What `save_tf_functions` wrote.

    Attributes:
      folder: The SavedModel, relative to the bundle, ending in "/".
      assets: Files that were copied because a function reads them, relative to the bundle.
    """

    folder: str
    assets: tuple[str, ...] = ()


def save_tf_functions(
    path: str | os.PathLike[str],
    functions: Mapping[str, TfCallable],
    trackable_resources: Any = None,
    *,
    subfolder: str = layout.SAVED_MODEL_FOLDER,
) -> SavedFunctions:
    """Writes one SavedModel with all TensorFlow functions of a bundle.

    Args:
      path: The bundle's folder, which need not exist yet and must not be finished.
      functions: By object name, the same callables that went to `convert_function`.
      trackable_resources: What owns the variables, tables and assets that the functions use: a
        `tf.Module`, any other trackable object, or a list or dict of them. None collects them.
      subfolder: Where in the bundle; what an earlier attempt left there is replaced.

    Raises:
      InvalidModelError: If a function cannot be recorded, uses something that is not tracked, or
        the path of the subfolder leaves the bundle.
      BundleExistsError: If `path` is a finished bundle, or the subfolder holds something else.
      StorageError: If the file system refuses.
    """
    folder = f"{_require_subfolder(subfolder)}/"
    target = _require_free(Path(path), folder)
    prepared = {name: prepare_function(fn, name=name) for name, fn in functions.items()}
    signatures = {signature_key(name): _flat(function) for name, function in prepared.items()}
    if len(signatures) < len(prepared):
        raise InvalidModelError(
            f"functions: expected names that differ as signatures; found {sorted(prepared)}; "
            "rename one"
        )
    root = root_of(prepared, trackable_resources)
    try:
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _save(root, target, signatures)
        _clean(target)
        assets = sorted(p for p in (target / ASSETS_FOLDER).rglob("*") if p.is_file())
    except OSError as e:
        raise _refused(target, e) from e
    below = tuple(folder + asset.relative_to(target).as_posix() for asset in assets)
    return SavedFunctions(folder=folder, assets=below)


def tf_saved_model_as_obm_supplemental(subfolder: str = layout.SAVED_MODEL_FOLDER) -> Data:
    """Returns the record that tells where in a bundle its SavedModel lies.

    It goes into the bundle's global supplementals under "tensorflow_saved_model".

    Args:
      subfolder: As in `save_tf_functions`.

    Raises:
      InvalidModelError: If the path leaves the bundle.

    Example:
      >>> tf_saved_model_as_obm_supplemental("tf_stuff").file.path
      'tf_stuff/'
    """
    return Data(
        content=FileRange(path=f"{_require_subfolder(subfolder)}/"),
        mime_type=layout.MIME_SAVED_MODEL,
        version=layout.SAVED_MODEL_VERSION,
    )


def _require_subfolder(subfolder: str) -> str:
    try:
        paths.require_relative(subfolder, "subfolder")
    except InvalidBundleError as e:
        raise InvalidModelError(
            f"subfolder: expected a folder inside the bundle; found {subfolder!r}; pass for "
            f"example {layout.SAVED_MODEL_FOLDER!r}"
        ) from e
    return subfolder.rstrip("/")


def _require_free(bundle: Path, folder: str) -> Path:
    target = bundle / folder
    if (bundle / layout.VERSION_FILE).exists():
        raise BundleExistsError(
            f"bundle {os.fspath(bundle)!r}: expected a folder whose save has not finished; found a "
            "finished bundle; save to another path"
        )
    if target.exists() and not (target.is_dir() and {p.name for p in target.iterdir()} <= _PARTS):
        raise BundleExistsError(
            f"folder {os.fspath(target)!r}: expected nothing there, or a SavedModel of an earlier "
            "attempt; found something else; choose another subfolder"
        )
    return target


def _flat(function: PreparedFunction) -> Any:
    """Returns a `tf.function` from named flat inputs to a dict of named flat outputs."""
    names = dict(zip(function.input_names, function.signature.input_leaves, strict=True))
    # TensorFlow records the defaults of the last parameters; by keyword, the order is free.
    ordered = sorted(names, key=lambda name: name in function.defaults)
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=tf.constant(function.defaults[name])
            if name in function.defaults
            else inspect.Parameter.empty,
        )
        for name in ordered
    ]
    signature = inspect.Signature(parameters)

    def flat(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        outputs = function(*[bound.arguments[name] for name in names])
        named = dict(zip(function.output_names, outputs, strict=True))
        return named or {NO_OUTPUT: tf.constant(value=False)}

    _set_signature(flat, signature)
    specs = [_tensor_spec(name, function) for name in ordered]
    return tf.function(flat, input_signature=specs, autograph=False)


def _set_signature(function: Callable[..., Any], signature: inspect.Signature) -> None:
    # What TensorFlow and inspect take as a callable's parameters, whatever its own are.
    function.__signature__ = signature


def _tensor_spec(name: str, function: PreparedFunction) -> tf.TensorSpec:
    position = function.input_positions[function.input_names.index(name)]
    spec = tf.nest.flatten(function.structured_input_signature)[position]
    return tf.TensorSpec(spec.shape, spec.dtype, name=name)


def _save(root: tf.Module, target: Path, signatures: Mapping[str, Any]) -> None:
    try:
        with quiet_messages(tf):
            tf.saved_model.save(root, os.fspath(target), signatures=dict(signatures))
    except AssertionError as e:
        raise InvalidModelError(
            "trackable_resources: expected everything that the functions use; TensorFlow says "
            f"{str(e).splitlines()[0]!r}; pass the tf.Module that owns it"
        ) from e
    except tf.errors.OpError as e:
        raise _refused(target, e) from e


def _clean(target: Path) -> None:
    """Takes out what depends on the machine, and what would differ from save to save."""
    # It holds a random number and digests that the bundle's own record replaces.
    (target / _FINGERPRINT).unlink(missing_ok=True)
    program = target / PROGRAM_FILE
    before = program.read_bytes()
    after = without_author_paths(before)
    if after != before:
        program.write_bytes(after)


def _refused(target: Path, error: Exception) -> StorageError:
    text = (getattr(error, "message", None) or str(error) or type(error).__name__).splitlines()[0]
    return StorageError(
        f"SavedModel {os.fspath(target)!r}: expected to be able to write it; found {text}; check "
        "the disk, its permissions, and the asset files"
    )
