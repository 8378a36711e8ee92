"""Branches and loops: what is known while tracing is decided then, the rest as StableHLO says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from jax.export import symbolic_shape

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module

BRANCHES = """
func.func @main(%i: tensor<i32>, %x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = "stablehlo.case"(%i) ({
    %y = stablehlo.add %x, %x : tensor<2xf32>
    stablehlo.return %y : tensor<2xf32>
  }, {
    stablehlo.return %x : tensor<2xf32>
  }, {
    %y = stablehlo.negate %x : tensor<2xf32>
    stablehlo.return %y : tensor<2xf32>
  }) : (tensor<i32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}"""

TWO_BRANCHES = """
func.func @main(%i: tensor<i32>, %x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = "stablehlo.case"(%i) ({
    %y = stablehlo.add %x, %x : tensor<2xf32>
    stablehlo.return %y : tensor<2xf32>
  }, {
    %y = stablehlo.negate %x : tensor<2xf32>
    stablehlo.return %y : tensor<2xf32>
  }) : (tensor<i32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}"""

CONDITION = """
func.func @main(%p: tensor<i1>, %x: tensor<2xf32>) -> (tensor<2xf32>, tensor<f32>) {
  %c = stablehlo.constant dense<3.0> : tensor<f32>
  %0:2 = "stablehlo.if"(%p) ({
    %y = stablehlo.add %x, %x : tensor<2xf32>
    stablehlo.return %y, %c : tensor<2xf32>, tensor<f32>
  }, {
    %d = stablehlo.constant dense<4.0> : tensor<f32>
    stablehlo.return %x, %d : tensor<2xf32>, tensor<f32>
  }) : (tensor<i1>) -> (tensor<2xf32>, tensor<f32>)
  return %0#0, %0#1 : tensor<2xf32>, tensor<f32>
}"""

LOOP = """
func.func @main(%x: tensor<3xf32>, %start: tensor<{type}>) -> (tensor<{type}>, tensor<3xf32>) {{
  %first = stablehlo.constant dense<{first}> : tensor<{type}>
  %step = stablehlo.constant dense<{step}> : tensor<{type}>
  %bound = stablehlo.constant dense<{bound}> : tensor<{type}>
  %0:2 = stablehlo.while(%i = %first, %y = %x) : tensor<{type}>, tensor<3xf32>
  cond {{
    %1 = stablehlo.compare {direction}, {sides} : (tensor<{type}>, tensor<{type}>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    %1 = stablehlo.{operation} %i, %step : tensor<{type}>
    %2 = stablehlo.convert %i : (tensor<{type}>) -> tensor<f32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<3xf32>
    %4 = stablehlo.multiply %y, %x : tensor<3xf32>
    %5 = stablehlo.add %4, %3 : tensor<3xf32>
    stablehlo.return %1, %5 : tensor<{type}>, tensor<3xf32>
  }}
  return %0#0, %0#1 : tensor<{type}>, tensor<3xf32>
}}"""

X = np.array([0.5, -1.5], np.float32)


def has(function, primitive, *arguments):
    return f"{primitive}[" in str(jax.make_jaxpr(function)(*arguments))


def test_an_index_beyond_the_branches_takes_the_last_one():
    lifted = jax.jit(lift_module(BRANCHES))
    wanted = {0: 2 * X, 1: X, 2: -X, 3: -X, 1000: -X, -1: -X, -(2**31): -X}
    for index, expected in wanted.items():
        np.testing.assert_array_equal(lifted(np.int32(index), X)[0], expected)


def test_an_index_beyond_two_branches_takes_the_last_one():
    lifted = jax.jit(lift_module(TWO_BRANCHES))
    for index, expected in {0: 2 * X, 1: -X, 2: -X, -1: -X}.items():
        np.testing.assert_array_equal(lifted(np.int32(index), X)[0], expected)


def test_a_condition_takes_one_of_its_branches():
    lifted = jax.jit(lift_module(CONDITION))
    for predicate, expected in {True: (2 * X, 3.0), False: (X, 4.0)}.items():
        for x, y in zip(lifted(np.bool_(predicate), X), expected, strict=True):
            np.testing.assert_array_equal(x, y)


def test_branches_have_gradients_and_batches():
    lifted = lift_module(BRANCHES)

    def loss(x, i):
        return jnp.sum(lifted(i, x)[0] ** 2)

    np.testing.assert_allclose(jax.grad(loss)(X, jnp.int32(0)), 8 * X)
    rows = jax.vmap(lambda i: lifted(i, X)[0])(jnp.arange(-1, 4))
    np.testing.assert_array_equal(rows, np.stack([-X, 2 * X, X, -X, -X]))


def test_a_known_index_leaves_no_trace_of_the_other_branches():
    text = BRANCHES.replace("%i: tensor<i32>, ", "").replace(
        "  %0 =", "  %i = stablehlo.constant dense<7> : tensor<i32>\n  %0 =", 1
    )
    lifted = lift_module(text)
    np.testing.assert_array_equal(lifted(X)[0], -X)
    assert not has(lifted, "cond", X)


def test_a_comparison_of_symbolic_sizes_that_cannot_be_decided_is_left_to_the_run():
    def function(x, y):
        is_longer = jnp.asarray(x.shape[0]) > jnp.asarray(y.shape[0])
        return jax.lax.cond(is_longer, lambda: x[0], lambda: y[0])

    n, m = symbolic_shape("n, m")
    specs = [jax.ShapeDtypeStruct((size,), "float32") for size in (n, m)]
    module = jax_export.export(jax.jit(function))(*specs).mlir_module_serialized
    again = jax_export.export(jax.jit(lift_module(module)))(*specs)
    for longer, shorter in ((3, 2), (2, 3)):
        x, y = np.ones(longer, np.float32), np.zeros(shorter, np.float32)
        assert again.call(x, y)[0] == function(x, y)


@pytest.mark.parametrize(
    ("direction", "first", "step", "bound", "expected"),
    [
        ("LT", 0, 1, 4, [0, 1, 2, 3]),
        ("LE", 0, 1, 4, [0, 1, 2, 3, 4]),
        ("NE", 0, 1, 4, [0, 1, 2, 3]),
        ("GT", 4, -1, 0, [4, 3, 2, 1]),
        ("GE", 4, -1, 0, [4, 3, 2, 1, 0]),
        ("LT", 1, 3, 8, [1, 4, 7]),
        ("LE", 1, 3, 7, [1, 4, 7]),
        ("GE", 9, -4, -1, [9, 5, 1]),
        ("NE", 9, -3, 0, [9, 6, 3]),
        ("LT", 5, 1, 5, []),
        ("LT", 9, 1, 5, []),
        ("LT", -3, 2, 2, [-3, -1, 1]),
        ("NE", 2, 1, 2, []),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["counter first", "bound first"])
def test_a_loop_runs_as_often_as_its_condition_says(
    direction, first, step, bound, expected, turned
):
    other = {"LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE", "NE": "NE"}
    text = LOOP.format(
        type="i32",
        direction=other[direction] if turned else direction,
        sides="%bound, %i" if turned else "%i, %bound",
        operation="add",
        first=first,
        step=step,
        bound=bound,
    )
    lifted = lift_module(text)
    x = np.array([0.5, 1, 2], np.float32)
    wanted = x
    for number in expected:
        wanted = wanted * x + number
    end, found = lifted(x, np.int32(0))
    np.testing.assert_allclose(found, wanted)
    assert end == (expected[-1] + step if expected else first)
    assert has(lifted, "scan", x, np.int32(0))


@pytest.mark.parametrize(
    ("type_", "direction", "first", "step", "bound"),
    [
        pytest.param("i8", "LE", 120, 3, 126, id="the counter wraps around"),
        pytest.param("ui8", "GE", 3, 255, 250, id="the step is a negative number in disguise"),
        pytest.param("i32", "NE", 1, 3, 2, id="the bound is jumped over"),
    ],
)
def test_a_loop_that_only_wraps_around_to_its_end_stays_a_loop(
    type_, direction, first, step, bound
):
    text = LOOP.format(
        type=type_,
        direction=direction,
        sides="%i, %bound",
        operation="add",
        first=first,
        step=step,
        bound=bound,
    )
    arguments = np.ones(3, np.float32), np.zeros((), lift_module(text).inputs[1].dtype)
    assert has(lift_module(text), "while", *arguments)


def test_a_loop_counts_down_by_subtraction():
    text = LOOP.format(
        type="i32",
        direction="GT",
        sides="%i, %bound",
        operation="subtract",
        first=3,
        step=1,
        bound=0,
    )
    lifted, x = lift_module(text), np.array([1, 2, 3], np.float32)
    np.testing.assert_allclose(lifted(x, np.int32(0))[1], ((x * x + 3) * x + 2) * x + 1)


def newton(x):
    def goes_on(state):
        y, last = state
        return jnp.max(jnp.abs(y - last)) > 1e-6

    def step(state):
        y, _ = state
        return 0.5 * (y + x / y), y

    return jax.lax.while_loop(goes_on, step, (x, x + 1))[0]


def lifted_newton():
    spec = jax.ShapeDtypeStruct((3,), "float32")
    return lift_module(jax_export.export(jax.jit(newton))(spec).mlir_module_serialized)


def test_a_loop_with_a_computed_condition_has_forward_derivatives_of_any_order():
    lifted, x = lifted_newton(), jnp.array([1.0, 2, 3])
    np.testing.assert_allclose(lifted(x)[0], jnp.sqrt(x), rtol=1e-6)
    np.testing.assert_allclose(jnp.diag(jax.jacfwd(lifted)(x)[0]), 0.5 / jnp.sqrt(x), rtol=1e-5)
    second = jax.jacfwd(jax.jacfwd(lambda v: lifted(v)[0]))(x)
    np.testing.assert_allclose(second, jax.jacfwd(jax.jacfwd(newton))(x), rtol=1e-4)
    rows = jax.vmap(lambda v: lifted(v)[0])(jnp.stack([x, x + 1]))
    np.testing.assert_allclose(rows, jnp.sqrt(jnp.stack([x, x + 1])), rtol=1e-6)


def test_its_gradient_says_that_only_forward_mode_works():
    lifted = jax.jit(lifted_newton())
    with pytest.raises(UnsupportedError, match=r"computed condition.*forward mode"):
        jax.grad(lambda x: jnp.sum(lifted(x)[0]))(jnp.ones(3))


def test_what_such_a_loop_does_not_change_stays_known():
    def function(x):
        def step(state):
            total, rest = state
            return total + jnp.sum(jnp.broadcast_to(rest[:1], (x.shape[0], 2))), rest[::-1] * 0.5

        return jax.lax.while_loop(lambda s: s[0] < 10, step, (jnp.float32(0), x))

    (n,) = symbolic_shape("n")
    spec = jax.ShapeDtypeStruct((n,), "float32")
    module = jax_export.export(jax.jit(function))(spec).mlir_module_serialized
    again = jax_export.export(jax.jit(lift_module(module)))(spec)
    x = np.arange(1.0, 4, dtype=np.float32)
    for expected, found in zip(function(x), again.call(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
