"""Element types of the format: every value of the manifest's enum and those JAX has beyond it.

Only names, wire numbers and NumPy types; what a framework calls them is known in its own room.
NumPy is imported on first use: describing a bundle takes names and sizes only.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import TYPE_CHECKING

from orbax_model_lite.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np


class DType(enum.Enum):
    """One element type; the value is its standard (NumPy, ml_dtypes) name.

    `UNSPECIFIED` is what a bundle records for a type that the format has no number for and about
    which nothing else is known. `FLOAT0` is JAX's type of a derivative by an integer.
    """

    UNSPECIFIED = "unspecified"
    BOOL = "bool"
    INT2 = "int2"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT2 = "uint2"
    UINT4 = "uint4"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT4_E2M1FN = "float4_e2m1fn"
    FLOAT8_E3M4 = "float8_e3m4"
    FLOAT8_E4M3 = "float8_e4m3"
    FLOAT8_E4M3B11FNUZ = "float8_e4m3b11fnuz"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT8_E8M0FNU = "float8_e8m0fnu"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    FLOAT0 = "float0"
    STRING = "string"

    @classmethod
    def from_numpy(cls, dtype: np.typing.DTypeLike) -> DType:
        """Returns the type of a NumPy or ml_dtypes dtype; bytes, str and object become STRING.

        Raises:
          UnsupportedError: If the format has no word for it (datetime, records, void).
        """
        import numpy as np

        found = np.dtype(dtype)
        if found.kind in "SUOT":
            return cls.STRING
        if found == _numpy_dtype(cls.FLOAT0):
            return cls.FLOAT0
        try:
            return cls(found.name)
        except ValueError as e:
            raise UnsupportedError(
                f"dtype {found.name!r}: expected a numeric, boolean or string type; "
                "found one that the bundle format has no name for; cast it first"
            ) from e

    @classmethod
    def from_wire(cls, number: int) -> DType:
        """Returns the type with this number in the manifest; an unknown number is UNSPECIFIED."""
        return _FROM_WIRE.get(number, cls.UNSPECIFIED)

    @property
    def wire(self) -> int:
        """The manifest's number; 0 (unspecified) where the format has none, FLOAT0 as i1."""
        return _WIRE.get(self, 0)

    @property
    def has_wire(self) -> bool:
        """Whether the manifest alone can record this type."""
        return self in _WIRE and self is not DType.FLOAT0

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype; STRING is the object dtype (each element `bytes`).

        Raises:
          UnsupportedError: For UNSPECIFIED.
        """
        return _numpy_dtype(self)

    @property
    def is_64_bit(self) -> bool:
        """Whether JAX needs x64 mode to keep it."""
        return self in _WIDE

    @property
    def size_bits(self) -> int:
        """Bits of one element as the module counts them; 0 for STRING, FLOAT0, UNSPECIFIED."""
        return _SIZE_BITS[self]


_WIRE: dict[DType, int] = {
    DType.BOOL: 1,
    DType.INT8: 2,
    DType.INT16: 3,
    DType.INT32: 4,
    DType.INT64: 5,
    DType.UINT8: 6,
    DType.UINT16: 7,
    DType.UINT32: 8,
    DType.UINT64: 9,
    DType.FLOAT16: 10,
    DType.FLOAT32: 11,
    DType.FLOAT64: 12,
    DType.COMPLEX64: 13,
    DType.COMPLEX128: 14,
    DType.BFLOAT16: 15,
    DType.INT4: 16,
    DType.UINT4: 17,
    DType.FLOAT8_E4M3B11FNUZ: 18,
    DType.FLOAT8_E4M3FN: 19,
    DType.FLOAT8_E4M3FNUZ: 20,
    DType.FLOAT8_E5M2: 21,
    DType.FLOAT8_E5M2FNUZ: 22,
    DType.STRING: 100,
}
_FROM_WIRE = {number: dtype for dtype, number in _WIRE.items()}
# float0 travels as i1 with a refinement, see jax_info.
_WIRE[DType.FLOAT0] = 1

_WIDE = {DType.INT64, DType.UINT64, DType.FLOAT64, DType.COMPLEX128}
_WITHOUT_SIZE = {DType.STRING, DType.FLOAT0, DType.UNSPECIFIED}


def _bits_in_name(dtype: DType) -> int:
    digits = re.search(r"\d+", dtype.value)
    if dtype in _WITHOUT_SIZE:
        return 0
    # NumPy's booleans take a byte.
    return int(digits[0]) if digits else 8


_SIZE_BITS = {dtype: _bits_in_name(dtype) for dtype in DType}


@functools.cache
def _numpy_dtype(dtype: DType) -> np.dtype:
    import ml_dtypes
    import numpy as np

    if dtype is DType.STRING:
        return np.dtype(object)
    if dtype is DType.FLOAT0:
        return np.dtype([("float0", np.void, 0)])
    if dtype is DType.UNSPECIFIED:
        raise UnsupportedError(
            "dtype unspecified: expected a known element type; the bundle does not record one; "
            "read the type from the module instead"
        )
    scalar = getattr(ml_dtypes, dtype.value, None)
    return np.dtype(scalar if scalar is not None else dtype.value)
