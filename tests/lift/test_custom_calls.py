"""Custom calls: the caller's own, the compiler's, and linear algebra as JAX has it."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.lax import linalg

from orbax_model_lite.errors import SignatureMismatchError, UnsupportedError
from orbax_model_lite.lift import lift_module
from orbax_model_lite.lift.operations.custom_calls import TARGETS
from orbax_model_lite.stablehlo.custom_calls import (
    GUARANTEED_CUSTOM_CALLS,
    KERNEL_CUSTOM_CALLS,
)
from tests.lift.round_trips import (
    lifted,
    require_equal,
    require_same,
    require_same_gradient,
    require_same_when_symbolic,
)

pytestmark = pytest.mark.frameworks

RANDOM = np.random.default_rng(0)
A = RANDOM.standard_normal((2, 3, 3)).astype(np.float32)
POSITIVE = A @ A.transpose(0, 2, 1) + np.eye(3, dtype=np.float32)
TALL = RANDOM.standard_normal((2, 4, 3)).astype(np.float32)
# Calls of a manual computation, which are bound to a mesh.
OF_A_MESH = {
    "SPMDFullToShardShape",
    "SPMDShardToFullShape",
    "xla.sdy.GlobalToLocalShape",
    "xla.sdy.LocalToGlobalShape",
}

CALL = """func.func @main(%x: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
  %y:2 = stablehlo.custom_call @mine(%x) {
    mhlo.backend_config = {factor = 3.0 : f64, name = "n", is_on = true}, api_version = 4 : i32
  } : (tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>)
  return %y#0, %y#1 : tensor<3xf32>, tensor<3xf32>
}"""
X = np.arange(3, dtype=np.float32)


def test_every_guaranteed_target_is_lifted_but_kernels_and_what_is_bound_to_a_mesh():
    wanted = GUARANTEED_CUSTOM_CALLS - KERNEL_CUSTOM_CALLS - OF_A_MESH
    assert set(TARGETS) >= wanted


def test_the_callers_handler_computes_a_call_of_his_own():
    found = lift_module(CALL, custom_calls={"mine": lambda x: (x + 1, x * 2)})
    np.testing.assert_array_equal(found(X)[1], X * 2)
    np.testing.assert_array_equal(jax.grad(lambda x: found(x)[1].sum())(X), [2, 2, 2])


def test_a_handler_that_asks_for_the_call_is_told_its_settings():
    def handler(x, *, call):
        config = call.backend_config
        assert (call.target, config["name"], config["is_on"]) == ("mine", "n", True)
        assert [t.shape for t in call.result_types] == [(3,), (3,)]
        return [x, x * config["factor"]]

    found = lift_module(CALL, custom_calls={"mine": handler})
    np.testing.assert_array_equal(found(X)[1], X * 3)


def test_an_unknown_call_is_named_with_the_way_to_pass_a_handler():
    with pytest.raises(UnsupportedError, match=r"@mine .*custom_calls=\{'mine': \.\.\.\}"):
        lift_module(CALL)


def test_a_condition_on_sizes_that_does_not_hold_is_an_error_with_the_sizes():
    (b,) = jax.export.symbolic_shape("b", constraints=["b >= 10"])
    found = lifted(lambda x: x + 1, jax.ShapeDtypeStruct((b,), np.float32))
    with pytest.raises(SignatureMismatchError, match=r"b >= 10.* found -7"):
        found(X)


ROUTINES = {
    "cholesky": (linalg.cholesky, POSITIVE),
    "lu": (linalg.lu, A),
    "lu of a tall one": (linalg.lu, TALL),
    "qr": (lambda x: linalg.qr(x, full_matrices=False), TALL),
    "svd": (linalg.svd, TALL),
    "singular values": (lambda x: linalg.svd(x, compute_uv=False), TALL),
    "eigh": (linalg.eigh, POSITIVE),
    "eig": (linalg.eig, A),
    "hessenberg": (linalg.hessenberg, A),
    "tridiagonal": (linalg.tridiagonal, POSITIVE),
    "schur": (linalg.schur, A),
    "triangular": (
        lambda x: linalg.triangular_solve(x, x, left_side=True, lower=True, transpose_a=True),
        POSITIVE,
    ),
    "tridiagonal_solve": (
        lambda x: linalg.tridiagonal_solve(x[..., 0], x[..., 1] + 5, x[..., 2], x),
        A,
    ),
    "solve": (lambda x: jnp.linalg.solve(x, x[..., :1] + 1), POSITIVE),
    "cholesky of no positive matrix": (linalg.cholesky, -POSITIVE),
    "lu of a singular matrix": (linalg.lu, np.ones((2, 3, 3), np.float32)),
}


@pytest.mark.parametrize("name", ROUTINES)
def test_linear_algebra_has_its_values(name):
    function, matrix = ROUTINES[name]
    require_same(function, matrix, rtol=1e-4)


@pytest.mark.parametrize("name", ["cholesky", "lu", "qr", "svd", "eigh", "eig", "schur"])
def test_linear_algebra_has_its_values_for_complex_numbers(name):
    function, matrix = ROUTINES[name]
    if matrix is POSITIVE:
        half = A + 1j * A[:, ::-1]
        z = half @ half.conj().transpose(0, 2, 1) + np.eye(3)
    else:
        z = matrix + 1j * matrix[:, ::-1]
    require_same(function, z.astype(np.complex64), rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["cholesky", "lu", "singular values", "eigh", "triangular", "solve"]
)
def test_linear_algebra_has_the_gradients_of_jax(name):
    function, matrix = ROUTINES[name]
    require_same_gradient(function, matrix, rtol=1e-3)


@pytest.mark.parametrize("name", ["cholesky", "lu", "qr", "svd", "eigh"])
def test_linear_algebra_of_a_symbolic_batch_stays_symbolic(name):
    function, matrix = ROUTINES[name]
    (b,) = jax.export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((b, *matrix.shape[1:]), np.float32)
    require_same_when_symbolic(function, [spec], matrix, rtol=1e-4)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("name", ["cholesky", "lu", "qr", "eigh", "singular values", "solve"])
def test_linear_algebra_for_another_platform_runs_here(name, platform):
    function, matrix = ROUTINES[name]
    found = lifted(function, matrix, platforms=(platform,))(matrix)
    require_equal(found, jax.tree.leaves(function(matrix)), 1e-3)


@pytest.mark.parametrize("select", [lax.approx_max_k, lax.approx_min_k])
def test_an_approximate_selection_comes_back(select):
    x = RANDOM.standard_normal((3, 50)).astype(np.float32)
    require_same(lambda y: select(y, 2), x)
    jaxpr = str(jax.make_jaxpr(lifted(lambda y: select(y, 2), x))(x))
    assert "approx_top_k[" in jaxpr


@pytest.mark.parametrize("algorithm", ["RNG_DEFAULT", "RNG_PHILOX", "RNG_THREE_FRY"])
def test_random_bits_are_those_of_the_algorithm(algorithm):
    key = np.arange(4, dtype=np.uint32)

    def function(k):
        return lax.rng_bit_generator(k, (3, 5), np.uint32, algorithm=lax.RandomAlgorithm[algorithm])

    found = lifted(function, key)
    require_equal(found(key), function(key), 0)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "fft2"])
def test_a_fourier_transform_has_its_values_and_gradients(name):
    x = RANDOM.standard_normal((3, 8)).astype(np.float32)

    def function(y):
        return jnp.abs(getattr(jnp.fft, name)(y))

    require_same(function, x, rtol=1e-4)
    require_same_gradient(function, x, rtol=1e-3)


def test_batch_normalization_and_its_gradient_give_what_xla_gives(run_by_xla):
    wide, narrow = "tensor<4x5x3xf32>", "tensor<3xf32>"
    settings = "{epsilon = 0.01 : f32, feature_index = 2 : i64}"
    text = f"""func.func @main(%x: {wide}, %s: {narrow}, %o: {narrow}, %m: {narrow},
        %v: {narrow}, %g: {wide})
        -> ({wide}, {wide}, {narrow}, {narrow}, {wide}, {narrow}, {narrow}) {{
      %0 = "stablehlo.batch_norm_inference"(%x, %s, %o, %m, %v) {settings}
        : ({wide}, {narrow}, {narrow}, {narrow}, {narrow}) -> {wide}
      %1:3 = "stablehlo.batch_norm_training"(%x, %s, %o) {settings}
        : ({wide}, {narrow}, {narrow}) -> ({wide}, {narrow}, {narrow})
      %2:3 = "stablehlo.batch_norm_grad"(%x, %s, %m, %v, %g) {settings}
        : ({wide}, {narrow}, {narrow}, {narrow}, {wide}) -> ({wide}, {narrow}, {narrow})
      return %0, %1#0, %1#1, %1#2, %2#0, %2#1, %2#2
        : {wide}, {wide}, {narrow}, {narrow}, {wide}, {narrow}, {narrow}
    }}"""
    x = RANDOM.standard_normal((4, 5, 3)).astype(np.float32)
    arrays = (x, *(RANDOM.random((4, 3)).astype(np.float32) + 0.5), x[::-1].copy())
    for found, expected in zip(lift_module(text)(*arrays), run_by_xla(text, *arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
