"""What a call returned, on the host and in files: `.npz` by key path, or JSON as a tree.

A file appears when it is complete, and not at all when writing it is interrupted.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, BinaryIO, Final, cast, final

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path, map_leaves
from orbax_model_lite.errors import SignatureMismatchError, UnsupportedError
from orbax_model_lite.runtime.calling import arrays
from orbax_model_lite.runtime.calling.leaf_values import BASE64, IMAG, REAL

SUFFIXES: Final = (".npz", ".json")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HostTree:
    """What a call returned, as NumPy arrays.

    Attributes:
      tree: Plain; strings are object arrays of bytes, PRNG keys their words.
      logical: By path, such as "key<fry>", where the array alone does not say it.
    """

    tree: Tree
    logical: Mapping[Path, str]


def host_tree(output: Tree) -> HostTree:
    """Returns the outputs of a call on the host; waits until they are there."""
    logical: dict[Path, str] = {}

    def on_host(path: Path, leaf: Any) -> np.ndarray:
        name = str(getattr(leaf, "dtype", ""))
        if name.startswith("key<"):
            logical[path] = name
            leaf = _lazy.load("jax.random:key_data")(leaf)
        array = np.asarray(leaf)
        if array.dtype.kind in "SU":
            return arrays.as_bytes(array)
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    by_path = {path: on_host(path, leaf) for path, leaf in flatten_with_path(output)}
    found = iter(by_path.values())
    return HostTree(tree=map_leaves(lambda _: next(found), output), logical=logical)


def require_output(path: str) -> None:
    """Checks, before anything is run, that outputs can be written to a file.

    Args:
      path: The file.

    Raises:
      SignatureMismatchError: If its ending is neither .npz nor .json, or its folder is missing.
    """
    file = FilePath(path)
    where = f"output {path!r}"
    if file.is_dir() or not FilePath(os.path.realpath(path)).parent.is_dir():
        found = "a folder" if file.is_dir() else "no such folder"
        raise SignatureMismatchError(
            f"{where}: expected the name of a file in a folder that exists; found {found}; "
            "choose another name"
        )
    if file.suffix.lower() not in SUFFIXES and not _is_special(file):
        raise SignatureMismatchError(
            f"{where}: expected a name that ends in {' or '.join(SUFFIXES)}; found "
            f"{file.suffix or 'no ending'!r}; choose another name"
        )


def write_outputs(path: str, outputs: HostTree) -> None:
    """Writes outputs to a file, which is either complete or not there; an older one is replaced.

    Args:
      path: Ends in .npz or .json; a device or pipe such as /dev/null takes what .npz has.
      outputs: What a call returned.

    Raises:
      StorageError: If the file system refuses.
      UnsupportedError: If two outputs have one key.
    """
    is_json = FilePath(path).suffix.lower() == ".json"
    with storage_errors("writing", FilePath(path)), _replacing(FilePath(path)) as stream:
        if is_json:
            stream.write(json.dumps(json_tree(outputs), allow_nan=False).encode() + b"\n")
        else:
            write_npz(stream, outputs)


def write_npz(stream: BinaryIO, outputs: HostTree) -> None:
    """Writes outputs as an `.npz` file; equal outputs give equal bytes.

    Keys are key paths joined with dots, and "arr_0" for a single array; see `arrays` for the types
    that NumPy's format lacks.

    Args:
      stream: Written to from where it stands; need not be able to seek.
      outputs: What a call returned.

    Raises:
      UnsupportedError: If two outputs have one key.
    """
    entries: dict[str, np.ndarray] = {}
    for path, array in flatten_with_path(outputs.tree):
        key = _printable(format_path(path)) or arrays.ROOT
        parts = arrays.stored(key, array, outputs.logical.get(path))
        if entries.keys() & parts.keys():
            raise UnsupportedError(
                f"output {key!r}: expected key paths that differ as text; found two of these; "
                "write .json, where they are nested"
            )
        entries |= parts
    with zipfile.ZipFile(cast("BinaryIO", _Forward(stream)), "w") as archive:
        for key, array in entries.items():
            # A fixed date: the same arrays give the same bytes.
            info = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def json_tree(outputs: HostTree) -> Any:
    """Returns outputs as values of JSON, which an input of the same type takes again."""

    def walk(node: Tree) -> Any:
        if isinstance(node, dict):
            return {key: walk(child) for key, child in node.items()}
        if isinstance(node, (tuple, list)):
            return [walk(child) for child in node]
        return None if node is None else _json_array(node)

    return walk(outputs.tree)


def _json_array(array: np.ndarray) -> Any:
    dtype = DType.from_numpy(array.dtype)
    if dtype is DType.FLOAT0:
        return np.zeros(array.shape, np.bool_).tolist()
    if array.dtype.kind == "c":
        return {REAL: _json_array(np.real(array)), IMAG: _json_array(np.imag(array))}
    if dtype is DType.STRING:
        return _mapped(_json_text, array.tolist())
    if dtype.value.startswith(("float", "bfloat")):
        wide = array.astype(np.float64)
        is_finite = bool(np.isfinite(wide).all())
        return wide.tolist() if is_finite else _mapped(_json_float, wide.tolist())
    if array.dtype.isbuiltin != 1:
        return array.astype(np.int64).tolist()
    return array.tolist()


def _mapped(function: Any, value: Any) -> Any:
    return [_mapped(function, v) for v in value] if isinstance(value, list) else function(value)


def _json_float(value: float) -> float | str:
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {BASE64: base64.b64encode(value).decode()}


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@final
class _Forward:
    """A stream that is only written to; devices and pipes lie about where they stand."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write = stream.write
        self.flush = stream.flush


@contextlib.contextmanager
def _replacing(path: FilePath) -> Iterator[BinaryIO]:
    if _is_special(path):
        with path.open("wb") as stream:
            yield stream
        return
    # A link is followed, so that it stays one.
    place = FilePath(os.path.realpath(path))
    beside = place.with_name(f".{place.name[:100]}.obm-{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _is_special(path: FilePath) -> bool:
    """Whether something is there that is no regular file, and must not be replaced by one."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
