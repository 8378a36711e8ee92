"""Weights as their headers tell: name, shape, type and size of each array; no array is read.

SafeTensors has all of it in its header. An Orbax checkpoint has it in the record that this package
writes; in somebody else's, it is told by the header of each array where that is a file of its own,
else by the recorded type of the value or by the arrays only.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import ObmError
from orbax_model_lite.inspection.description import WeightsDescription
from orbax_model_lite.jax2obm.weights.headers import stored_tree

_FORMATS = {
    layout.MIME_ORBAX_CHECKPOINT: "Orbax checkpoint",
    layout.MIME_SAFETENSORS: "SafeTensors",
}

_MOST_BYTES: Final = 1 << 63  # that NumPy, TensorStore and XLA can count


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ListedArray:
    """One array of the weights.

    Attributes:
      name: Its dotted key path.
      dtype: Name of its element type, such as "float32" or "key<fry>"; None where no header tells.
      shape: Sizes; None where no header tells.
      size_bytes: Of all elements; None where no header tells.
      problem: Why it cannot be read as an array; "" if it can.
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None
    size_bytes: int | None
    problem: str = ""


def is_weights(value: object) -> bool:
    """Whether an object is data of a format that is listed here."""
    return isinstance(value, ExternalValue) and _mime_type(value) in _FORMATS


def format_name(value: ExternalValue) -> str:
    """Returns "Orbax checkpoint", "SafeTensors", or the MIME type of another format."""
    return _FORMATS.get(_mime_type(value), _mime_type(value) or "unknown")


def describe_weights(bundle: Bundle, name: str, value: ExternalValue) -> WeightsDescription:
    """Returns a summary; one that says why where weights cannot be listed."""
    place = value.data.file
    fields: dict[str, Any] = {
        "name": name,
        "format": format_name(value),
        "path": place.path if place else "",
    }
    try:
        at = bundle.resolve(value.data, where=f"weights {name!r}")
        with storage_errors("reading", at):
            fields["disk_bytes"] = disk_bytes(at)
        if not is_weights(value):
            return WeightsDescription(**fields)
        arrays = list_weights(bundle, name, value)
    except ObmError as e:
        return WeightsDescription(**fields, problem=str(e))
    sizes: Counter[str] = Counter()
    for array in arrays:
        if array.dtype is not None:
            sizes[array.dtype] += array.size_bytes or 0
    return WeightsDescription(
        **fields,
        array_count=len(arrays),
        size_bytes=sizes.total(),
        unknown_count=sum(array.dtype is None for array in arrays),
        dtypes=dict(sizes.most_common()),
    )


def list_weights(bundle: Bundle, name: str, value: ExternalValue) -> list[ListedArray]:
    """Returns all arrays, in the order of their tree.

    Args:
      bundle: The bundle.
      name: Of the weights, for messages.
      value: Of the bundle.

    Raises:
      InvalidBundleError: If the weights are missing or damaged.
      UnsupportedError: If their format is unknown.
      StorageError: If the file system refuses.
    """
    where = f"weights {name!r}"
    path = bundle.resolve(value.data, where=where)
    return _listed(stored_tree(path, value.data.mime_type, where), value.type)


def disk_bytes(path: Path) -> int:
    """Returns the size of a file, or of all files in a folder; links are not followed."""
    if not path.is_dir():
        return path.stat().st_size
    files = (Path(at, name) for at, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)


def _mime_type(value: ExternalValue) -> str:
    return layout.canonical_mime_type(value.data.mime_type)


def _listed(tree: Tree, recorded: Tree) -> list[ListedArray]:
    known = {format_path(path): leaf for path, leaf in flatten_with_path(recorded)}
    return [
        _one(format_path(path), array.spec or known.get(format_path(path)), array.problem or "")
        for path, array in flatten_with_path(tree)
    ]


def _one(name: str, spec: Any, problem: str) -> ListedArray:
    if not isinstance(spec, Spec) or not spec.is_static:
        return ListedArray(name=name, dtype=None, shape=None, size_bytes=None, problem=problem)
    shape = tuple(int(dim) for dim in spec.shape or () if dim is not None)
    # In memory a packed type takes a byte an element.
    size_bytes = math.prod(shape) * max(1, spec.dtype.size_bits // 8)
    if size_bytes >= _MOST_BYTES:
        problem = problem or "more elements than any memory has"
        return ListedArray(name=name, dtype=None, shape=None, size_bytes=None, problem=problem)
    return ListedArray(
        name=name,
        dtype=spec.logical or spec.dtype.value,
        shape=shape,
        size_bytes=size_bytes,
        problem=problem,
    )
