"""Weights on disk as something to read from, whatever their format; their specs and names.

Imports neither JAX nor Orbax, and TensorStore only where a checkpoint of somebody else has to be
opened to learn its shapes. Loading is the matter of `weights`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path, map_leaves, unflatten
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.weights.buffers import Index
from orbax_model_lite.jax2obm.weights.safetensors import SafeTensorsReader
from orbax_model_lite.jax2obm.weights.stored import StoredArray

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.checkpoint.folder import CheckpointFolder


class Source(Protocol):
    """Weights that can be read array by array, from several threads."""

    @property
    def tree(self) -> Tree:
        """The tree with a StoredArray for every leaf."""
        ...

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        """Returns the arrays with their specs."""
        ...

    def read(
        self, array: StoredArray, indices: Sequence[Index], dtype: np.dtype | None = None
    ) -> list[np.ndarray]:
        """Returns parts of an opened array in new buffers, cast if a dtype is given."""
        ...

    def close(self) -> None:
        """Lets go of what is open."""
        ...


def open_source(
    path: str | os.PathLike[str],
    mime_type: str | None = None,
    *,
    step: int | None = None,
    item: str | None = None,
) -> Source:
    """Returns weights to read from.

    Args:
      path: A SafeTensors file, or a folder that `locate` finds a checkpoint in.
      mime_type: In any spelling; None tells a file from a folder.
      step: Of a CheckpointManager's folder; None is the latest.
      item: Of a step with several items.

    Raises:
      InvalidBundleError: If there are no weights, or damaged ones.
      UnsupportedError: If the MIME type is unknown.
    """
    if is_safetensors(path, mime_type):
        return _file(Path(path), step, item)
    return _reader(_folder(path, step, item))


def is_safetensors(path: str | os.PathLike[str], mime_type: str | None) -> bool:
    """Returns whether weights are a SafeTensors file and not an Orbax checkpoint.

    Raises:
      UnsupportedError: If the MIME type is neither.
    """
    mime = layout.canonical_mime_type(mime_type)
    if not mime:
        return Path(path).is_file()
    if mime in (layout.MIME_SAFETENSORS, layout.MIME_ORBAX_CHECKPOINT):
        return mime == layout.MIME_SAFETENSORS
    raise UnsupportedError(
        f"weights {os.fspath(path)!r}: expected MIME type {layout.MIME_ORBAX_CHECKPOINT!r} or "
        f"{layout.MIME_SAFETENSORS!r}; found {mime_type!r}; convert them first"
    )


def weights_spec(
    path: str | os.PathLike[str],
    mime_type: str | None = None,
    *,
    step: int | None = None,
    item: str | None = None,
) -> Tree:
    """Returns the plain tree of weights with a Spec for every array; reads no array.

    Args:
      path: See `open_source`.
      mime_type: See `open_source`.
      step: See `open_source`.
      item: See `open_source`.

    Raises:
      InvalidBundleError: If there are no weights, or damaged ones.
      UnsupportedError: If something in them is no array, or the MIME type is unknown.
    """
    if not is_safetensors(path, mime_type):
        folder = _folder(path, step, item)
        if folder.is_ours:
            return map_leaves(lambda array: array.spec, folder.tree)
        source = _reader(folder)
    else:
        source = _file(Path(path), step, item)
    with contextlib.closing(source):
        arrays = [array for _, array in flatten_with_path(source.tree)]
        require_readable(arrays, f"weights {os.fspath(path)!r}")
        return unflatten(source.tree, [array.spec for array in source.open(arrays)])


def weights_names(
    path: str | os.PathLike[str],
    mime_type: str | None = None,
    *,
    step: int | None = None,
    item: str | None = None,
) -> list[str]:
    """Returns the dotted key paths of all arrays, in flatten order; needs no library of anyone's.

    Args:
      path: See `open_source`.
      mime_type: See `open_source`.
      step: See `open_source`.
      item: See `open_source`.

    Raises:
      InvalidBundleError: If there are no weights, or damaged ones.
      UnsupportedError: If the MIME type is unknown.
    """
    if is_safetensors(path, mime_type):
        with contextlib.closing(_file(Path(path), step, item)) as source:
            tree = source.tree
    else:
        tree = _folder(path, step, item).tree
    return [format_path(found) for found, _ in flatten_with_path(tree)]


def require_readable(arrays: Sequence[StoredArray], where: str) -> None:
    """Checks that everything that is to be read is an array.

    Raises:
      UnsupportedError: If it is not.
    """
    odd = {format_path(array.path): array.problem for array in arrays if array.problem}
    if odd:
        name, problem = next(iter(odd.items()))
        raise UnsupportedError(
            f"{where}: expected arrays; found {problem} at {name!r} ({len(odd)} of "
            f"{len(arrays)} entries are no arrays); choose the arrays by name"
        )


def _file(path: Path, step: int | None, item: str | None) -> SafeTensorsReader:
    if not path.is_file() or step is not None or item is not None:
        found = "a folder" if path.is_dir() else "a file" if path.exists() else "nothing"
        raise InvalidBundleError(
            f"SafeTensors file {str(path)!r}: expected a file without steps and items; found "
            f"{found}; check the path, the MIME type and the choice of step or item"
        )
    return SafeTensorsReader(path)


def _folder(path: str | os.PathLike[str], step: int | None, item: str | None) -> CheckpointFolder:
    # A model whose weights are one file does not wait for this import.
    from orbax_model_lite.jax2obm.checkpoint.folder import locate, read_folder

    return read_folder(locate(path, step=step, item=item))


def _reader(folder: CheckpointFolder) -> Source:
    reader = _lazy.load(
        "orbax_model_lite.jax2obm.checkpoint.reading:CheckpointReader",
        purpose=f"reading checkpoint {str(folder.path)!r}",
    )
    return reader(folder)
