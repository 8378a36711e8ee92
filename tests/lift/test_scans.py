"""`chlo.scan` against sums and maxima that NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.lift import LiftedModule, lift_module

_SUM = """
  ^bb0(%row: tensor<2xf32>, %sum: tensor<2xf32>):
    %new = stablehlo.add %sum, %row : tensor<2xf32>
    stablehlo.return %new, %new : tensor<2xf32>, tensor<2xf32>
"""


def _running_sum(attributes: str = "") -> LiftedModule:
    types = "(tensor<2x3xf32>, tensor<2xf32>) -> (tensor<2x3xf32>, tensor<2xf32>)"
    return lift_module(
        f"""func.func @main(%x: tensor<2x3xf32>, %s: tensor<2xf32>)
            -> (tensor<2x3xf32>, tensor<2xf32>) {{
          %0:2 = chlo.scan(%x) inits(%s) dimension=1 {attributes} {{ {_SUM} }} : {types}
          return %0#0, %0#1 : tensor<2x3xf32>, tensor<2xf32> }}"""
    )


def test_a_scan_runs_along_its_dimension() -> None:
    x, start = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([10, 20], np.float32)
    sums, last = _running_sum()(x, start)
    np.testing.assert_array_equal(sums, x.cumsum(1) + start[:, None])
    np.testing.assert_array_equal(last, x.sum(1) + start)


def test_a_scan_in_reverse_begins_at_the_end() -> None:
    x, start = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, np.float32)
    sums, last = _running_sum("attributes {is_reverse = true}")(x, start)
    np.testing.assert_array_equal(sums, x[:, ::-1].cumsum(1)[:, ::-1])
    np.testing.assert_array_equal(last, x.sum(1))


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap])
def test_a_scan_can_be_transformed(transform: Callable[..., Any]) -> None:
    x, start = jnp.arange(12.0).reshape(2, 2, 3), jnp.ones((2, 2))
    lifted = _running_sum()
    given = (x, start) if transform is jax.vmap else (x[0], start[0])
    wanted = x.cumsum(2) + 1
    found = transform(lifted)(*given)[0]
    np.testing.assert_array_equal(found, wanted if transform is jax.vmap else wanted[0])


def test_a_scan_has_a_gradient() -> None:
    gradient = jax.grad(lambda x, s: _running_sum()(x, s)[0].sum())(jnp.ones((2, 3)), jnp.ones(2))
    np.testing.assert_array_equal(gradient, [[3, 2, 1], [3, 2, 1]])


def test_a_scan_carries_several_values_at_once() -> None:
    lifted = lift_module(
        """func.func @main(%x: tensor<5xi32>)
            -> (tensor<5xi32>, tensor<5xi32>, tensor<i32>, tensor<i32>) {
          %i = stablehlo.iota dim = 0 : tensor<5xi32>
          %zero = stablehlo.constant dense<0> : tensor<i32>
          %least = stablehlo.constant dense<-100> : tensor<i32>
          %0:4 = chlo.scan(%x, %i) inits(%least, %zero) dimension=0 {
          ^bb0(%v: tensor<i32>, %k: tensor<i32>, %best: tensor<i32>, %at: tensor<i32>):
            %limit = stablehlo.constant dense<7> : tensor<i32>
            %w = stablehlo.minimum %v, %limit : tensor<i32>
            %gt = stablehlo.compare GT, %w, %best : (tensor<i32>, tensor<i32>) -> tensor<i1>
            %b = stablehlo.select %gt, %w, %best : tensor<i1>, tensor<i32>
            %a = stablehlo.select %gt, %k, %at : tensor<i1>, tensor<i32>
            stablehlo.return %b, %a, %b, %a : tensor<i32>, tensor<i32>, tensor<i32>, tensor<i32>
          } : (tensor<5xi32>, tensor<5xi32>, tensor<i32>, tensor<i32>)
            -> (tensor<5xi32>, tensor<5xi32>, tensor<i32>, tensor<i32>)
          return %0#0, %0#1, %0#2, %0#3
            : tensor<5xi32>, tensor<5xi32>, tensor<i32>, tensor<i32> }"""
    )
    best, at, last, last_at = lifted([3, 1, 4, 9, 5])
    assert [best.tolist(), at.tolist()] == [[3, 3, 4, 7, 7], [0, 0, 2, 3, 3]]
    assert (last.item(), last_at.item()) == (7, 3)


def test_a_scan_without_inputs_is_told_its_length() -> None:
    lifted = lift_module(
        """func.func @main(%s: tensor<f32>) -> (tensor<4xf32>, tensor<f32>) {
          %0:2 = "chlo.scan"(%s) <{dimension = 0 : i64, scan_dim_size = 4 : i64,
              operandSegmentSizes = array<i32: 0, 1>, resultSegmentSizes = array<i32: 1, 1>}> ({
          ^bb0(%c: tensor<f32>):
            %d = stablehlo.add %c, %c : tensor<f32>
            stablehlo.return %c, %d : tensor<f32>, tensor<f32>
          }) : (tensor<f32>) -> (tensor<4xf32>, tensor<f32>)
          return %0#0, %0#1 : tensor<4xf32>, tensor<f32> }"""
    )
    powers, last = lifted(1.0)
    assert (powers.tolist(), last.item()) == ([1, 2, 4, 8], 16)
