"""Custom calls: which ones a module makes, and which it may make without being asked.

A custom call runs whatever code the process has registered under its name. The table is our own, so
that it is the same in every reader; a test compares it with the lists of the supported versions.
What else a module holds is counted in `facts`, which loading a function does without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from jaxlib.mlir import ir

from orbax_model_lite.stablehlo.module import as_module, operations, string

_LAPACK: Final = {
    "sd": "geev gees gehrd geqrf gesdd getrf gtsv orgqr potrf syevd sytrd trsm",
    "cz": "geev gees gehrd geqrf gesdd getrf gtsv ungqr potrf heevd hetrd trsm",
}
_CPU: Final = frozenset(
    f"lapack_{element}{routine}_ffi"
    for elements, routines in _LAPACK.items()
    for element in elements
    for routine in routines.split()
)

_SOLVER: Final = "geqrf gesvd gesvdj getrf orgqr potrf syevd sytrd"
_GPU: Final = frozenset(
    [f"cusolver_{routine}_ffi" for routine in _SOLVER.split()]
    + [f"hipsolver_{routine}_ffi" for routine in f"{_SOLVER} gesdd".split()]
    + [f"{vendor}_lu_pivots_to_permutation" for vendor in ("cu", "hip")]
    + [f"{vendor}_threefry2x32_ffi" for vendor in ("cu", "hip")]
    + ["cusparse_gtsv2_ffi"]
)

_TPU: Final = frozenset(
    {
        "ApproxTopK",
        "Eigh",
        "LuDecomposition",
        "ProductOfElementaryHouseholderReflectors",
        "Qr",
    }
)

# Instructions to the compiler, which runs no code for them.
_COMPILER: Final = frozenset(
    {
        "AllocateBuffer",
        "SPMDFullToShardShape",
        "SPMDShardToFullShape",
        "Sharding",
        "annotate_device_placement",
        "shape_assertion",
        "stablehlo.dynamic_approx_top_k",
        "stablehlo.dynamic_reduce_window",
        "stablehlo.dynamic_rng_bit_generator",
        "stablehlo.dynamic_top_k",
        # How older versions wrote Shardy's operations.
        "xla.sdy.FuncResultSharding",
        "xla.sdy.GlobalToLocalShape",
        "xla.sdy.LocalToGlobalShape",
        "xla.sdy.PropagationBarrier",
        "xla.sdy.ShardingGroup",
    }
)

KERNEL_CUSTOM_CALLS: Final = frozenset(
    {
        "mosaic_gpu_v2",
        "tf.call_tf_function",
        "tpu_custom_call",
    }
)
"""Targets that run machine-level code which the module brings along: kernels, TensorFlow graphs.

JAX keeps their form stable, which says nothing about what a stranger's kernel does.
"""

GUARANTEED_CUSTOM_CALLS: Final = _CPU | _GPU | _TPU | _COMPILER | KERNEL_CUSTOM_CALLS
"""Every target that JAX 0.10 to 0.12 promise to keep, and the annotations of older modules."""


def custom_calls(
    source: bytes | str | ir.Module, *, where: str = "StableHLO module"
) -> Counter[str]:
    """Returns the targets of all custom calls in a module, with the number of each.

    Args:
      source: A portable artifact, MLIR text or a parsed module.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If bytes or text do not parse.
      UnsupportedError: If the module is written at a newer version than this jaxlib knows.
    """
    module = as_module(source, where=where)
    return Counter(target for op in operations(module) for target in targets_of(op))


def targets_of(operation: ir.Operation) -> Iterator[str]:
    """Yields the target of an operation that is a custom call of any dialect; "" for no name."""
    if operation.name.rpartition(".")[2].startswith("custom_call"):
        name = "call_target_name"
        yield string(operation.attributes[name]) if name in operation.attributes else ""
