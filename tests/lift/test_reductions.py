"""Reductions, over dimensions and over windows: values, derivatives, any body."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from orbax_model_lite.lift import lift_module
from tests.lift.round_trips import (
    lifted,
    require_same,
    require_same_gradient,
    require_same_when_symbolic,
)

pytestmark = pytest.mark.frameworks

X = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
IMAGE = np.random.default_rng(1).standard_normal((2, 7, 6, 3)).astype(np.float32)
WINDOW = {"window_dimensions": (1, 3, 2, 1), "window_strides": (1, 2, 1, 1)}
INFINITY = np.float32(np.inf)


def spec(*shape):
    symbols = jax.export.symbolic_shape(", ".join(map(str, shape)))
    return jax.ShapeDtypeStruct(symbols, np.float32)


def mixed(a, b):
    return a[0] + b[0], a[1] * b[1]


FUNCTIONS = {
    "sum": lambda x: jnp.sum(x, 0),
    "maximum": lambda x: jnp.max(x, 1),
    "minimum": jnp.min,
    "product": lambda x: jnp.prod(x, 1),
    "two at once": lambda x: lax.reduce((x, x), (np.float32(0), np.float32(1)), mixed, (0,)),
    "a body of several operations": lambda x: lax.reduce(
        x * 0.1, np.float32(0), lambda a, b: a + b + a * b, (0, 1)
    ),
    "the element at the largest": lambda x: x[jnp.argmax(x, 0), jnp.arange(5)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_reduction_has_its_values_and_gradients(name):
    require_same(FUNCTIONS[name], X)
    require_same_gradient(FUNCTIONS[name], X)


WITHOUT_GRADIENT = {
    "any": lambda x: jnp.any(x > 1, 0),
    "all": lambda x: jnp.all(x > -1, 0),
    "xor": lambda x: jnp.bitwise_xor.reduce((x * 9).astype(np.int32)),
    "integers": lambda x: jnp.sum((x * 9).astype(np.int32), 1),
    "bfloat16": lambda x: jnp.max(x.astype(jnp.bfloat16)),
    "complex": lambda x: jnp.max(x + 1j * x[::-1]),
    "argmin": lambda x: jnp.argmin(x, 1),
}


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_a_reduction_has_the_values_of_any_dtype(name):
    require_same(WITHOUT_GRADIENT[name], X)


@pytest.mark.parametrize("function", [FUNCTIONS["sum"], lambda x: jnp.argmax(x, 1)])
def test_a_reduction_over_symbolic_sizes_stays_symbolic(function):
    require_same_when_symbolic(function, [spec("b", "n")], X)


def reduction(body, init, dtype="f32"):
    return f"""func.func @main(%x: tensor<3x5x{dtype}>, %k: tensor<{dtype}>) -> tensor<3x{dtype}> {{
      %i = stablehlo.constant dense<{init}> : tensor<{dtype}>
      %y = stablehlo.reduce(%x init: %i) across dimensions = [1]
        : (tensor<3x5x{dtype}>, tensor<{dtype}>) -> tensor<3x{dtype}>
        reducer(%a: tensor<{dtype}>, %b: tensor<{dtype}>) {{
          {body}
          stablehlo.return %r : tensor<{dtype}>
        }}
      return %y : tensor<3x{dtype}>
    }}"""


@pytest.mark.parametrize("operation", ["add", "maximum", "multiply"])
def test_an_initial_value_that_changes_the_result_does_so(run_by_xla, operation):
    text = reduction(f"%r = stablehlo.{operation} %b, %a : tensor<f32>", "0.5")
    one = np.float32(1)
    np.testing.assert_allclose(lift_module(text)(X, one)[0], run_by_xla(text, X, one)[0], 1e-5)


def test_a_sum_of_negative_zeros_that_begins_with_one_is_negative():
    text = reduction("%r = stablehlo.add %a, %b : tensor<f32>", "-0.0")
    found = lift_module(text)(np.full((3, 5), -0.0, np.float32), np.float32(1))[0]
    assert np.signbit(found).all()


def test_a_body_may_read_values_from_around_it():
    text = reduction(
        "%s = stablehlo.maximum %b, %k : tensor<f32>\n %r = stablehlo.maximum %a, %s : tensor<f32>",
        "0xFF800000",
    )
    bound = np.float32(1)
    found = jax.jit(lift_module(text))(X, bound)[0]
    np.testing.assert_array_equal(found, np.maximum(X.max(1), bound))


POOLINGS = {
    "maximum": lambda x: lax.reduce_window(x, -INFINITY, lax.max, padding="SAME", **WINDOW),
    "minimum": lambda x: lax.reduce_window(x, INFINITY, lax.min, padding="VALID", **WINDOW),
    "sum": lambda x: lax.reduce_window(x, np.float32(0), lax.add, padding="SAME", **WINDOW),
    "dilated": lambda x: lax.reduce_window(
        x,
        np.float32(0),
        lax.add,
        (1, 2, 2, 1),
        (1, 1, 2, 1),
        ((0, 0), (1, 2), (0, 1), (0, 0)),
        (1, 2, 1, 1),
        (1, 1, 2, 1),
    ),
    "gradient of a maximum": jax.grad(
        lambda x: (lax.reduce_window(x, -INFINITY, lax.max, padding="SAME", **WINDOW) ** 2).sum()
    ),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooling_has_its_values_and_gradients(name):
    require_same(POOLINGS[name], IMAGE)
    require_same_gradient(POOLINGS[name], IMAGE)


@pytest.mark.parametrize("name", ["maximum", "gradient of a maximum"])
def test_a_pooling_of_a_symbolic_batch_stays_symbolic(name):
    require_same_when_symbolic(POOLINGS[name], [spec("b", 7, 6, 3)], IMAGE)


def product_of_windows(x):
    return lax.reduce_window(x, np.float32(1), lax.mul, padding="SAME", **WINDOW)


def test_windows_with_any_body_have_values_and_derivatives():
    require_same(product_of_windows, IMAGE)
    found = lifted(product_of_windows, IMAGE)
    check_grads(lambda x: found(x)[0], (IMAGE,), 1, modes=("fwd", "rev"), rtol=2e-2, atol=2e-2)


def test_a_window_of_symbolic_size_stays_symbolic():
    def function(x):
        return lax.reduce_window(x, np.float32(0), lax.add, (2, x.shape[1]), (1, 1), "VALID")

    require_same_when_symbolic(function, [spec(3, "n")], X)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax"])
def test_what_a_tpu_accumulates_by_windows_is_differentiated_as_well(name):
    function = getattr(lax, name)
    found = lifted(function, X, platforms=("tpu",))
    np.testing.assert_allclose(found(X)[0], function(X), 1e-5)
    np.testing.assert_allclose(
        jax.grad(lambda x: jnp.sin(found(x)[0]).sum())(X),
        jax.grad(lambda x: jnp.sin(function(x)).sum())(X),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("direction", ["GE", "GT", "LE"])
@pytest.mark.parametrize("combiner", ["add", "maximum", "subtract"])
def test_a_selection_scatters_as_xla_does(run_by_xla, direction, combiner):
    text = f"""func.func @main(%x: tensor<6x6xf32>, %s: tensor<3x3xf32>) -> tensor<6x6xf32> {{
      %i = stablehlo.constant dense<0.5> : tensor<f32>
      %z = "stablehlo.select_and_scatter"(%x, %s, %i) <{{
          window_dimensions = array<i64: 3, 2>, window_strides = array<i64: 2, 2>,
          padding = dense<[[0, 1], [0, 0]]> : tensor<2x2xi64>}}> ({{
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %r = stablehlo.compare {direction}, %a, %b
            : (tensor<f32>, tensor<f32>) -> tensor<i1>
          stablehlo.return %r : tensor<i1>
      }}, {{
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %r = stablehlo.{combiner} %a, %b : tensor<f32>
          stablehlo.return %r : tensor<f32>
      }}) : (tensor<6x6xf32>, tensor<3x3xf32>, tensor<f32>) -> tensor<6x6xf32>
      return %z : tensor<6x6xf32>
    }}"""
    random = np.random.default_rng(0)
    x = random.integers(-3, 3, (6, 6)).astype(np.float32)
    s = random.standard_normal((3, 3)).astype(np.float32)
    np.testing.assert_allclose(lift_module(text)(x, s)[0], run_by_xla(text, x, s)[0], 1e-6)


def test_a_map_applies_its_body_to_each_element():
    text = """func.func @main(%x: tensor<3x5xf32>, %y: tensor<3x5xf32>) -> tensor<3x5xf32> {
      %z = "stablehlo.map"(%x, %y) <{dimensions = array<i64: 0, 1>}> ({
        ^bb0(%a: tensor<f32>, %b: tensor<f32>):
          %p = stablehlo.multiply %a, %b : tensor<f32>
          %r = stablehlo.add %p, %a : tensor<f32>
          stablehlo.return %r : tensor<f32>
      }) : (tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
      return %z : tensor<3x5xf32>
    }"""
    np.testing.assert_allclose(lift_module(text)(X, X + 1)[0], X * (X + 1) + X, 1e-5)
