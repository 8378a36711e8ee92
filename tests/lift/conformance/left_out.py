"""Callables that have no row to pass, each with the reason; the table prints them.

What `jax.export` refuses is not listed here: the sweep finds that by itself.
"""

from __future__ import annotations

_NO_ARRAY = "gives no array"
_TYPE = "an abstract type without instances of its own"
_CLASS = "a class or enumeration that describes an operation, not an operation"
_FILES = "reads or writes files"
_SHAPES = "computes with shapes while tracing and gives no array"
_UNTRACEABLE = "takes or gives values that are not arrays, and raises for arrays being traced"
_NOT_RUN = "a type that XLA stores in modules but does not compute with, so nothing can be compared"
_MANUAL = "works only inside a manual computation (shard_map), whose collectives are not lifted"

_NAMES: dict[str, tuple[str, ...]] = {
    _NO_ARRAY: (
        "jax.lax.create_token",
        "jax.lax.after_all",
        "jax.lax.dce_sink",
        "jax.lax.dtype",
        "jax.nn.get_scaled_dot_general_config",
        "jax.nn.initializers.Initializer",
        "jax.numpy.can_cast",
        "jax.numpy.dtype",
        "jax.numpy.einsum_path",
        "jax.numpy.finfo",
        "jax.numpy.get_printoptions",
        "jax.numpy.iinfo",
        "jax.numpy.iscomplexobj",
        "jax.numpy.isdtype",
        "jax.numpy.isrealobj",
        "jax.numpy.isscalar",
        "jax.numpy.issubdtype",
        "jax.numpy.iterable",
        "jax.numpy.ndim",
        "jax.numpy.printoptions",
        "jax.numpy.promote_types",
        "jax.numpy.result_type",
        "jax.numpy.set_printoptions",
        "jax.numpy.shape",
        "jax.numpy.size",
        "jax.random.Key",
        "jax.random.key_dtype",
        "jax.random.key_impl",
    ),
    _TYPE: (
        "jax.numpy.ComplexWarning",
        "jax.numpy.character",
        "jax.numpy.complexfloating",
        "jax.numpy.flexible",
        "jax.numpy.floating",
        "jax.numpy.generic",
        "jax.numpy.inexact",
        "jax.numpy.integer",
        "jax.numpy.ndarray",
        "jax.numpy.number",
        "jax.numpy.object_",
        "jax.numpy.signedinteger",
        "jax.numpy.unsignedinteger",
    ),
    _CLASS: (
        "jax.image.ResizeMethod",
        "jax.lax.AccuracyMode",
        "jax.lax.ConvDimensionNumbers",
        "jax.lax.ConvGeneralDilatedDimensionNumbers",
        "jax.lax.DotAlgorithm",
        "jax.lax.DotAlgorithmPreset",
        "jax.lax.DotDimensionNumbers",
        "jax.lax.FftType",
        "jax.lax.GatherDimensionNumbers",
        "jax.lax.GatherScatterMode",
        "jax.lax.Precision",
        "jax.lax.PrecisionLike",
        "jax.lax.RaggedDotDimensionNumbers",
        "jax.lax.RandomAlgorithm",
        "jax.lax.RoundingMethod",
        "jax.lax.ScatterDimensionNumbers",
        "jax.lax.Tolerance",
        "jax.lax.linalg.EigImplementation",
        "jax.lax.linalg.EighImplementation",
        "jax.lax.linalg.SvdAlgorithm",
        "jax.scipy.optimize.OptimizeResults",
    ),
    _FILES: (
        "jax.numpy.fromfile",
        "jax.numpy.load",
        "jax.numpy.save",
        "jax.numpy.savez",
    ),
    _SHAPES: (
        "jax.lax.broadcast_shapes",
        "jax.lax.conv_dimension_numbers",
        "jax.lax.conv_general_permutations",
        "jax.lax.conv_general_shape_tuple",
        "jax.lax.conv_shape_tuple",
        "jax.lax.conv_transpose_shape_tuple",
        "jax.lax.padtype_to_pads",
        "jax.lax.reduce_window_shape_tuple",
        "jax.numpy.broadcast_shapes",
    ),
    _UNTRACEABLE: (
        "jax.numpy.array_repr",
        "jax.numpy.array_str",
        "jax.numpy.from_dlpack",
        "jax.numpy.fromiter",
    ),
    _NOT_RUN: (
        "jax.numpy.float6_e2m3fn",
        "jax.numpy.float6_e3m2fn",
    ),
    _MANUAL: (
        "jax.lax.pbroadcast",
        "jax.lax.pcast",
        "jax.lax.precv",
        "jax.lax.psend",
        "jax.lax.psum_scatter_start",
        "jax.lax.ragged_all_to_all",
    ),
}

LEFT_OUT = {name: reason for reason, names in _NAMES.items() for name in names}
