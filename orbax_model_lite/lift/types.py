"""Types of StableHLO values in NumPy's terms.

What the values are while JAX traces is in `values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxlib.mlir import ir

from orbax_model_lite.lift.problems import NotLiftable

_DTYPES: Final[dict[str, Any]] = {
    "i1": np.bool_,
    "i2": ml_dtypes.int2,
    "i4": ml_dtypes.int4,
    "ui2": ml_dtypes.uint2,
    "ui4": ml_dtypes.uint4,
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "index": np.int64,
    "bf16": jnp.bfloat16,
    "f4E2M1FN": ml_dtypes.float4_e2m1fn,
    "f8E3M4": ml_dtypes.float8_e3m4,
    "f8E4M3": ml_dtypes.float8_e4m3,
    "f8E4M3B11FNUZ": ml_dtypes.float8_e4m3b11fnuz,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "f8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "f8E8M0FNU": ml_dtypes.float8_e8m0fnu,
    "complex<f32>": np.complex64,
    "complex<f64>": np.complex128,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Shape and element type of one value.

    Attributes:
      shape: Sizes; None where only a run tells.
      dtype: NumPy's, ml_dtypes' for the types that NumPy lacks.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype

    @property
    def is_static(self) -> bool:
        """Whether every size is known."""
        return None not in self.shape

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The sizes; NotLiftable if one is known only at run time."""
        if not self.is_static:
            raise NotLiftable(f"expected a static shape; found {self}")
        return tuple(size for size in self.shape if size is not None)

    @property
    def rank(self) -> int:
        """How many dimensions there are."""
        return len(self.shape)

    def fits(self, value: Any) -> bool:
        """Returns whether an array or tracer is of this type, as far as sizes are known."""
        if value.dtype != self.dtype or len(value.shape) != self.rank:
            return False
        pairs = zip(self.shape, value.shape, strict=True)
        return all(size is None or size == found for size, found in pairs)

    def __str__(self) -> str:
        """Returns for example "float32[?, 3]"."""
        return f"{self.dtype}[{', '.join('?' if s is None else str(s) for s in self.shape)}]"


def tensor_type(type_: ir.Type) -> TensorType | None:
    """Returns the type of a tensor; None for a token or a tuple, which have none.

    Raises:
      NotLiftable: If it has no rank, or elements (quantized ones) that JAX does not have.
    """
    if not isinstance(type_, ir.RankedTensorType):
        if str(type_) == "!stablehlo.token" or str(type_).startswith("tuple<"):
            return None
        raise NotLiftable(f"values of type {type_}")
    dtype = dtype_of(type_.element_type)
    # A bounded dynamic size is a limit for the compiler; JAX has no counterpart, and needs none.
    shape = tuple(
        None if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)
    )
    return TensorType(shape=shape, dtype=dtype)


def dtype_of(element: ir.Type) -> np.dtype:
    """Returns the dtype of an element type; NotLiftable if JAX has none."""
    name = str(element)
    if name not in _DTYPES:
        raise NotLiftable(f"elements of type {name}")
    return np.dtype(_DTYPES[name])
