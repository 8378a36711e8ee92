"""Contractions: dot, dot_general and the older einsum, with precision and algorithm.

Convolutions are in `convolution`, ragged contractions in `chlo`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from orbax_model_lite.lift.operation import Handler, Operation, Runner, enum_keyword
from orbax_model_lite.lift.types import dtype_of

Precision = tuple[lax.Precision, lax.Precision]


def precision_of(operation: Operation) -> Precision:
    """Returns the precision of the two operands.

    It is DEFAULT and never None where the module does not say: None would take what JAX is
    configured with when the lifted function is called.
    """
    if not operation.has("precision_config"):
        return (lax.Precision.DEFAULT, lax.Precision.DEFAULT)
    items = ir.ArrayAttr(operation.attribute("precision_config"))
    found = [lax.Precision[enum_keyword(item)] for item in items]
    return (found[0], found[-1]) if found else (lax.Precision.DEFAULT, lax.Precision.DEFAULT)


def contract(
    dimensions: lax.DotDimensionNumbers,
    precision: Precision | lax.DotAlgorithm | lax.DotAlgorithmPreset,
    result: np.dtype,
) -> Callable[[Any, Any], Any]:
    """Returns what contracts two arrays to one of exactly the dtype `result`."""

    def run(lhs: Any, rhs: Any) -> Any:
        wide = _computed_in(lhs.dtype, rhs.dtype, result)
        if lhs.dtype != rhs.dtype and not _is_mixed_by_jax(lhs.dtype, rhs.dtype):
            lhs, rhs = lax.convert_element_type(lhs, wide), lax.convert_element_type(rhs, wide)
        found = lax.dot_general(
            lhs, rhs, dimensions, precision=precision, preferred_element_type=wide
        )
        return found if found.dtype == result else lax.convert_element_type(found, result)

    return run


def _is_mixed_by_jax(lhs: np.dtype, rhs: np.dtype) -> bool:
    """Returns whether dot_general takes the two dtypes together: floats and complex numbers."""
    return all(jnp.issubdtype(dtype, jnp.inexact) for dtype in (lhs, rhs))


def _computed_in(lhs: np.dtype, rhs: np.dtype, result: np.dtype) -> np.dtype:
    """Returns the dtype to ask JAX for: it accumulates integers in none that is narrower.

    Wrapping to the narrower dtype afterwards gives the same bits.
    """
    if not jnp.issubdtype(result, jnp.integer):
        return result
    return max((lhs, rhs, result), key=lambda dtype: (_bits(dtype), dtype == result))


def _bits(dtype: np.dtype) -> int:
    return jnp.iinfo(dtype).bits if jnp.issubdtype(dtype, jnp.integer) else 8 * dtype.itemsize


def _dot_general(operation: Operation) -> Runner:
    numbers = stablehlo.DotDimensionNumbers(operation.attribute("dot_dimension_numbers"))
    dimensions = (
        (tuple(numbers.lhs_contracting_dimensions), tuple(numbers.rhs_contracting_dimensions)),
        (tuple(numbers.lhs_batching_dimensions), tuple(numbers.rhs_batching_dimensions)),
    )
    dtype = operation.result_type().dtype
    if not operation.has("algorithm"):
        return contract(dimensions, precision_of(operation), dtype)
    algorithm = _algorithm(stablehlo.DotAlgorithm(operation.attribute("algorithm")))
    by_algorithm = contract(dimensions, algorithm, dtype)
    if algorithm in _ON_CPU:
        return by_algorithm
    # XLA's CPU compiler computes what it does not have in full precision; JAX refuses to ask it.
    in_full = contract(dimensions, (lax.Precision.HIGHEST, lax.Precision.HIGHEST), dtype)
    return lambda x, y: lax.platform_dependent(x, y, cpu=in_full, default=by_algorithm)


_Preset = lax.DotAlgorithmPreset
_PRESETS: Final = {
    ("f16", "f16", 1): _Preset.F16_F16_F16,
    ("f16", "f32", 1): _Preset.F16_F16_F32,
    ("bf16", "bf16", 1): _Preset.BF16_BF16_BF16,
    ("bf16", "f32", 1): _Preset.BF16_BF16_F32,
    ("bf16", "f32", 3): _Preset.BF16_BF16_F32_X3,
    ("bf16", "f32", 6): _Preset.BF16_BF16_F32_X6,
    ("bf16", "f32", 9): _Preset.BF16_BF16_F32_X9,
    ("tf32", "f32", 1): _Preset.TF32_TF32_F32,
    ("tf32", "f32", 3): _Preset.TF32_TF32_F32_X3,
    ("f32", "f32", 1): _Preset.F32_F32_F32,
    ("f64", "f64", 1): _Preset.F64_F64_F64,
}


# Those that JAX lowers for the CPU.
_ON_CPU: Final = frozenset(
    {
        _Preset.BF16_BF16_F32,
        _Preset.BF16_BF16_F32_X3,
        _Preset.BF16_BF16_F32_X6,
        _Preset.F16_F16_F16,
        _Preset.F32_F32_F32,
        _Preset.F64_F64_F64,
    }
)


def _algorithm(found: stablehlo.DotAlgorithm) -> lax.DotAlgorithm | lax.DotAlgorithmPreset:
    """Returns a preset where there is one: JAX lowers nothing else for the CPU."""
    lhs, rhs = str(found.lhs_precision_type), str(found.rhs_precision_type)
    accumulation, count = str(found.accumulation_type), found.num_primitive_operations
    is_fast = found.allow_imprecise_accumulation
    if lhs.startswith("f8") and rhs.startswith("f8") and (accumulation, count) == ("f32", 1):
        return _Preset.ANY_F8_ANY_F8_F32_FAST_ACCUM if is_fast else _Preset.ANY_F8_ANY_F8_F32
    preset = _PRESETS.get((lhs, accumulation, count))
    counts = (found.lhs_component_count, found.rhs_component_count)
    if preset is not None and lhs == rhs and counts == (1, 1) and not is_fast:
        return preset
    return lax.DotAlgorithm(
        lhs_precision_type=dtype_of(found.lhs_precision_type),
        rhs_precision_type=dtype_of(found.rhs_precision_type),
        accumulation_type=dtype_of(found.accumulation_type),
        lhs_component_count=found.lhs_component_count,
        rhs_component_count=found.rhs_component_count,
        num_primitive_operations=count,
        allow_imprecise_accumulation=is_fast,
    )


def _dot(operation: Operation) -> Runner:
    lhs = operation.operand_type(0)
    dimensions = (((lhs.rank - 1,), (0,)), ((), ()))
    return contract(dimensions, precision_of(operation), operation.result_type().dtype)


def _einsum(operation: Operation) -> Runner:
    config, result = operation.text("einsum_config"), operation.result_type().dtype

    def run(*operands: Any) -> Any:
        found = jnp.einsum(
            config,
            *operands,
            precision=(lax.Precision.DEFAULT, lax.Precision.DEFAULT),
            preferred_element_type=result,
        )
        return lax.convert_element_type(found, result)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.dot": Handler(_dot),
    "stablehlo.dot_general": Handler(_dot_general),
    "stablehlo.einsum": Handler(_einsum),
    "stablehlo.unary_einsum": Handler(_einsum),
}
