"""Convolutions in all their forms: groups, dilations, reversal, any order of dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jax import lax
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.dot import precision_of
from orbax_model_lite.lift.values import as_arrays, shape_of

Padding = Sequence[tuple[Any, Any]]


def _dimension_numbers(operation: Operation) -> lax.ConvDimensionNumbers:
    found = stablehlo.ConvDimensionNumbers(operation.attribute("dimension_numbers"))
    return lax.ConvDimensionNumbers(
        lhs_spec=(
            found.input_batch_dimension,
            found.input_feature_dimension,
            *found.input_spatial_dimensions,
        ),
        rhs_spec=(
            found.kernel_output_feature_dimension,
            found.kernel_input_feature_dimension,
            *found.kernel_spatial_dimensions,
        ),
        out_spec=(
            found.output_batch_dimension,
            found.output_feature_dimension,
            *found.output_spatial_dimensions,
        ),
    )


def _convolve(operation: Operation) -> Runner:
    """Returns a function of the two operands and the padding."""
    numbers = _dimension_numbers(operation)
    spatial = len(numbers.lhs_spec) - 2
    reversed_ = operation.flags("window_reversal", [False] * spatial)
    flipped = [d for d, flip in zip(numbers.rhs_spec[2:], reversed_, strict=True) if flip]
    lhs_dilation = operation.integers("lhs_dilation", [1] * spatial)
    settings: dict[str, Any] = {
        "window_strides": operation.integers("window_strides", [1] * spatial),
        "rhs_dilation": operation.integers("rhs_dilation", [1] * spatial),
        "feature_group_count": operation.integer("feature_group_count", 1),
        "batch_group_count": operation.integer("batch_group_count", 1),
        "precision": precision_of(operation),
        "dimension_numbers": numbers,
    }
    result = operation.result_type().dtype

    def run(lhs: Any, rhs: Any, padding: Padding) -> Any:
        if flipped:
            rhs = lax.rev(rhs, flipped)
        dilation = lhs_dilation
        if not all(isinstance(size, int) for pair in padding for size in pair):
            # lax.conv_general_dilated takes no symbolic padding, lax.pad does.
            lhs = _padded(lhs, padding, lhs_dilation, numbers.lhs_spec[2:])
            padding, dilation = [(0, 0)] * spatial, [1] * spatial
        lhs, rhs, wide = _alike(lhs, rhs, result)
        found = lax.conv_general_dilated(
            lhs,
            rhs,
            padding=padding,
            lhs_dilation=dilation,
            preferred_element_type=wide,
            **settings,
        )
        return found if found.dtype == result else lax.convert_element_type(found, result)

    return run


def _padded(lhs: Any, padding: Padding, dilation: Sequence[int], spatial: Sequence[int]) -> Any:
    config: list[tuple[Any, Any, int]] = [(0, 0, 0)] * lhs.ndim
    for dimension, (low, high), factor in zip(spatial, padding, dilation, strict=True):
        config[dimension] = (low, high, factor - 1)
    return lax.pad(lhs, np.zeros((), lhs.dtype), config)


def _alike(lhs: Any, rhs: Any, result: np.dtype) -> tuple[Any, Any, np.dtype]:
    """Returns the operands in one dtype, and the dtype to ask JAX for, which may be wider."""
    widest = max((lhs.dtype, rhs.dtype, result), key=lambda dtype: dtype.itemsize)
    if lhs.dtype != rhs.dtype:
        lhs = lax.convert_element_type(lhs, widest)
        rhs = lax.convert_element_type(rhs, widest)
    wide = result if result.itemsize >= lhs.dtype.itemsize else lhs.dtype
    return lhs, rhs, wide


def _convolution(operation: Operation) -> Runner:
    convolve = _convolve(operation)
    padding: Padding = [(0, 0)] * (operation.operand_type().rank - 2)
    if operation.has("padding"):
        dense = np.array(ir.DenseIntElementsAttr(operation.attribute("padding")))
        padding = [(int(low), int(high)) for low, high in dense.reshape(-1, 2)]
    return lambda lhs, rhs: convolve(lhs, rhs, padding)


def _dynamic_conv(operation: Operation) -> Runner:
    convolve = _convolve(operation)

    def run(lhs: Any, rhs: Any, padding: Any) -> Any:
        flat = shape_of(padding)
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        return convolve(*as_arrays([lhs, rhs]), pairs)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.convolution": Handler(_convolution),
    "stablehlo.dynamic_conv": Handler(_dynamic_conv, keeps_known=True),
}
