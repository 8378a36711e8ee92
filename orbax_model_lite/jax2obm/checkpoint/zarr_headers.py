"""Shapes and types of a checkpoint's arrays, where each array is a Zarr folder with a JSON header.

Where all arrays share one key-value store, their headers are inside of it, and only TensorStore
reads them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import format_path
from orbax_model_lite.errors import InvalidBundleError

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.checkpoint.folder import CheckpointFolder
    from orbax_model_lite.jax2obm.weights.stored import StoredArray

_MOST_BYTES: Final = 1 << 20
_MOST_DIMENSIONS: Final = 64
_KINDS: Final = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
_NAMES: Final = {dtype.value: dtype for dtype in DType if dtype.size_bits}


def recorded_spec(folder: CheckpointFolder, array: StoredArray) -> Spec | None:
    """Returns what the header of an array says; None where it has no file of its own.

    Args:
      folder: What `read_folder` returned, which has checked that nothing leads out of it.
      array: Of its tree, without a spec yet.

    Raises:
      InvalidBundleError: If the header is damaged.
      StorageError: If the file system refuses.
    """
    if folder.is_ocdbt or array.name is None or array.problem:
        return None
    header = folder.path / array.name / ("zarr.json" if folder.is_zarr3 else ".zarray")
    where = f"checkpoint {str(folder.path)!r}, array {format_path(array.path)!r}"
    values = _read(header, where)
    match values:
        case {"shape": list(shape), "dtype": str(name)} | {"shape": list(shape), "data_type": name}:
            dtype = _dtype(name)
            is_fine = len(shape) <= _MOST_DIMENSIONS
            if is_fine and all(type(size) is int and 0 <= size < 2**63 for size in shape):
                if dtype is None:
                    return None
                logical = folder.key_types.get(array.name)
                return Spec(shape=tuple(shape), dtype=dtype, logical=logical)
    raise _damaged(where, header, f"{values!r:.80}")


def _read(header: Path, where: str) -> Any:
    with storage_errors("reading", header):
        if not header.is_file():
            raise _damaged(where, header, "nothing")
        with header.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _damaged(where, header, f"more than {_MOST_BYTES} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as e:
        raise _damaged(where, header, f"{e}") from e


def _dtype(name: Any) -> DType | None:
    """Returns the type that "float32" or, in version 2 of Zarr, "<f4" means; None if unknown."""
    if not isinstance(name, str):
        return None
    if name in _NAMES:
        return _NAMES[name]
    kind, size = name[1:2], name[2:]
    if kind == "b" and size == "1":
        return DType.BOOL
    if name[:1] not in "<>|" or kind not in _KINDS or not size.isascii() or not size.isdecimal():
        return None
    return _NAMES.get(f"{_KINDS[kind]}{8 * int(size[:4])}")


def _damaged(where: str, header: Path, found: str) -> InvalidBundleError:
    return InvalidBundleError(
        f"{where}: expected shape and type in {header.name!r}; found {found}; "
        "the checkpoint is damaged, copy or save it again"
    )
