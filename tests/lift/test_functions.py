"""Lifted functions under the transformations of JAX, with the trees and names of the original."""

from __future__ import annotations

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from orbax_model_lite import jax2obm, lift
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
)

pytestmark = pytest.mark.frameworks

RNG = np.random.default_rng(0)
PARAMS = {
    "layers": [
        {"w": RNG.normal(size=(4, 4)).astype(np.float32), "b": np.zeros(4, np.float32)},
        {"w": RNG.normal(size=(4, 4)).astype(np.float32), "b": np.ones(4, np.float32)},
    ]
}
X = RNG.normal(size=(3, 4)).astype(np.float32)


def net(params, x):
    for layer in params["layers"]:
        x = jnp.sin(x @ layer["w"] + layer["b"])
    return {"out": x, "norm": jnp.sqrt((x**2).sum(-1) + 1)}


def loss(function):
    return lambda params, x: (function(params, x)["norm"] ** 2).sum()


def close(found, expected, rtol=1e-5):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5)


@pytest.fixture(scope="module")
def stored():
    return jax2obm.convert(net, (PARAMS, "b, 4"))


@pytest.fixture(scope="module")
def lifted(stored):
    return lift.lift_function(stored)


TRANSFORMED = {
    "jit": lambda f: jax.jit(f)(PARAMS, X),
    "eager": lambda f: f(PARAMS, X),
    "grad": lambda f: jax.grad(loss(f))(PARAMS, X),
    "second order": lambda f: jax.jacfwd(jax.grad(loss(f), argnums=1), argnums=1)(PARAMS, X),
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(loss(f), argnums=1), argnums=1)(
        PARAMS, X
    ),
    "jvp": lambda f: jax.jvp(lambda x: f(PARAMS, x), (X,), (2 * X,)),
    "vjp": lambda f: jax.vjp(lambda x: f(PARAMS, x)["out"], X)[1](X),
    "vmap": lambda f: jax.vmap(f, (None, 0))(PARAMS, jnp.stack([X, -X])),
    "vmap of grad": lambda f: jax.vmap(jax.grad(loss(f)), (None, 0))(PARAMS, jnp.stack([X, -X])),
    "scan": lambda f: jax.lax.scan(lambda x, _: (f(PARAMS, x)["out"], x), X, length=3),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(loss(f)))(PARAMS, X),
}


@pytest.mark.parametrize("transformed", TRANSFORMED.values(), ids=TRANSFORMED)
def test_a_transformation_gives_what_it_gives_for_the_original(lifted, transformed):
    close(transformed(lifted), transformed(net))


def test_the_jaxpr_is_made_of_jax_operations_only(lifted):
    primitives = {str(e.primitive) for e in jax.make_jaxpr(lifted)(PARAMS, X).eqns}
    assert not primitives & {"call_exported", "pure_callback", "custom_call"}


def test_the_python_signature_is_the_authors(stored):
    named = jax2obm.convert(lambda params, x, *, scale: x * scale, (PARAMS, X), {"scale": X[0]})
    found = inspect.signature(lift.lift_function(named))
    assert str(found) == "(params, x, *, scale)"
    assert list(inspect.signature(lift.lift_function(stored)).parameters) == ["params", "x"]


def test_arguments_may_be_given_by_name(lifted):
    close(lifted(params=PARAMS, x=X), net(PARAMS, X))


def test_python_numbers_take_the_type_of_the_signature():
    stored = jax2obm.convert(lambda x, n: x * n, (jnp.ones(2), jnp.int32(1)), platforms=["cpu"])
    with pytest.raises(SignatureMismatchError, match="input 'n'"):
        lift.lift_function(stored)(np.ones(2, np.float32), 1.5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.astype(np.float64), r"input 'x': expected float32 \[b, 4\], found float64"),
        (X[:, :2], r"found float32 \[3, 2\]"),
        (X[0], "pass an array of that rank"),
    ],
    ids=["dtype", "size", "rank"],
)
def test_arguments_that_do_not_fit_are_named(lifted, x, message):
    with pytest.raises(SignatureMismatchError, match=message):
        lifted(PARAMS, x)


def test_symbolic_sizes_stay_symbolic_when_it_is_exported_again(lifted):
    (b,) = export.symbolic_shape("n")
    args = (jax.tree.map(jnp.asarray, PARAMS), jax.ShapeDtypeStruct((b, 4), np.float32))
    again = export.export(jax.jit(lifted))(*args)
    assert str(again.out_avals[0].shape) == "(n,)"
    close(again.call(PARAMS, X[:2]), net(PARAMS, X[:2]))


def test_it_is_converted_and_lifted_again(lifted):
    again = jax2obm.convert(lifted, (PARAMS, "n, 4"))
    assert again.platforms == ("cpu", "cuda", "tpu")
    close(lift.lift_function(again)(PARAMS, X), net(PARAMS, X))


def test_the_number_of_devices_is_free(fresh_python):
    code = """
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec as P
    from orbax_model_lite import jax2obm, lift
    lifted = lift.lift_function(jax2obm.convert(lambda w, x: x @ w, ("4, 4", "b, 4")))
    mesh = jax.make_mesh((4,), ("data",))
    x = jax.device_put(np.ones((8, 4), np.float32), NamedSharding(mesh, P("data")))
    y = jax.jit(lifted)(np.eye(4, dtype=np.float32), x)
    print(len(y.sharding.device_set), float(y.sum()))
    """
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    assert fresh_python(code, env=flags).split() == ["4", "32.0"]


