"""One given value as the array that an input asks for, where nothing of it is lost.

A number may change its type where every value survives: floats never become integers, only booleans
are booleans. Decimals of JSON are rounded to the nearest number of the type, as a literal is.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any, Final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.arrays import StoredArray, as_bytes

BASE64: Final = "base64"
REAL: Final = "real"
IMAG: Final = "imag"

_SAME_TYPE: Final = "give values of that type"
_SPECIAL: Final = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_MOST_DIMENSIONS: Final = 64  # NumPy's own limit
_INTO: Final = {"b": "b", "i": "iufc", "u": "iufc", "f": "fc", "c": "c"}


def from_array(spec: Spec, given: StoredArray, where: str) -> np.ndarray:
    """Returns an array of a file as one of the spec's type.

    Args:
      spec: Of the input.
      given: The array.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it is of another kind, or values would change.
    """
    array = given.array
    if given.logical not in (None, spec.logical):
        raise _other(spec, f"{given.logical} {list(array.shape)}", where)
    if spec.dtype is DType.STRING:
        strings = as_bytes(array)
        if strings.dtype != object:
            raise _other(spec, _described(array), where)
        return strings
    if spec.dtype is DType.BFLOAT16 and array.dtype == np.dtype("V2"):
        # What numpy.save makes of bfloat16, the only type of two bytes that it does not know.
        return array.view(spec.dtype.numpy)
    if array.dtype.kind in "OSUVMm" and not _is_number(array):
        raise _other(spec, _described(array), where)
    return _cast(spec, array, where)


def from_json(spec: Spec, value: Any, where: str) -> np.ndarray:
    """Returns a value of JSON as an array of the spec's type.

    Numbers, strings and nested lists of them. Where JSON has no word: "NaN", "Infinity" and
    "-Infinity" for floats, {"real": ..., "imag": ...} for complex numbers, {"base64": "..."} for
    bytes that are no text.

    Args:
      spec: Of the input.
      value: What JSON gave.
      where: Beginning of a message.

    Raises:
      SignatureMismatchError: If it is ragged, of another kind, or out of the range of the type.
    """
    try:
        return _from_json(spec, value, where)
    except RecursionError as e:
        raise _other(spec, "lists too deep", where) from e


def _from_json(spec: Spec, value: Any, where: str) -> np.ndarray:
    if spec.dtype is DType.STRING:
        return _strings(spec, value, where)
    is_complex = spec.dtype.value.startswith("complex")
    if is_complex and isinstance(value, dict) and set(value) == {REAL, IMAG}:
        real, imag = (_plain_numbers(spec, value[part], where) for part in (REAL, IMAG))
        if real.shape != imag.shape:
            raise _other(spec, f"parts of {list(real.shape)} and {list(imag.shape)}", where)
        return _complex(spec, real, imag, where)
    array = _plain_numbers(spec, value, where)
    return _rounded(spec, array, where)


def _complex(spec: Spec, real: np.ndarray, imag: np.ndarray, where: str) -> np.ndarray:
    made = np.empty(real.shape, spec.dtype.numpy)
    half = replace(spec, dtype=DType.from_numpy(np.real(made).dtype))
    # Adding 1j times a part would make NaN of an infinite one.
    made.real = _rounded(half, real, where)
    made.imag = _rounded(half, imag, where)
    return made


def _plain_numbers(spec: Spec, value: Any, where: str) -> np.ndarray:
    if _kind(spec.dtype) in "fc":
        value = _with_special(value)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "f" and _kind(spec.dtype) in "iu" and not _has(float, value):
            # NumPy's common type of small integers and those beyond 63 bits is float64.
            array = np.asarray(value, np.uint64)
    except (ValueError, OverflowError) as e:
        found = "lists of different lengths" if "inhomogeneous" in str(e) else str(e)
        raise _other(spec, found, where) from e
    if array.dtype.kind not in "biuf":
        raise _other(spec, f"{value!r:.60}", where)
    if array.dtype.kind != "b" and _has(bool, value):
        raise _other(spec, "true or false among numbers", where)
    return array


def _rounded(spec: Spec, array: np.ndarray, where: str) -> np.ndarray:
    """Casts decimals, which are rounded; whole numbers are cast as those of a file."""
    if array.size == 0 and spec.dtype is not DType.UNSPECIFIED:
        return np.zeros(array.shape, _numpy(spec))
    if array.dtype.kind not in "fc" or _kind(spec.dtype) not in "fc":
        return _cast(spec, array, where)
    if array.dtype.kind not in _INTO or _kind(spec.dtype) not in _INTO[array.dtype.kind]:
        raise _other(spec, _described(array), where)
    with np.errstate(all="ignore"):
        made = array.astype(spec.dtype.numpy)
        back = (made if array.dtype.kind == "c" else np.real(made)).astype(array.dtype)
        kept = np.isfinite(back) | ~np.isfinite(array)
    if not kept.all():
        raise _other(spec, f"{array[~kept].flat[0]:g}, which is out of its range", where)
    return made


def _cast(spec: Spec, array: np.ndarray, where: str) -> np.ndarray:
    if spec.dtype is DType.UNSPECIFIED or array.dtype == _numpy(spec):
        return array
    kind = _kind(DType.from_numpy(array.dtype))
    if _kind(spec.dtype) not in _INTO[kind]:
        raise _other(spec, _described(array), where)
    with np.errstate(all="ignore"):
        made = array.astype(_numpy(spec))
        back = (made if kind == "c" else np.real(made)).astype(array.dtype)
        # -1 as an unsigned number, and back, is -1 again.
        kept = back == array
        if kind in "iu":
            kept &= (np.real(made) < 0) == (array < 0)
        if kind in "fc":
            kept |= np.isnan(back.astype(np.complex128)) & np.isnan(array.astype(np.complex128))
    if not np.all(kept):
        first = np.asarray(array)[~np.asarray(kept)].flat[0]
        found = f"{_described(array)} with {first}, which {spec.dtype.value} does not hold exactly"
        is_rounding = bool(np.all(np.isfinite(back) | ~np.isfinite(array)))
        raise _other(spec, found, where, _rounding(spec) if is_rounding else _SAME_TYPE)
    return made


def _strings(spec: Spec, value: Any, where: str) -> np.ndarray:
    leaves: list[bytes] = []

    def shape_of(node: Any) -> tuple[int, ...]:
        if isinstance(node, list):
            below = [shape_of(child) for child in node]
            if any(shape != below[0] for shape in below):
                raise _other(spec, "lists of different lengths", where)
            return (len(node), *(below[0] if below else ()))
        leaves.append(_text(spec, node, where))
        return ()

    shape = shape_of(value)
    if len(shape) > _MOST_DIMENSIONS:
        raise _other(spec, "lists too deep", where)
    made = np.empty(len(leaves), object)
    made[:] = leaves
    return made.reshape(shape)


def _text(spec: Spec, value: Any, where: str) -> bytes:
    if isinstance(value, str):
        # A lone surrogate is no text in UTF-8.
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and set(value) == {BASE64} and isinstance(value[BASE64], str):
        try:
            return base64.b64decode(value[BASE64], validate=True)
        except (binascii.Error, ValueError) as e:
            raise _other(spec, f"base64 that does not parse ({e})", where) from e
    raise _other(spec, f"{value!r:.60}", where)


def _with_special(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_special(child) for child in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


def _has(kind: type, value: Any) -> bool:
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, kind):
            return True
        if isinstance(node, list):
            stack += node
    return False


def _numpy(spec: Spec) -> np.dtype:
    # What a float0 holds is of no account; false stands for it.
    return np.dtype(np.bool_) if spec.dtype is DType.FLOAT0 else spec.dtype.numpy


def _kind(dtype: DType) -> str:
    if dtype in (DType.BOOL, DType.FLOAT0):
        return "b"
    for prefix, kind in (("uint", "u"), ("int", "i"), ("complex", "c")):
        if dtype.value.startswith(prefix):
            return kind
    return "f"


def _is_number(array: np.ndarray) -> bool:
    # The types of ml_dtypes are of kind V, as records are.
    return array.dtype.kind == "V" and array.dtype.name in {dtype.value for dtype in DType}


def _described(array: np.ndarray) -> str:
    name = "string" if array.dtype.kind in "OSU" else array.dtype.name
    return f"{name} {list(array.shape)}"


def _rounding(spec: Spec) -> str:
    """Returns what to do about values that the type holds but for their last digits."""
    if _kind(spec.dtype) not in "fc":
        return _SAME_TYPE
    name = spec.dtype.numpy.name
    if spec.dtype is DType.BFLOAT16:
        name = f"ml_dtypes.{name}"
    elif hasattr(np, name):
        name = f"np.{name}"
    else:
        return _SAME_TYPE  # numpy.save does not keep such types.
    return f"if they may be rounded, save x.astype({name})"


def _other(spec: Spec, found: str, where: str, advice: str = _SAME_TYPE) -> SignatureMismatchError:
    return SignatureMismatchError(f"{where}: expected {spec}; found {found}; {advice}")
