"""Custom calls of LAPACK and its relatives on GPU and TPU, as what `jax.lax.linalg` has for them.

Each gives the raw results of the call; what a module makes of them, NaN for a failure included,
stays in the module. JAX does not tell failures apart, so their codes are found from the results: 1
where a routine would give one of several positive codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
from jax import lax
from jax.extend.random import threefry2x32_p
from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.types import TensorType


def _config(operation: Operation) -> Mapping[str, ir.Attribute]:
    if not operation.has("mhlo.backend_config"):
        return {}
    found = ir.DictAttr(operation.attribute("mhlo.backend_config"))
    return {item.name: item.attr for item in found}


def _letter(operation: Operation, name: str) -> str:
    """Returns a setting that LAPACK has as a letter, and a call as its code."""
    config = _config(operation)
    if name not in config:
        raise NotLiftable(f"a call of LAPACK without {name!r}")
    return chr(ir.IntegerAttr(config[name]).value)


def _flag(operation: Operation, name: str, *, default: bool) -> bool:
    config = _config(operation)
    return ir.BoolAttr(config[name]).value if name in config else default


def _is_lower(operation: Operation) -> bool:
    if "uplo" in _config(operation):
        return _letter(operation, "uplo") == "L"
    return _flag(operation, "lower", default=True)


def _success(x: Any) -> Any:
    """Returns the code 0 for each matrix of a batch."""
    return jnp.zeros(x.shape[:-2], jnp.int32)


def _failed_where_nan(x: Any, dimensions: int) -> Any:
    axes = tuple(range(x.ndim - dimensions, x.ndim))
    return lax.convert_element_type(jnp.any(jnp.isnan(x), axis=axes), jnp.int32)


def _adjoint(x: Any) -> Any:
    return jnp.conj(jnp.matrix_transpose(x))


def _potrf(operation: Operation) -> Runner:
    is_lower = _is_lower(operation)

    def run(x: Any) -> tuple[Any, Any]:
        found = lax.linalg.cholesky(x if is_lower else _adjoint(x), symmetrize_input=False)
        info = _failed_where_nan(found, 2)
        return found if is_lower else _adjoint(found), info

    return run


def _getrf(operation: Operation) -> Runner:
    def run(x: Any) -> tuple[Any, Any, Any]:
        factors, pivots, _ = lax.linalg.lu(x)
        # Not by jnp.diagonal, which must know which of two sizes is the smaller.
        row, column = (_positions(factors, axis) for axis in (-2, -1))
        singular = jnp.any((factors == 0) & (row == column), axis=-1)
        first = lax.convert_element_type(jnp.argmax(singular, axis=-1), jnp.int32) + jnp.int32(1)
        info = jnp.where(jnp.any(singular, axis=-1), first, jnp.int32(0))
        return factors, pivots + jnp.int32(1), info

    return run


def _positions(x: Any, axis: int) -> Any:
    return lax.broadcasted_iota(jnp.int32, x.shape, x.ndim + axis)


def _geqrf(operation: Operation) -> Runner:
    def run(x: Any) -> tuple[Any, Any]:
        transposed, scales = jnp.linalg.qr(x, mode="raw")
        return jnp.matrix_transpose(transposed), scales

    return run


def _trsm(operation: Operation) -> Runner:
    transposition = _letter(operation, "trans_x")
    settings: dict[str, Any] = {
        "left_side": _letter(operation, "side") == "L",
        "lower": _is_lower(operation),
        "transpose_a": transposition != "N",
        "conjugate_a": transposition == "C",
        "unit_diagonal": _letter(operation, "diag") == "U",
    }
    return lambda a, b: lax.linalg.triangular_solve(a, b, **settings)


def _gesdd(operation: Operation) -> Runner:
    mode = _letter(operation, "mode")
    return _svd(has_vectors=mode != "N", is_full=mode == "A", operation=operation)


def _gesvd(operation: Operation) -> Runner:
    """The GPU's; where it works on the transposed matrix, it gives the vectors the other way."""
    is_full = _flag(operation, "full_matrices", default=True)
    has_vectors = _flag(operation, "compute_uv", default=True)
    run = _svd(has_vectors=has_vectors, is_full=is_full, operation=operation)
    if not _flag(operation, "transposed", default=False):
        return run

    def swapped(x: Any) -> tuple[Any, ...]:
        x, s, left, right, info = run(x)
        return x, s, right, left, info

    return swapped if has_vectors else run


