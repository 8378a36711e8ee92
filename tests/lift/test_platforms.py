"""Modules for several platforms: the choice stays JAX's, or falls away where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

from orbax_model_lite.lift import lift_module
from orbax_model_lite.lift.control.equality import same_blocks
from orbax_model_lite.stablehlo.module import functions, parse

PLATFORMS = ("cpu", "tpu")
X = np.arange(4, dtype=np.float32)


def module_of(function, *arguments):
    export = jax_export.export(jax.jit(function), platforms=PLATFORMS)
    return export(*arguments).mlir_module_serialized


def lifted(function, **options):
    return lift_module(module_of(function, X), platforms=PLATFORMS, **options)


def by_platform(x):
    return jax.lax.platform_dependent(x, cpu=jnp.sin, tpu=jnp.cos)


def equal_by_platform(x):
    return jax.lax.platform_dependent(x, cpu=jnp.sin, tpu=lambda x: jnp.sin(x))  # noqa: PLW0108


def both(x):
    return by_platform(x) + jnp.sum(by_platform(x) * equal_by_platform(x))


@pytest.mark.parametrize("function", [by_platform, equal_by_platform, both])
def test_the_platform_is_chosen_where_the_function_runs(function):
    again = lifted(function)
    np.testing.assert_allclose(again(X)[0], function(X), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(again)(X)[0], function(X), rtol=1e-6)
    expected = jax.grad(lambda x: jnp.sum(function(x)))(X)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(again(x)[0]))(X), expected, rtol=1e-6)


def test_it_is_chosen_again_when_the_function_is_exported_again():
    twice = lift_module(module_of(lifted(by_platform), X), platforms=PLATFORMS, platform="tpu")
    np.testing.assert_allclose(twice(X)[0], np.cos(X), rtol=1e-6)


@pytest.mark.parametrize(("platform", "expected"), [("cpu", np.sin), ("tpu", np.cos)])
def test_a_caller_may_choose_the_platform(platform, expected):
    again = lifted(by_platform, platform=platform)
    np.testing.assert_allclose(again(X)[0], expected(X), rtol=1e-6)
    assert "cond" not in str(jax.make_jaxpr(again)(X))


def test_branches_that_are_equal_are_no_choice():
    assert "cond" not in str(jax.make_jaxpr(lifted(equal_by_platform))(X))


def blocks_of(first, second, more=""):
    """Returns the two blocks of a case, and what finds functions."""
    module = parse(f"""
    func.func @main(%i: tensor<i32>, %x: tensor<2xf32>, %z: tensor<2xf32>) -> tensor<2xf32> {{
      %0 = "stablehlo.case"(%i) ({{
        {first}
        stablehlo.return %y : tensor<2xf32>
      }}, {{
        {second}
        stablehlo.return %y : tensor<2xf32>
      }}) : (tensor<i32>) -> tensor<2xf32>
      return %0 : tensor<2xf32>
    }}
    {more}""")
    found = functions(module)
    case = found["main"].regions[0].blocks[0].operations[0].operation
    return module, [region.blocks[0] for region in case.regions], found.__getitem__


HELPERS = """
func.func private @a(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.sine %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func private @b(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.sine %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}
func.func private @c(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = stablehlo.cosine %x : tensor<2xf32>
  return %0 : tensor<2xf32>
}"""
ADD = "%y = stablehlo.add %x, %z : tensor<2xf32>"


def constant(value):
    return f"%y = stablehlo.constant dense<{value}> : tensor<2xf32>"


def call(name):
    return f"%y = func.call @{name}(%x) : (tensor<2xf32>) -> tensor<2xf32>"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(ADD, ADD, True, id="same operation"),
        pytest.param(ADD, ADD.replace("add", "multiply"), False, id="other operation"),
        pytest.param(ADD, ADD.replace("%x, %z", "%z, %x"), False, id="other order"),
        pytest.param(ADD, f"{ADD.replace('%y', '%w')}\n{ADD}", False, id="other length"),
        pytest.param(constant("1.0"), constant("1.0"), True, id="same constant"),
        pytest.param(constant("1.0"), constant("2.0"), False, id="other constant"),
        pytest.param(call("a"), call("b"), True, id="equal functions"),
        pytest.param(call("a"), call("c"), False, id="other functions"),
    ],
)
def test_blocks_are_equal_if_they_do_the_same(first, second, expected):
    _module, blocks, function = blocks_of(first, second, HELPERS)
    assert same_blocks(*blocks, function) is expected
