"""Weights as the headers on disk tell, without a framework; no array is read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from orbax_model_lite.core import layout
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.errors import UnsupportedError


def stored_tree(path: Path, mime_type: str | None, where: str) -> Tree:
    """Returns the tree of weights with a `StoredArray` for each leaf.

    The spec of a leaf is None where only the array itself tells shape and element type.

    Args:
      path: A SafeTensors file, or the folder of an Orbax checkpoint.
      mime_type: Which of the two.
      where: The weights, as the beginning of a message.

    Raises:
      InvalidBundleError: If the header is damaged, or does not fit the file.
      UnsupportedError: If the format is unknown.
      StorageError: If the file system refuses.
    """
    match layout.canonical_mime_type(mime_type):
        case layout.MIME_SAFETENSORS:
            return _safetensors(path, where)
        case layout.MIME_ORBAX_CHECKPOINT:
            with storage_errors("reading", path):
                return _checkpoint(path)
        case other:
            raise UnsupportedError(
                f"{where}: expected an Orbax checkpoint or a SafeTensors file; found {other!r}; "
                "list it with the program that wrote it"
            )


def _checkpoint(path: Path) -> Tree:
    from orbax_model_lite.jax2obm.checkpoint.folder import locate, read_folder

    folder = read_folder(locate(path))
    if folder.is_ours or folder.is_ocdbt:
        return folder.tree
    from orbax_model_lite.jax2obm.checkpoint.zarr_headers import recorded_spec

    return map_leaves(lambda array: replace(array, spec=recorded_spec(folder, array)), folder.tree)


def _safetensors(path: Path, where: str) -> Tree:
    from orbax_model_lite.jax2obm.weights.safetensors_header import read_header

    with storage_errors("reading", path), path.open("rb") as file:

        def read(begin: int, end: int) -> bytes:
            file.seek(begin)
            return file.read(end - begin)

        return read_header(read, os.fstat(file.fileno()).st_size, where).tree
