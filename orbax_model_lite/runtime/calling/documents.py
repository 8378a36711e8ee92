"""Files of inputs as documents: what kind a file is, read whole, with limits.

A name that ends in .npy, .npz or .json decides. Without an ending, and from standard input, the
first bytes do. Every other file is its bytes: a string input, or an image.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, final

import numpy as np

from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling import arrays
from orbax_model_lite.runtime.calling.arrays import StoredArray

STDIN: Final = "-"
_MAX_JSON_BYTES: Final = 256 * 2**20
_NPY: Final = b"\x93NUMPY"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_JSON_BEGINS: Final = b'{["'


@final
@dataclass(frozen=True, slots=True)
class OneArray:
    """An `.npy` file."""

    array: np.ndarray


@final
@dataclass(frozen=True, slots=True)
class NamedArrays:
    """An `.npz` file: arrays by key."""

    arrays: dict[str, StoredArray]


@final
@dataclass(frozen=True, slots=True)
class JsonValue:
    """A value of JSON."""

    value: Any


@final
@dataclass(frozen=True, slots=True)
class FileBytes:
    """Any other file: a string, or an image."""

    content: bytes


Document: TypeAlias = OneArray | NamedArrays | JsonValue | FileBytes


def read_document(path: str, stdin: BinaryIO | None = None) -> Document:
    """Returns what is in a file of inputs.

    Args:
      path: Of the file; "-" is standard input.
      stdin: Read in the place of standard input.

    Raises:
      SignatureMismatchError: If there is no such file, it is too large, or is not what it seems.
    """
    where = "input '-'" if path == STDIN else f"input file {path!r}"
    content = _content(path, where, stdin)
    kind = Path(path).suffix.lower() if path != STDIN else ""
    if kind not in {".npy", ".npz", ".json"}:
        kind = _sniffed(content) if kind == "" else ""
    if kind == ".npy":
        return OneArray(arrays.as_bytes(arrays.read_npy(content, where)))
    if kind == ".npz":
        return NamedArrays(arrays.read_npz(content, where))
    if kind == ".json":
        if len(content) > _MAX_JSON_BYTES:
            raise SignatureMismatchError(
                f"{where}: expected at most {_MAX_JSON_BYTES} bytes of JSON; found "
                f"{len(content)}; save it as .npz"
            )
        return JsonValue(_parsed_json(content, where))
    return FileBytes(content)


def read_value(text: str, where: str) -> Document:
    """Returns a value that is given as JSON on the command line.

    Args:
      text: The value.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it does not parse.
    """
    try:
        return JsonValue(_parsed_json(text, where))
    except SignatureMismatchError as e:
        raise SignatureMismatchError(f"{e}; strings stand in quotes, such as '\"a\"'") from e


def _content(path: str, where: str, stdin: BinaryIO | None) -> bytes:
    try:
        if path == STDIN:
            content = (stdin or sys.stdin.buffer).read(arrays.MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as stream:
                content = stream.read(arrays.MAX_BYTES + 1)
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or str(e)
        raise SignatureMismatchError(
            f"{where}: expected a file that can be read; found {found.lower()!r}; check the path"
        ) from e
    if len(content) > arrays.MAX_BYTES:
        raise SignatureMismatchError(
            f"{where}: expected at most {arrays.MAX_BYTES} bytes; found more; give fewer rows"
        )
    return content


def _sniffed(content: bytes) -> str:
    if content.startswith(_NPY):
        return ".npy"
    if content.startswith(_ZIP):
        return ".npz"
    begin = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begin and begin in _JSON_BEGINS:
        return ".json"
    # A lone number, true, false or null is short; text that only begins like one is a string.
    if len(content) < 64:
        try:
            _parsed_json(content, "")
        except SignatureMismatchError:
            return ""
        return ".json"
    return ""


def _parsed_json(content: bytes | str, where: str) -> Any:
    """Returns a value of JSON.

    Args:
      content: UTF-8.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it does not parse, an object has a key twice, or a number is out
        of the range of float64.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_object, parse_float=_finite)
    except (ValueError, RecursionError, MemoryError) as e:
        found = str(e) or type(e).__name__
        raise SignatureMismatchError(
            f"{where}: expected JSON; found {found:.200}; correct it"
        ) from e


def _finite(text: str) -> float:
    # Python reads 1e400 as infinity, which nobody has written.
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"{text:.40}, which is out of the range of float64")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice in one object")
    return found
