"""Modules as other writers give them: test suites, older versions of JAX, hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module

_CHECKED = """module @jit_main attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  func.func public @main() -> (tensor<2x3xi32> {jax.result_info = "", mhlo.layout_mode = "default"}) {
    %0:2 = call @inputs() : () -> (tensor<3xi32>, tensor<2x3xi32>)
    %1 = call @expected() : () -> tensor<2x3xi32>
    %2 = stablehlo.broadcast_in_dim %0#0, dims = [1] : (tensor<3xi32>) -> tensor<2x3xi32>
    %3 = stablehlo.add %2, %0#1 : tensor<2x3xi32>
    stablehlo.custom_call @check.expect_eq(%3, %1) {has_side_effect = true}
      : (tensor<2x3xi32>, tensor<2x3xi32>) -> ()
    return %3 : tensor<2x3xi32>
  }
  func.func private @inputs() -> (tensor<3xi32>, tensor<2x3xi32>) {
    %c = stablehlo.constant dense<[1, 2, 3]> : tensor<3xi32>
    %d = stablehlo.constant dense<"0x010000000200000003000000FFFFFFFF0500000006000000"> : tensor<2x3xi32>
    return %c, %d : tensor<3xi32>, tensor<2x3xi32>
  }
  func.func private @expected() -> tensor<2x3xi32> {
    %c = stablehlo.constant dense<[[2, 4, 6], [0, 7, LAST]]> : tensor<2x3xi32>
    return %c : tensor<2x3xi32>
  }
}"""  # noqa: E501  # one line each, as such files have it


def _require_equal(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(found, expected)


def test_a_call_without_results_hands_its_operands_to_the_handler() -> None:
    lifted = lift_module(
        _CHECKED.replace("LAST", "9"), custom_calls={"check.expect_eq": _require_equal}
    )
    assert lifted()[0].tolist() == [[2, 4, 6], [0, 7, 9]]


def test_what_a_handler_raises_reaches_the_caller_as_it_is() -> None:
    lifted = lift_module(
        _CHECKED.replace("LAST", "8"), custom_calls={"check.expect_eq": _require_equal}
    )
    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 6"):
        lifted()


def test_each_function_of_a_module_can_be_the_entry() -> None:
    assert lift_module(_CHECKED.replace("LAST", "9"), entry="inputs")()[0].tolist() == [1, 2, 3]


def test_a_custom_call_may_return_its_results_as_one_tuple() -> None:
    lifted = lift_module(
        """func.func @main(%x: tensor<2xf32>) -> (tensor<2xi32>, tensor<2xf32>) {
          %0 = stablehlo.custom_call @pair(%x)
            : (tensor<2xf32>) -> tuple<tensor<2xf32>, tensor<2xi32>>
          %1 = stablehlo.get_tuple_element %0[0]
            : (tuple<tensor<2xf32>, tensor<2xi32>>) -> tensor<2xf32>
          %2 = stablehlo.get_tuple_element %0[1]
            : (tuple<tensor<2xf32>, tensor<2xi32>>) -> tensor<2xi32>
          return %2, %1 : tensor<2xi32>, tensor<2xf32> }""",
        custom_calls={"pair": lambda x: (x + 1, x.astype(jnp.int32))},
    )
    numbers, sums = jax.jit(lifted)(jnp.array([1.5, 2.5]))
    assert (numbers.tolist(), sums.tolist()) == ([1, 2], [2.5, 3.5])


def test_an_older_factorization_returns_a_tuple_and_is_guaranteed() -> None:
    types = "tuple<tensor<2x2xf32>, tensor<2xi32>, tensor<2xi32>>"
    lifted = lift_module(
        f"""func.func @main(%x: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<2xi32>) {{
          %0 = stablehlo.custom_call @LuDecomposition(%x) : (tensor<2x2xf32>) -> {types}
          %1 = stablehlo.get_tuple_element %0[0] : ({types}) -> tensor<2x2xf32>
          %2 = stablehlo.get_tuple_element %0[2] : ({types}) -> tensor<2xi32>
          return %1, %2 : tensor<2x2xf32>, tensor<2xi32> }}"""
    )
    both, permutation = lifted(jnp.array([[1.0, 2.0], [4.0, 4.0]]))
    np.testing.assert_allclose(both, [[4, 4], [0.25, 1]])
    assert permutation.tolist() == [1, 0]


_SIZE_AS_ARGUMENT = """func.func @main(%n: tensor<i64>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %one = stablehlo.constant dense<1.0> : tensor<f32>
  %small = stablehlo.convert %n : (tensor<i64>) -> tensor<i32>
  %rows = stablehlo.reshape %small : (tensor<i32>) -> tensor<1xi32>
  %four = stablehlo.constant dense<4> : tensor<1xi32>
  %shape = stablehlo.concatenate %rows, %four, dim = 0
    : (tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  %ones = stablehlo.dynamic_broadcast_in_dim %one, %shape, dims = []
    : (tensor<f32>, tensor<2xi32>) -> tensor<?x4xf32>
  %sum = stablehlo.add %x, %ones : tensor<?x4xf32>
  return %sum : tensor<?x4xf32> }"""


def test_a_size_that_is_an_argument_counts_where_nothing_is_traced() -> None:
    lifted = lift_module(_SIZE_AS_ARGUMENT)
    assert lifted(3, jnp.zeros((3, 4)))[0].tolist() == [[1.0] * 4] * 3


def test_a_size_that_is_a_traced_argument_is_unsupported() -> None:
    lifted = lift_module(_SIZE_AS_ARGUMENT)
    with pytest.raises(UnsupportedError, match="computed from the values of arrays"):
        jax.jit(lambda x: lifted(3, x))(jnp.zeros((3, 4)))


@pytest.mark.parametrize("element", ["i32", "ui8", "f32"])
def test_the_upper_bound_of_known_numbers_wins_where_the_bounds_cross(element: str) -> None:
    point = ".0" if element == "f32" else ""
    vector, scalar = f"tensor<3x{element}>", f"tensor<{element}>"
    lifted = lift_module(
        f"""func.func @main() -> {vector} {{
          %low = stablehlo.constant dense<5{point}> : {scalar}
          %x = stablehlo.constant dense<[1{point}, 3{point}, 9{point}]> : {vector}
          %high = stablehlo.constant dense<2{point}> : {scalar}
          %y = stablehlo.clamp %low, %x, %high : ({scalar}, {vector}, {scalar}) -> {vector}
          return %y : {vector} }}"""
    )
    assert lifted()[0].tolist() == [2, 2, 2]


def test_a_constant_may_be_one_of_another_dialect() -> None:
    lifted = lift_module(
        """func.func @main() -> (tensor<2xi32>, tensor<2xcomplex<f32>>) {
          %0 = arith.constant dense<[3, 4]> : tensor<2xi32>
          %1 = stablehlo.convert %0 : (tensor<2xi32>) -> tensor<2xcomplex<f32>>
          return %0, %1 : tensor<2xi32>, tensor<2xcomplex<f32>> }"""
    )
    assert [x.tolist() for x in lifted()] == [[3, 4], [3, 4]]


@pytest.mark.parametrize("element", ["i8", "i32", "ui16", "i64"])
def test_random_bits_may_be_signed(
    element: str, run_by_xla: Callable[..., list[np.ndarray]]
) -> None:
    text = f"""func.func @main(%s: tensor<2xui64>) -> (tensor<2xui64>, tensor<5x{element}>) {{
      %0, %1 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY
        : (tensor<2xui64>) -> (tensor<2xui64>, tensor<5x{element}>)
      return %0, %1 : tensor<2xui64>, tensor<5x{element}> }}"""
    state = np.array([3, 4], np.uint64)
    with jax.enable_x64(True):
        found = lift_module(text)(state)
    state_after, bits = run_by_xla(text, state)
    np.testing.assert_array_equal(found[0], state_after)
    # XLA hands signed bits out as unsigned ones, against the type in the module.
    np.testing.assert_array_equal(np.asarray(found[1]).view(bits.dtype), bits)
    assert found[1].dtype.kind == ("u" if element.startswith("u") else "i")
