"""Sorts: the order, the stability and the derivative of any comparator."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from orbax_model_lite.lift import lift_module
from tests.lift.round_trips import (
    lifted,
    require_same,
    require_same_gradient,
    require_same_when_symbolic,
)

pytestmark = pytest.mark.frameworks

X = np.random.default_rng(0).standard_normal((3, 9)).astype(np.float32)
ZEROS = np.array([[0.0, -0.0, 1, np.inf, -np.inf, -1, 0.0, -0.0, 2]] * 3, np.float32)
ALL = np.array([[np.nan, -np.nan, 1, 2, -0.0, 0.0, np.inf, -np.inf, 7]] * 3, np.float32)
PLACES = np.tile(np.arange(9, dtype=np.int32), (3, 1))

FUNCTIONS = {
    "sort": jnp.sort,
    "along the first": lambda x: jnp.sort(x, axis=0),
    "two keys": lambda x: lax.sort((jnp.round(x), x, x * 2), num_keys=2, dimension=0),
    "median": lambda x: jnp.median(x, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_sort_has_its_values_and_gradients(name):
    require_same(FUNCTIONS[name], X)
    require_same_gradient(FUNCTIONS[name], X)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.int8, np.complex64, np.bool_])
def test_a_sort_has_the_values_of_any_dtype(dtype):
    require_same(lambda x: jnp.sort((x * 3).astype(dtype)), X)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_sort_of_jax_comes_back_as_itself(name):
    jaxpr = str(jax.make_jaxpr(lifted(FUNCTIONS[name], X))(X))
    assert jaxpr.count("= sort[") == str(jax.make_jaxpr(FUNCTIONS[name])(X)).count("= sort[")
    assert "bitcast" not in jaxpr


def test_a_sort_of_symbolic_sizes_stays_symbolic():
    (b,) = jax.export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((3, b), np.float32)
    require_same_when_symbolic(lambda x: jnp.argsort(x, descending=True), [spec], X)


def sort(body, dtype="f32", sizes="3x9"):
    return f"""func.func @main(%x: tensor<{sizes}x{dtype}>, %y: tensor<{sizes}xi32>)
        -> (tensor<{sizes}x{dtype}>, tensor<{sizes}xi32>) {{
      %z:2 = "stablehlo.sort"(%x, %y) <{{dimension = 1 : i64, is_stable = true}}> ({{
        ^bb0(%a: tensor<{dtype}>, %b: tensor<{dtype}>, %c: tensor<i32>, %d: tensor<i32>):
          {body}
          stablehlo.return %r : tensor<i1>
      }}) : (tensor<{sizes}x{dtype}>, tensor<{sizes}xi32>)
        -> (tensor<{sizes}x{dtype}>, tensor<{sizes}xi32>)
      return %z#0, %z#1 : tensor<{sizes}x{dtype}>, tensor<{sizes}xi32>
    }}"""


def compare(direction, left="%a", right="%b", dtype="f32", order=""):
    kind = f"(tensor<{dtype}>, tensor<{dtype}>) -> tensor<i1>"
    return f"stablehlo.compare {direction}, {left}, {right}{order} : {kind}"


def require_same_bits(text, run_by_xla, *arrays):
    for found, expected in zip(lift_module(text)(*arrays), run_by_xla(text, *arrays), strict=True):
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("direction", ["LT", "GT"])
@pytest.mark.parametrize("sides", [("%a", "%b"), ("%b", "%a")], ids=["plain", "swapped"])
def test_zeros_are_equal_and_keep_their_order(run_by_xla, direction, sides):
    require_same_bits(sort(f"%r = {compare(direction, *sides)}"), run_by_xla, ZEROS, PLACES)


@pytest.mark.parametrize("direction", ["LT", "GT"])
def test_the_total_order_tells_zeros_and_nans_apart(run_by_xla, direction):
    text = sort(f"%r = {compare(direction, order=', TOTALORDER')}")
    require_same_bits(text, run_by_xla, ALL, PLACES)


@pytest.mark.parametrize("direction", ["LT", "GT"])
@pytest.mark.parametrize("dtype", ["i32", "ui8"])
def test_integers_are_sorted_either_way(run_by_xla, direction, dtype):
    kind = {"i32": np.int32, "ui8": np.uint8}[dtype]
    x = np.random.default_rng(0).integers(0, 5, (3, 9)).astype(kind)
    require_same_bits(sort(f"%r = {compare(direction, dtype=dtype)}", dtype), run_by_xla, x, PLACES)


def test_ties_may_be_decided_in_the_other_direction(run_by_xla):
    text = sort(
        f"%e = {compare('EQ')}\n %l = {compare('GT')}\n"
        f"%m = {compare('LT', '%d', '%c', 'i32')}\n"
        "%r = stablehlo.select %e, %m, %l : tensor<i1>, tensor<i1>"
    )
    require_same_bits(text, run_by_xla, ZEROS, PLACES)


BY_SIZE = (
    "%p = stablehlo.abs %a : tensor<f32>\n %q = stablehlo.abs %b : tensor<f32>\n"
    f"%r = {compare('LT', '%p', '%q')}"
)


def test_a_comparator_of_any_form_is_asked_itself(run_by_xla):
    require_same_bits(sort(BY_SIZE), run_by_xla, ZEROS, PLACES)


def test_the_derivative_goes_through_the_order_of_any_comparator():
    lifted_sort = lift_module(sort(BY_SIZE))
    weights = np.arange(9, dtype=np.float32)
    found = jax.grad(lambda x: (lifted_sort(x, PLACES)[0] * weights).sum())(X)
    np.testing.assert_array_equal(found, np.argsort(np.argsort(np.abs(X), 1), 1))


def test_any_comparator_sorts_a_symbolic_number_of_elements():
    (b,) = jax.export.symbolic_shape("b")
    lifted_sort = lift_module(sort(BY_SIZE, sizes="3x?"))
    specs = [jax.ShapeDtypeStruct((3, b), dtype) for dtype in (np.float32, np.int32)]
    found = jax.export.export(jax.jit(lifted_sort))(*specs).call(ZEROS, PLACES)
    expected = np.argsort(np.abs(ZEROS), axis=1, kind="stable")
    np.testing.assert_array_equal(found[1], expected)