def test_typed_keys_and_wide_types_come_through():
    def draw(key, x):
        return jax.random.uniform(key, (2,)), x + 1

    with jax.enable_x64(True):
        args = (jax.random.key(3), np.arange(3.0))
        stored = jax2obm.convert(draw, args, platforms=["cpu"])
        expected = draw(*args)
    found = lift.lift_function(stored)(*args)
    assert found[1].dtype == np.float64
    close(tuple(found), expected)


def test_unused_arguments_are_still_arguments():
    stored = jax2obm.convert(lambda a, unused, b: a - b, (X, X, X), platforms=["cpu"])
    close(lift.lift_function(stored)(X, 7 * X, X / 2), jnp.asarray(X / 2))


def test_the_variant_of_one_platform_can_be_chosen(stored):
    close(lift.lift_function(stored, platform="cpu")(PARAMS, X), net(PARAMS, X))
    with pytest.raises(UnknownNameError, match="platform 'gpu'"):
        lift.lift_function(stored, platform="gpu")


def test_coverage_is_told_without_a_run(stored):
    found = lift.coverage(stored)
    assert found.is_complete
    assert found.fraction == 1
    assert found.operations["stablehlo.sine"] == 2
    assert "operations can be lifted" in str(found)


MISSING = """
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %y = stablehlo.custom_call @one(%x) : (tensor<2xf32>) -> tensor<2xf32>
  %z = stablehlo.custom_call @two(%y) : (tensor<2xf32>) -> tensor<2xf32>
  %w = stablehlo.custom_call @two(%z) : (tensor<2xf32>) -> tensor<2xf32>
  return %w : tensor<2xf32>
}"""


def test_all_operations_that_cannot_be_lifted_are_named_at_once():
    with pytest.raises(UnsupportedError, match=r"@one.*@two.*1 more place"):
        lift.lift_module(MISSING)


def test_handlers_of_custom_calls_take_the_operands():
    lifted = lift.lift_module(MISSING, custom_calls={"one": jnp.negative, "two": lambda x: x + 1})
    np.testing.assert_array_equal(lifted(X[0, :2])[0], 2 - X[0, :2])


@pytest.mark.parametrize("damaged", [b"", b"ML\xefR", b"garbage", "func.func @main("])
def test_what_is_no_module_is_refused(damaged):
    with pytest.raises(InvalidBundleError, match="expected"):
        lift.lift_module(damaged)


def test_a_module_may_be_called_under_numpy_lists_and_tracers():
    text = """func.func @main(%x: tensor<2xf32>, %n: tensor<i32>) -> (tensor<2xf32>, tensor<i32>) {
      %y = stablehlo.add %x, %x : tensor<2xf32>
      return %y, %n : tensor<2xf32>, tensor<i32>
    }"""
    module = lift.lift_module(text)
    assert [str(t) for t in module.inputs] == ["float32[2]", "int32[]"]
    for call in (module, jax.jit(module)):
        y, n = call(np.array([1, 2], np.float32), np.int32(7))
        np.testing.assert_array_equal(y, [2, 4])
        assert int(n) == 7
    np.testing.assert_array_equal(module([1, 2], 7)[0], [2, 4])
    with pytest.raises(SignatureMismatchError, match="expected 2 arguments; found 1"):
        module(np.ones(2, np.float32))
    with pytest.raises(SignatureMismatchError, match=r"argument 0: expected float32\[2\]"):
        module(np.ones(3, np.float32), np.int32(7))


def _without_marks(stored):
    """Returns a function as another writer would have left it."""
    return dataclasses.replace(stored, supplementals={})


def test_an_unmarked_function_says_once_that_its_derivative_is_the_programs():
    stored = jax2obm.convert(lambda x: (jax.lax.stop_gradient(x) * x).sum(), (X,))
    lifted = lift.lift_function(_without_marks(stored), name="product")
    close(lifted(X), (X * X).sum())
    with pytest.warns(UserWarning, match="function 'product': expected marks"):
        jax.grad(lifted)(X)
    close(jax.grad(lifted)(X), X)


def test_the_derivative_of_the_program_can_be_asked_for():
    stored = jax2obm.convert(lambda x: (jax.lax.stop_gradient(x) * x).sum(), (X,))
    close(jax.grad(lift.lift_function(stored))(X), jnp.asarray(X))
    for function in (stored, _without_marks(stored)):
        lifted = lift.lift_function(function, derivative="program")
        close(jax.grad(lifted)(X), jnp.asarray(2 * X))


def test_however_many_kinds_of_operations_cannot_be_lifted_each_is_named():
    calls = "\n".join(
        f"%y{i + 1} = stablehlo.custom_call @t{i}(%y{i}) : (tensor<f32>) -> tensor<f32>"
        for i in range(20)
    )
    text = (
        f"func.func @main(%y0: tensor<f32>) -> tensor<f32> {{\n{calls}\nreturn %y20 : tensor<f32>}}"
    )
    with pytest.raises(UnsupportedError) as caught:
        lift.lift_module(text)
    assert all(f"@t{i} " in str(caught.value) for i in range(20))