def _gesvdj(operation: Operation) -> Runner:
    is_full = _flag(operation, "full_matrices", default=True)
    run = _svd(has_vectors=True, is_full=is_full, operation=operation)

    def adjoint(x: Any) -> tuple[Any, ...]:
        x, s, left, right, info = run(x)
        return x, s, left, _adjoint(right), info

    return adjoint


def _svd(*, has_vectors: bool, is_full: bool, operation: Operation) -> Callable[[Any], Any]:
    types = [operation.result_type(i) for i in range(5)]

    def run(x: Any) -> tuple[Any, ...]:
        if has_vectors:
            left, s, right = lax.linalg.svd(x, full_matrices=is_full)
            return x, s, left, right, _failed_where_nan(s, 1)
        s = lax.linalg.svd(x, compute_uv=False)
        *batch, rows, columns = x.shape
        left = _zeros(types[2], (*batch, rows, rows))
        right = _zeros(types[3], (*batch, columns, columns))
        return x, s, left, right, _failed_where_nan(s, 1)

    return run


def _zeros(expected: TensorType, shape: Sequence[Any]) -> Any:
    """Returns what nothing reads, of the type's sizes where they are static."""
    sizes = [s if size is None else size for size, s in zip(expected.shape, shape, strict=True)]
    return jnp.zeros(sizes, expected.dtype)


def _syevd(operation: Operation) -> Runner:
    is_lower = _is_lower(operation)

    def run(x: Any) -> tuple[Any, ...]:
        vectors, values = lax.linalg.eigh(x, lower=is_lower, symmetrize_input=False)
        return vectors, values, _failed_where_nan(values, 1)

    return run


def _geev(operation: Operation) -> Runner:
    wanted = [_letter(operation, name) == "V" for name in ("compute_left", "compute_right")]
    is_real = operation.operand_type().dtype.kind == "f"

    def run(x: Any) -> tuple[Any, ...]:
        values, *found = lax.linalg.eig(
            x, compute_left_eigenvectors=wanted[0], compute_right_eigenvectors=wanted[1]
        )
        computed = iter(found)
        vectors = [next(computed) if w else jnp.zeros(x.shape, values.dtype) for w in wanted]
        parts = (lax.real(values), lax.imag(values)) if is_real else (values,)
        return *parts, *vectors, _failed_where_nan(values, 1)

    return run


def _gehrd(operation: Operation) -> Runner:
    return lambda x: (*lax.linalg.hessenberg(x), _success(x))


def _sytrd(operation: Operation) -> Runner:
    is_lower = _is_lower(operation)
    return lambda x: (*lax.linalg.tridiagonal(x, lower=is_lower), _success(x))


def _gees(operation: Operation) -> Runner:
    if _letter(operation, "sort") != "N":
        raise NotLiftable("a Schur decomposition in an order of its own")
    is_real = operation.operand_type().dtype.kind == "f"

    def run(x: Any) -> tuple[Any, ...]:
        form, vectors = lax.linalg.schur(x)
        values = jnp.diagonal(form, axis1=-2, axis2=-1)
        parts = (values, _imaginary(form)) if is_real else (values,)
        return form, vectors, *parts, _success(x), _failed_where_nan(form, 2)

    return run


