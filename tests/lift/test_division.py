"""Sizes that are divided: halves of symbolic dimensions, as padding and strides make them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite import jax2obm, lift
from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

IMAGES = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32)


def _convolved(x):
    return jax.lax.conv_general_dilated(
        x, KERNEL, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _pooled(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 2, 1), (1, 2, 2, 1), "SAME")


def _every_third(x):
    return x[:, ::3, 1::2]


@pytest.mark.parametrize("function", [_convolved, _pooled, _every_third])
def test_windows_with_strides_go_over_symbolic_sizes(function):
    stored = jax2obm.convert(function, ("b, h, w, 3",), platforms=["cpu"])
    lifted = lift.lift_function(stored)
    np.testing.assert_allclose(lifted(IMAGES), function(IMAGES), rtol=1e-5, atol=1e-5)
    again = jax2obm.convert(lifted, ("b, h, w, 3",), platforms=["cpu"])
    found = lift.lift_function(again)(IMAGES[:, 1:, 1:])
    np.testing.assert_allclose(found, function(IMAGES[:, 1:, 1:]), rtol=1e-5, atol=1e-5)


def test_gradients_go_through_them():
    stored = jax2obm.convert(_convolved, ("b, h, w, 3",), platforms=["cpu"])
    lifted = lift.lift_function(stored)
    expected = jax.grad(lambda x: (_convolved(x) ** 2).sum())(IMAGES)
    found = jax.grad(lambda x: (lifted(x) ** 2).sum())(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


SUMS = """
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
  %two = stablehlo.constant dense<2> : tensor<i32>
  %n = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?xf32>) -> tensor<i32>
  %m = func.call @floor_divide(%n, %two) : (tensor<i32>, tensor<i32>) -> tensor<i32>
  %shape = stablehlo.reshape %m : (tensor<i32>) -> tensor<1xi32>
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  %y = stablehlo.dynamic_broadcast_in_dim %one, %shape, dims = []
    : (tensor<f32>, tensor<1xi32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}
func.func private @floor_divide(%a: tensor<i32>, %b: tensor<i32>) -> tensor<i32> {
  %c = stablehlo.add %a, %b : tensor<i32>
  return %c : tensor<i32>
}"""


def test_a_function_that_has_only_the_name_of_a_division_computes_what_it_says():
    module = lift_module(SUMS)
    again = jax2obm.convert(lambda x: module(x)[0], ("n",), platforms=["cpu"])
    assert str(again.signature.outputs) == "float32 [n + 2]"
    assert module(np.ones(5, np.float32))[0].shape == (7,)
