"""Gathers and scatters: any dimension numbers, any body, indices out of bounds."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from orbax_model_lite.lift import lift_module
from tests.lift.round_trips import (
    lifted,
    require_same,
    require_same_gradient,
    require_same_when_symbolic,
)

pytestmark = pytest.mark.frameworks

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((6, 5)).astype(np.float32)
U = RANDOM.standard_normal((3, 5)).astype(np.float32)
ROWS = np.array([1, 7, 1], np.int32)


@pytest.mark.parametrize("mode", ["clip", "fill", "promise_in_bounds"])
def test_a_gather_has_its_values_and_gradients(mode):
    rows = ROWS if mode != "promise_in_bounds" else ROWS % 6

    def function(x):
        return jnp.nan_to_num(x.at[rows].get(mode=mode))

    require_same(function, X)
    require_same_gradient(function, X)


def test_a_gather_for_each_row_of_a_batch_is_one_gather():
    def function(x, i):
        return jax.vmap(lambda row, k: row[k])(x, i)

    i = np.array([[0, 4], [1, 9], [2, 2], [3, -1], [0, 0], [4, 1]], np.int32)
    require_same(function, X, i)


def test_a_gather_of_symbolic_sizes_stays_symbolic():
    (b,) = jax.export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((b + 1, 5), np.float32)
    require_same_when_symbolic(lambda x: x[1:][::-1], [spec], X)


GATHERS = {
    "vectors in front": (
        "5x4xf32",
        "2x3xi32",
        "3x2xf32",
        (
            "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0, 1], "
            "index_vector_dim = 0"
        ),
        "1, 2",
        [[1, -3, 9], [0, 1, 3]],
    ),
    "single numbers": (
        "5x4xf32",
        "3xi32",
        "3x4xf32",
        (
            "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], "
            "index_vector_dim = 1"
        ),
        "1, 4",
        [4, -1, 7],
    ),
    "batching": (
        "3x4xf32",
        "3x2x1xi32",
        "3x2xf32",
        (
            "operand_batching_dims = [0], start_indices_batching_dims = [0], "
            "collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 2"
        ),
        "1, 1",
        [[[0], [3]], [[1], [-2]], [[5], [2]]],
    ),
    "batching, vectors in front": (
        "3x4xf32",
        "1x2x3xi32",
        "2x3xf32",
        (
            "operand_batching_dims = [0], start_indices_batching_dims = [2], "
            "collapsed_slice_dims = [1], start_index_map = [1], index_vector_dim = 0"
        ),
        "1, 1",
        [[[0, 3, 1], [5, -2, 2]]],
    ),
}


@pytest.mark.parametrize("name", GATHERS)
def test_a_gather_of_any_dimensions_gives_what_xla_gives(run_by_xla, name):
    operand, indices, result, numbers, sizes, values = GATHERS[name]
    text = f"""func.func @main(%x: tensor<{operand}>, %i: tensor<{indices}>) -> tensor<{result}> {{
      %y = "stablehlo.gather"(%x, %i) <{{
        dimension_numbers = #stablehlo.gather<{numbers}>, indices_are_sorted = false,
        slice_sizes = array<i64: {sizes}>
      }}> : (tensor<{operand}>, tensor<{indices}>) -> tensor<{result}>
      return %y : tensor<{result}>
    }}"""
    shape = tuple(map(int, operand.split("x")[:-1]))
    x, i = RANDOM.standard_normal(shape).astype(np.float32), np.array(values, np.int32)
    np.testing.assert_array_equal(lift_module(text)(x, i)[0], run_by_xla(text, x, i)[0])


def test_rows_are_selected_as_in_torch():
    text = """func.func @main(%x: tensor<6x5xf32>, %i: tensor<2x2xi32>) -> tensor<6x2x2xf32> {
      %y = "stablehlo.torch_index_select"(%x, %i) <{dim = 1 : i64, batch_dims = 0 : i64}>
        : (tensor<6x5xf32>, tensor<2x2xi32>) -> tensor<6x2x2xf32>
      return %y : tensor<6x2x2xf32>
    }"""
    i = np.array([[0, 4], [2, 2]], np.int32)
    np.testing.assert_array_equal(lift_module(text)(X, i)[0], X[:, i])


@pytest.mark.parametrize("mode", ["drop", "clip"])
@pytest.mark.parametrize("name", ["set", "add", "subtract", "multiply", "min", "max"])
def test_a_scatter_has_its_values(name, mode):
    rows = ROWS if name != "set" else np.array([1, 7, 0], np.int32)
    require_same(lambda x, u: getattr(x.at[rows], name)(u, mode=mode), X, U)


@pytest.mark.parametrize("name", ["set", "add", "multiply"])
def test_a_scatter_has_its_gradients(name):
    columns = np.array([1, 3, 0])

    def function(x, u):
        return getattr(x.at[:, columns], name)(u[0, 0], unique_indices=True)

    require_same_gradient(function, X, U)


def test_a_scatter_for_each_row_of_a_batch_is_one_scatter():
    def function(x, u):
        i = jnp.array([[0, 2], [1, 7], [0, 0]], jnp.int32)
        return jax.vmap(lambda row, k, v: row.at[k].add(v))(x[:3], i, u[:, :2])

    require_same(function, X, U)
    require_same_gradient(function, X, U)


def test_booleans_are_set_by_a_scatter():
    require_same(lambda x: (x > 0).at[ROWS].set(True).at[2].max(True), X)


def test_a_body_that_jax_has_no_scatter_for_has_values_and_derivatives():
    def function(x):
        return x.at[np.array([1, 1, 3, 9])].apply(lambda v: jnp.sin(v) * 2)

    require_same(function, X)
    found = lifted(function, X)
    check_grads(lambda x: found(x)[0], (X,), 2, modes=("fwd", "rev"), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "indices",
    [[[1, 1, 4], [0, 0, 0]], [[1, -1, 4], [0, 0, 0]], [[1, 2, 3], [0, 1, 0]]],
    ids=["the same twice", "one before the first", "one too wide"],
)
def test_two_arrays_are_scattered_by_one_body(run_by_xla, indices):
    text = """func.func @main(%a: tensor<5x4xf32>, %b: tensor<5x4xi32>, %i: tensor<2x3xi32>,
        %u: tensor<3x4xf32>, %v: tensor<3x4xi32>) -> (tensor<5x4xf32>, tensor<5x4xi32>) {
      %z:2 = "stablehlo.scatter"(%a, %b, %i, %u, %v) <{
        scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1],
          inserted_window_dims = [0], scatter_dims_to_operand_dims = [0, 1],
          index_vector_dim = 0>}> ({
        ^bb0(%p: tensor<f32>, %q: tensor<i32>, %r: tensor<f32>, %s: tensor<i32>):
          %c = stablehlo.compare GT, %r, %p : (tensor<f32>, tensor<f32>) -> tensor<i1>
          %m = stablehlo.select %c, %r, %p : tensor<i1>, tensor<f32>
          %n = stablehlo.select %c, %s, %q : tensor<i1>, tensor<i32>
          stablehlo.return %m, %n : tensor<f32>, tensor<i32>
      }) : (tensor<5x4xf32>, tensor<5x4xi32>, tensor<2x3xi32>, tensor<3x4xf32>, tensor<3x4xi32>)
        -> (tensor<5x4xf32>, tensor<5x4xi32>)
      return %z#0, %z#1 : tensor<5x4xf32>, tensor<5x4xi32>
    }"""
    arrays = (
        X[:5, :4],
        np.zeros((5, 4), np.int32),
        np.array(indices, np.int32),
        U[:, :4],
        np.arange(12, dtype=np.int32).reshape(3, 4),
    )
    found, expected = lift_module(text)(*arrays), run_by_xla(text, *arrays)
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
