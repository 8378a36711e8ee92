"""StableHLO's own linear algebra, Fourier transforms and random bits.

What JAX has as custom calls is in `lapack`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.values import as_arrays, shape_of


def _cholesky(operation: Operation) -> Runner:
    is_lower = operation.flag("lower")

    def run(x: Any) -> Any:
        if is_lower:
            return lax.linalg.cholesky(x, symmetrize_input=False)
        found = lax.linalg.cholesky(_adjoint(x), symmetrize_input=False)
        return _adjoint(found)

    return run


def _adjoint(x: Any) -> Any:
    return jnp.conj(jnp.matrix_transpose(x))


def _triangular_solve(operation: Operation) -> Runner:
    transposition = operation.enum("transpose_a", "NO_TRANSPOSE")
    settings: dict[str, Any] = {
        "left_side": operation.flag("left_side"),
        "lower": operation.flag("lower"),
        "transpose_a": transposition in ("TRANSPOSE", "ADJOINT"),
        "conjugate_a": transposition == "ADJOINT",
        "unit_diagonal": operation.flag("unit_diagonal"),
    }
    return lambda a, b: lax.linalg.triangular_solve(a, b, **settings)


def _fft(operation: Operation) -> Runner:
    kind = lax.FftType[operation.enum("fft_type")]
    lengths = operation.integers("fft_length")
    return lambda x: lax.fft(x, kind, lengths)


def _rng_uniform(operation: Operation) -> Runner:
    distribution = operation.enum("rng_distribution")
    if distribution != "UNIFORM":
        raise NotLiftable(f"random numbers without a state, of distribution {distribution}")

    def run(low: Any, high: Any, shape: Any) -> Any:
        low, high = as_arrays([low, high])
        return lax.rng_uniform(low, high, shape_of(shape))

    return run


_ALGORITHMS: Final = {
    "DEFAULT": lax.RandomAlgorithm.RNG_DEFAULT,
    "PHILOX": lax.RandomAlgorithm.RNG_PHILOX,
    "THREE_FRY": lax.RandomAlgorithm.RNG_THREE_FRY,
}


def _bits(operation: Operation) -> Runner:
    algorithm = _ALGORITHMS[operation.enum("rng_algorithm")]
    state, result = operation.operand_type(0), operation.result_type(1)
    words = state.shape[-1] if state.rank else None
    if (str(state.dtype), words) not in (("uint32", 4), ("uint64", 2)):
        raise NotLiftable(f"random bits from a state {state}")
    if result.dtype.kind not in "iu":
        raise NotLiftable(f"random bits as {result}")
    # JAX gives them as unsigned integers only.
    unsigned: Any = np.dtype(f"u{result.dtype.itemsize}")

    def run(key: Any, *shape: Any) -> tuple[Any, Any]:
        sizes = shape_of(shape[0]) if shape else result.static_shape
        (key,) = as_arrays([key])
        key, bits = lax.rng_bit_generator(key, sizes, unsigned, algorithm=algorithm)
        return key, lax.bitcast_convert_type(bits, result.dtype)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.cholesky": Handler(_cholesky),
    "stablehlo.fft": Handler(_fft),
    "stablehlo.rng": Handler(_rng_uniform, keeps_known=True),
    "stablehlo.rng_bit_generator": Handler(_bits),
    "stablehlo.triangular_solve": Handler(_triangular_solve),
}

CUSTOM_CALLS: Final[Mapping[str, Handler]] = {
    "stablehlo.dynamic_rng_bit_generator": Handler(_bits, keeps_known=True),
}
