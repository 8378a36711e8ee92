"""Composites and CHLO: JAX's own functions where it has them, with their derivatives."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

X = np.linspace(-0.9, 0.9, 7, dtype=np.float32)


def exported(function, *arguments):
    return bytes(jax.export.export(jax.jit(function))(*arguments).mlir_module_serialized)


@pytest.mark.parametrize(
    "name", ["acos", "acosh", "asin", "asinh", "atanh", "cosh", "erf", "sinh", "tan"]
)
def test_a_composite_of_a_special_function_has_its_values_and_derivatives(name):
    function = getattr(jax.lax, name)
    lifted = lift_module(exported(function, X))
    x = X + 2 if name == "acosh" else X
    np.testing.assert_allclose(lifted(x)[0], function(x), 1e-6)
    derivative = jax.grad(lambda y: jnp.sum(lifted(y)[0]))(x)
    np.testing.assert_allclose(derivative, jax.grad(lambda y: jnp.sum(function(y)))(x), 1e-6)


def test_a_composite_that_jax_has_not_calls_its_function():
    function = jax.lax.composite(lambda x: jnp.sin(x) * x, "mine.function")
    lifted = lift_module(exported(lambda x: function(x) + 1, X))
    np.testing.assert_allclose(lifted(X)[0], np.sin(X) * X + 1, 1e-5)


def test_the_largest_elements_come_with_a_derivative():
    lifted = lift_module(exported(lambda x: jax.lax.top_k(x, 2), X))
    values, indices = lifted(X)
    np.testing.assert_array_equal(indices, [6, 5])
    np.testing.assert_array_equal(values, X[[6, 5]])
    np.testing.assert_array_equal(jax.grad(lambda x: lifted(x)[0].sum())(X), [0, 0, 0, 0, 0, 1, 1])


def test_the_number_of_largest_elements_may_be_symbolic():
    (n,) = jax.export.symbolic_shape("n")
    spec = jax.ShapeDtypeStruct((2, n), np.float32)
    lifted = lift_module(exported(lambda x: jax.lax.top_k(x, x.shape[1] - 1), spec))
    again = jax.export.export(jax.jit(lifted))(spec)
    assert str(again.out_avals[0].shape) == "(2, n - 1)"
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(again.call(x)[0], x[:, :0:-1])


def test_nan_counts_as_larger_than_any_number_among_the_largest(run_by_xla):
    text = """func.func @main(%x: tensor<5xf32>) -> (tensor<3xf32>, tensor<3xi32>) {
      %v, %i = chlo.top_k(%x, k = 3) : tensor<5xf32> -> (tensor<3xf32>, tensor<3xi32>)
      return %v, %i : tensor<3xf32>, tensor<3xi32>
    }"""
    x = np.array([1, np.nan, -0.0, 0.0, 5], np.float32)
    for found, expected in zip(lift_module(text)(x), run_by_xla(text, x), strict=True):
        np.testing.assert_array_equal(found, expected)


UNARY = [
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i1e", "cosh", "digamma"),
    *("erf", "erf_inv", "erfc", "lgamma", "sinh", "square", "tan"),
]


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_array_gives_what_xla_gives(run_by_xla, name):
    text = f"""func.func @main(%x: tensor<7xf32>) -> tensor<7xf32> {{
      %y = chlo.{name} %x : tensor<7xf32> -> tensor<7xf32>
      return %y : tensor<7xf32>
    }}"""
    np.testing.assert_allclose(lift_module(text)(X)[0], run_by_xla(text, X)[0], 2e-5)


@pytest.mark.parametrize("name", ["is_inf", "is_pos_inf", "is_neg_inf"])
def test_infinities_are_found_by_their_sign(name, run_by_xla):
    text = f"""func.func @main(%x: tensor<4xf32>) -> tensor<4xi1> {{
      %y = chlo.{name} %x : tensor<4xf32> -> tensor<4xi1>
      return %y : tensor<4xi1>
    }}"""
    x = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    np.testing.assert_array_equal(lift_module(text)(x)[0], run_by_xla(text, x)[0])


@pytest.mark.parametrize("name", ["next_after", "polygamma", "zeta"])
def test_a_function_of_two_arrays_gives_what_xla_gives(run_by_xla, name):
    text = f"""func.func @main(%x: tensor<3xf32>, %y: tensor<3xf32>) -> tensor<3xf32> {{
      %z = chlo.{name} %x, %y : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
      return %z : tensor<3xf32>
    }}"""
    x, y = np.array([2, 3, 4], np.float32), np.array([0.5, 1.5, 7], np.float32)
    np.testing.assert_allclose(lift_module(text)(x, y)[0], run_by_xla(text, x, y)[0], 2e-5)


def test_operands_are_broadcast_as_in_numpy_or_along_the_named_dimensions():
    text = """func.func @main(%x: tensor<2x3xf32>, %y: tensor<1xf32>, %z: tensor<2xf32>)
        -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xi1>) {
      %0 = chlo.broadcast_add %x, %y : (tensor<2x3xf32>, tensor<1xf32>) -> tensor<2x3xf32>
      %1 = chlo.broadcast_multiply %x, %z {broadcast_dimensions = array<i64: 0>}
        : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<2x3xf32>
      %2 = chlo.broadcast_compare %x, %y {comparison_direction = #chlo<comparison_direction LT>}
        : (tensor<2x3xf32>, tensor<1xf32>) -> tensor<2x3xi1>
      return %0, %1, %2 : tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xi1>
    }"""
    x, y, z = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(1, np.float32) * 2, X[:2]
    total, product, less = lift_module(text)(x, y, z)
    np.testing.assert_array_equal(total, x + y)
    np.testing.assert_array_equal(product, x * z[:, None])
    np.testing.assert_array_equal(less, x < y)


def test_a_constant_takes_the_shape_of_another_array():
    text = """func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
      %y = "chlo.constant_like"(%x) {value = 3.5 : f32} : (tensor<?x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    }"""
    np.testing.assert_array_equal(
        lift_module(text)(np.zeros((3, 2), np.float32))[0], [[3.5] * 2] * 3
    )


def test_a_ragged_contraction_multiplies_each_group_by_its_own_matrix():
    text = """func.func @main(%x: tensor<4x3xf32>, %y: tensor<2x3x5xf32>, %n: tensor<2xi32>)
        -> tensor<4x5xf32> {
      %z = "chlo.ragged_dot"(%x, %y, %n) {
        ragged_dot_dimension_numbers = #chlo.ragged_dot<lhs_contracting_dimensions = [1],
          rhs_contracting_dimensions = [1], lhs_ragged_dimensions = [0],
          rhs_group_dimensions = [0]>, precision_config = []
      } : (tensor<4x3xf32>, tensor<2x3x5xf32>, tensor<2xi32>) -> tensor<4x5xf32>
      return %z : tensor<4x5xf32>
    }"""
    random = np.random.default_rng(0)
    x, y = random.random((4, 3), np.float32), random.random((2, 3, 5), np.float32)
    expected = np.concatenate([x[:1] @ y[0], x[1:] @ y[1]])
    found = lift_module(text)(x, y, np.array([1, 3], np.int32))[0]
    np.testing.assert_allclose(found, expected, 1e-5)
