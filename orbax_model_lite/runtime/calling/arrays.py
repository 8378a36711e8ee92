"""Arrays of `.npy` and `.npz` files that strangers may have written: no pickle, no more than said.

Types that NumPy's format cannot hold lie in an `.npz` as unsigned integers of their width, beside
an entry `dtype:KEY` with the name of their type; strings that NumPy would cut are the bytes of all
of them in a row, beside `lengths:KEY`. `stored` and `restored` are the two directions.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import SignatureMismatchError

MAX_BYTES: Final = 4 * 2**30
"""How much a file of inputs may hold, unpacked."""

ROOT: Final = "arr_0"
"""The key of an array that has none: NumPy's own."""

_MOST_EMPTY: Final = 1 << 20  # strings of no bytes at all
_DTYPE: Final = "dtype:"
_LENGTHS: Final = "lengths:"

# What zipfile, NumPy and zlib raise for damaged files and for those made to do harm.
_DAMAGE: Final = (
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    UserWarning,  # headers as Python 2 wrote them, where warnings are errors
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """An array as it lay in a file.

    Attributes:
      array: Its values; strings are an object array of bytes.
      logical: Such as "key<fry>", where the file says so.
    """

    array: np.ndarray
    logical: str | None = None


def read_npy(content: bytes, where: str) -> np.ndarray:
    """Returns the array of an `.npy` file.

    Args:
      content: The file.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it is damaged, or holds Python objects or records.
    """
    try:
        return _npy(content)
    except _DAMAGE as e:
        raise _damaged(where, "an .npy file of numbers or strings", e) from e


def read_npz(content: bytes, where: str) -> dict[str, StoredArray]:
    """Returns the arrays of an `.npz` file by key.

    Args:
      content: The file.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it is damaged, holds Python objects or records, or unpacks to more
        than `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > MAX_BYTES:
                raise ValueError(f"{unpacked} bytes unpacked, more than {MAX_BYTES}")
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) < len(names):
                raise ValueError("a key twice")
            pairs = zip(names, members, strict=True)
            found = {name: _npy(archive.read(member)) for name, member in pairs}
        return restored(found)
    except _DAMAGE as e:
        raise _damaged(where, "an .npz file of arrays", e) from e


def stored(key: str, array: np.ndarray, logical: str | None = None) -> dict[str, np.ndarray]:
    """Returns the entries of an `.npz` file that hold one array.

    Args:
      key: Its key.
      array: Of any type of the format; strings are an object array of bytes.
      logical: Recorded in place of the name of its type, such as "key<fry>".
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    dtype = DType.from_numpy(array.dtype)
    name = {f"{_DTYPE}{key}": np.array(logical or dtype.value)}
    if dtype is DType.STRING:
        return _stored_strings(key, array, name)
    if dtype is DType.FLOAT0:
        return {key: np.zeros(array.shape, np.bool_), **name}
    if array.dtype.isbuiltin != 1:
        return {key: np.asarray(array, order="C").view(f"u{array.dtype.itemsize}"), **name}
    return {key: array, **(name if logical else {})}


def restored(entries: Mapping[str, np.ndarray]) -> dict[str, StoredArray]:
    """Returns the arrays that entries of an `.npz` file hold, by key.

    Raises:
      ValueError: If an entry about an array does not belong to it.
    """
    found: dict[str, StoredArray] = {}
    for key, array in entries.items():
        if key.startswith((_DTYPE, _LENGTHS)):
            if key.partition(":")[2] not in entries:
                raise ValueError(f"{key!r} without an array of that key")
            continue
        name = entries.get(f"{_DTYPE}{key}")
        text = None if name is None else str(name[()])
        found[key] = _restored(array, text, entries.get(f"{_LENGTHS}{key}"))
    return found


def _stored_strings(
    key: str, array: np.ndarray, name: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    longest = max(map(len, texts), default=0)
    is_whole = not any(text.endswith(b"\0") for text in texts)
    # NumPy pads each string to the longest.
    if is_whole and longest * len(texts) <= 2**16 + 4 * sum(map(len, texts)):
        return {key: np.array(texts, f"S{max(1, longest)}").reshape(array.shape)}
    lengths = np.array([len(text) for text in texts], np.int64).reshape(array.shape)
    return {key: np.frombuffer(b"".join(texts), np.uint8), **name, f"{_LENGTHS}{key}": lengths}


def _restored(array: np.ndarray, name: str | None, lengths: np.ndarray | None) -> StoredArray:
    if name is None:
        if lengths is not None:
            raise ValueError("lengths of strings without their type")
        return StoredArray(array=as_bytes(array))
    if name.startswith("key<"):
        return StoredArray(array=array, logical=name)
    dtype = DType(name)
    if dtype is DType.STRING:
        return StoredArray(array=as_bytes(array) if lengths is None else _cut(array, lengths))
    if dtype is DType.FLOAT0:
        return StoredArray(array=np.zeros(array.shape, np.bool_))
    if array.dtype == dtype.numpy:
        return StoredArray(array=array)
    if array.dtype.kind != "u" or array.dtype.itemsize != dtype.numpy.itemsize:
        raise ValueError(f"{array.dtype.name} where {dtype.value} is said to be")
    return StoredArray(array=np.asarray(array, order="C").view(dtype.numpy))


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Returns an array of strings as an object array of bytes; others as they are."""
    if array.dtype.kind not in "SU":
        return array
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    made = np.empty(len(texts), object)
    made[:] = texts
    return made.reshape(array.shape)


def _cut(blob: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    if blob.dtype != np.uint8 or lengths.dtype != np.int64:
        raise ValueError(f"strings as {blob.dtype.name} with lengths as {lengths.dtype.name}")
    # Lengths that go back and forth would make more text than the file has.
    if np.any((lengths < 0) | (lengths > blob.size)) or lengths.sum() != blob.size:
        raise ValueError(f"strings of other lengths than the {blob.size} bytes there are")
    content, sizes = blob.tobytes(), lengths.ravel()
    ends = np.cumsum(sizes)
    made = np.empty(sizes.size, object)
    made[:] = [content[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return made.reshape(lengths.shape)


def _npy(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers: dict[Any, Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format, which is for records")
    shape, is_fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError("Python objects, which are unpickled; save strings with dtype S or U")
    if dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError(f"records of type {dtype}")
    count, begin = 1, stream.tell()
    for size in shape:
        count *= size
    # A header may claim any size; NumPy would make room for it first.
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(content) - begin:
        raise ValueError(f"{len(content) - begin} bytes for {dtype.name} {list(shape)}")
    if dtype.itemsize == 0:
        # A header without any content could still claim more strings than memory has objects.
        if count > _MOST_EMPTY:
            raise ValueError(f"{count} strings of no bytes")
        return np.zeros(shape, dtype)
    flat = np.frombuffer(content, dtype, count, begin)
    array = flat.reshape(shape, order="F" if is_fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _damaged(where: str, expected: str, error: BaseException) -> SignatureMismatchError:
    found = str(error) or type(error).__name__
    return SignatureMismatchError(
        f"{where}: expected {expected}; found {found:.200}; save it with numpy.savez"
    )