def _imaginary(form: Any) -> Any:
    """Returns the imaginary parts of the eigenvalues of a real Schur form.

    A pair of them is a block on the diagonal, [[a, b], [c, a]] with b and c of opposite sign.
    """
    below = jnp.diagonal(form, offset=-1, axis1=-2, axis2=-1)
    above = jnp.diagonal(form, offset=1, axis1=-2, axis2=-1)
    size = jnp.sqrt(jnp.abs(below)) * jnp.sqrt(jnp.abs(above))
    of_pair = jnp.where(below != 0, size, jnp.zeros_like(size))
    edge = jnp.zeros_like(form[..., 0, :1])
    return jnp.concatenate([of_pair, edge], -1) - jnp.concatenate([edge, of_pair], -1)


def _gtsv(operation: Operation) -> Runner:
    def run(below: Any, diagonal: Any, above: Any, b: Any) -> tuple[Any, ...]:
        # The first three results are what the routine leaves of its operands: nothing reads them.
        found = lax.linalg.tridiagonal_solve(below, diagonal, above, b)
        return below, diagonal, above, found, _success(b)

    return run


def _gtsv2(operation: Operation) -> Runner:
    return lax.linalg.tridiagonal_solve


def _pivots_to_permutation(operation: Operation) -> Runner:
    def run(pivots: Any) -> Any:
        size = operation.result_type().static_shape[-1]
        return lax.linalg.lu_pivots_to_permutation(pivots, size)

    return run


def _householder_product(operation: Operation) -> Runner:
    return lax.linalg.householder_product


def _threefry(operation: Operation) -> Runner:
    # The public random functions take keys; a call has the four words of a block.
    return lambda *words: tuple(threefry2x32_p.bind(*words))


def _tpu_lu(operation: Operation) -> Runner:
    return lambda x: tuple(lax.linalg.lu(x))


def _tpu_eigh(operation: Operation) -> Runner:
    is_lower = operation.text("backend_config", "1").partition(",")[0] != "0"
    return lambda x: tuple(lax.linalg.eigh(x, lower=is_lower, symmetrize_input=False))


_ROUTINES: Final[Mapping[str, Callable[[Operation], Runner]]] = {
    "gees": _gees,
    "geev": _geev,
    "gehrd": _gehrd,
    "geqrf": _geqrf,
    "gesdd": _gesdd,
    "getrf": _getrf,
    "gtsv": _gtsv,
    "heevd": _syevd,
    "hetrd": _sytrd,
    "orgqr": _householder_product,
    "potrf": _potrf,
    "syevd": _syevd,
    "sytrd": _sytrd,
    "trsm": _trsm,
    "ungqr": _householder_product,
}

_OF_GPU: Final[Mapping[str, Callable[[Operation], Runner]]] = {
    **{name: _ROUTINES[name] for name in ("geqrf", "getrf", "orgqr", "potrf", "syevd", "sytrd")},
    "gesdd": _gesvd,
    "gesvd": _gesvd,
    "gesvdj": _gesvdj,
}

CUSTOM_CALLS: Final[Mapping[str, Handler]] = {
    **{
        f"lapack_{element}{name}_ffi": Handler(build)
        for name, build in _ROUTINES.items()
        for element in "sdcz"
    },
    **{
        f"{vendor}solver_{name}_ffi": Handler(build)
        for name, build in _OF_GPU.items()
        for vendor in ("cu", "hip")
    },
    **{
        f"{vendor}_{name}": Handler(build)
        for name, build in (
            ("lu_pivots_to_permutation", _pivots_to_permutation),
            ("threefry2x32_ffi", _threefry),
        )
        for vendor in ("cu", "hip")
    },
    "Eigh": Handler(_tpu_eigh),
    "LuDecomposition": Handler(_tpu_lu),
    "ProductOfElementaryHouseholderReflectors": Handler(_householder_product),
    "Qr": Handler(_geqrf),
    "cusparse_gtsv2_ffi": Handler(_gtsv2),
}
