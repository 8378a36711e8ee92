"""Derivatives that are stored with a function: converted, saved, loaded and used by jax.grad."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import InvalidModelError, UnsupportedError
from orbax_model_lite.jax2obm import convert

pytestmark = pytest.mark.frameworks

X = np.float32([0.1, 0.2, 0.3])


@pytest.fixture
def loaded(tmp_path):
    """Returns `loaded(function, *specs, order=1, **options)`: converted, saved and loaded."""

    def make(function, *specs, order=1, load_options=None, **options):
        stored = convert(function, specs, platforms=["cpu"], vjp_order=order, **options)
        core.save({"f": stored}, tmp_path / "m")
        return obm.load(tmp_path / "m", **(load_options or {}))

    return make


def mixed(params, x, n):
    return {"a": jnp.sin(x) * params["w"] ** 2 + n, "n": n * 2}


PARAMS = {"w": np.float32([1, 2, 3]), "unused": np.float32([5, 6])}
N = np.int32([1, 2, 3])
MIXED = ({"w": "3", "unused": "2"}, "3", "int32[3]")


def test_without_an_order_nothing_is_stored(loaded):
    model = loaded(jnp.sin, "3", order=0)
    assert list(model.functions) == ["f"]


def test_vjps_are_private_objects_that_name_each_other(loaded):
    objects = loaded(mixed, *MIXED, order=2).bundle.objects
    assert list(objects) == ["f", "f_vjp", "f_vjp_vjp"]
    assert [o.gradient_function_name for o in objects.values()] == ["f_vjp", "f_vjp_vjp", None]
    assert [o.visibility.name for o in objects.values()] == ["PUBLIC", "PRIVATE", "PRIVATE"]


def test_a_vjp_takes_flat_inputs_and_cotangents_as_the_original_wrote_it(loaded):
    vjp = loaded(mixed, *MIXED).bundle.objects["f_vjp"]
    assert str(vjp.signature) == (
        "(float32 [2], float32 [3], float32 [3], int32 [3], float32 [3], float0 [3])"
        " -> (float32 [2], float32 [3], float32 [3], float0 [3])"
    )


def test_the_converted_function_carries_its_vjps_in_memory(bound):
    function = convert(jnp.sin, ("3",), platforms=["cpu"], vjp_order=2)
    assert function.vjp_order == 2
    call = bound(function)
    np.testing.assert_allclose(jax.grad(lambda x: call(x).sum())(X), np.cos(X), rtol=1e-6)


def test_gradients_of_floats_between_integers_and_unused_inputs(loaded):
    call = loaded(mixed, *MIXED).functions["f"]
    found = jax.grad(lambda p, x: call(p, x, N)["a"].sum(), argnums=(0, 1))(PARAMS, X)
    expected = jax.grad(lambda p, x: mixed(p, x, N)["a"].sum(), argnums=(0, 1))(PARAMS, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_the_second_order_is_used_and_the_third_points_to_lift(loaded):
    call = loaded(lambda x: x**3, "3", order=2).functions["f"]

    def gradient(function):
        return jax.grad(lambda x: function(x).sum())

    np.testing.assert_allclose(gradient(call)(X), 3 * X**2, rtol=1e-5)
    np.testing.assert_allclose(gradient(gradient(call))(X), 6 * X, rtol=1e-5)
    with pytest.raises(UnsupportedError, match=r"beyond what was stored.*model\.lift\('f'\)"):
        gradient(gradient(gradient(call)))(X)


def test_without_a_stored_vjp_the_error_names_lift(loaded):
    call = loaded(jnp.sin, "3", order=0).functions["f"]
    with pytest.raises(UnsupportedError, match=r"model\.lift\('f'\).*vjp_order"):
        jax.grad(lambda x: call(x).sum())(X)


def test_a_symbolic_batch_stays_symbolic(loaded):
    model = loaded(lambda w, x: jnp.tanh(x @ w), "4, 2", "b, 4", order=2)
    assert str(model.bundle.objects["f_vjp"].signature.inputs[0][2]) == "float32 [b, 2]"
    w = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    for batch in (1, 5):
        x = np.ones((batch, 4), np.float32)
        found = jax.grad(lambda w, x=x: model.functions["f"](w, x).sum())(w)
        expected = jax.grad(lambda w, x=x: jnp.tanh(x @ w).sum())(w)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_constraints_on_symbols_hold_for_the_vjp_too(loaded):
    model = loaded(lambda x: x[2:] ** 2, "b", constraints=["b >= 2"])
    found = jax.grad(lambda x: model.functions["f"](x).sum())(np.ones(4, np.float32))
    assert list(found) == [0, 0, 2, 2]


def noisy(key, x):
    first, second = jax.random.split(key)
    return x * jax.random.normal(first, x.shape), second


@pytest.mark.parametrize("shape", ["4", "b"])
def test_keys_among_inputs_and_outputs_have_no_gradient(loaded, shape):
    key = jax.random.key(3)
    call = loaded(noisy, key, shape, order=2).functions["f"]
    found = jax.grad(lambda x: call(key, x)[0].sum())(np.ones(4, np.float32))
    np.testing.assert_allclose(found, noisy(key, np.ones(4, np.float32))[0], rtol=1e-6)


def test_batches_of_keys_that_come_out_have_cotangents_of_their_own_shape(loaded):
    keys = jax.random.split(jax.random.key(0), 3)
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n"), keys.dtype)
    call = loaded(lambda k, x: (k, x**2), spec, "n").functions["f"]
    assert list(jax.grad(lambda x: call(keys, x)[1].sum())(np.ones(3, np.float32))) == [2, 2, 2]


def test_the_author_s_rule_is_the_stored_derivative(loaded):
    @jax.custom_vjp
    def straight_through(x):
        return jnp.round(x)

    straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, g: (g,))
    call = loaded(straight_through, "3").functions["f"]
    assert list(jax.grad(lambda x: call(x).sum())(X)) == [1, 1, 1]


def test_64_bits_are_kept(loaded):
    call = loaded(lambda x: x**2, "float64[3]", order=2).functions["f"]
    with jax.enable_x64(True):
        found = jax.grad(lambda x: call(x).sum())(X.astype(np.float64))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 2 * X.astype(np.float64))


def test_complex_gradients_are_those_of_the_original(loaded):
    z = np.complex64([1 + 2j, 3 - 1j])
    call = loaded(lambda z: jnp.abs(z) ** 2, "complex64[2]").functions["f"]
    found = jax.grad(lambda z: call(z).sum())(z)
    np.testing.assert_allclose(found, jax.grad(lambda z: (jnp.abs(z) ** 2).sum())(z), rtol=1e-6)


def sharded_specs():
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"))

    def place(shape, *spec):
        sharding = NamedSharding(mesh, P(*spec))
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)

    return place((8, 16), None, "y"), place((8, 8), "x")


@pytest.mark.parametrize("count", [1, 4, 8])
def test_derivatives_of_a_sharded_function_run_on_any_number_of_devices(loaded, count):
    def function(w, x):
        return jnp.tanh(x @ w)

    options = {"devices": jax.devices()[:count]}
    call = loaded(function, *sharded_specs(), order=2, load_options=options).functions["f"]
    w, x = np.linspace(-1, 1, 128, dtype=np.float32).reshape(8, 16), np.eye(8, dtype=np.float32)

    def penalty(f):
        return lambda w: (jax.grad(lambda w: f(w, x).sum())(w) ** 2).sum()

    found = jax.jit(jax.grad(penalty(call)))(w)
    np.testing.assert_allclose(found, jax.grad(penalty(function))(w), rtol=1e-4, atol=1e-6)
    assert len(found.sharding.device_set) == count


def test_the_cotangent_of_an_input_is_split_like_the_input():
    vjp = convert(lambda w, x: x @ w, sharded_specs(), platforms=["cpu"], vjp_order=1).vjp
    inputs, outputs = vjp.signature.input_leaves, vjp.signature.output_leaves
    assert [leaf.sharding for leaf in outputs] == [leaf.sharding for leaf in inputs[:2]]
    assert outputs[0].dtype is DType.FLOAT32


def test_a_function_without_reverse_mode_is_refused_with_the_reason():
    def loop(x):
        return jax.lax.while_loop(lambda v: v[0] < 3, lambda v: v * 2, x)

    with pytest.raises(InvalidModelError, match=r"reverse.*while_loop.*without vjp_order"):
        convert(loop, ("3",), platforms=["cpu"], vjp_order=1)


def test_a_negative_order_is_refused():
    with pytest.raises(ValueError, match="vjp_order: expected 0 or more; found -1"):
        convert(jnp.sin, ("3",), platforms=["cpu"], vjp_order=-1)


def test_a_name_that_is_taken_is_not_used_for_a_vjp(tmp_path):
    function = convert(jnp.sin, ("3",), platforms=["cpu"], vjp_order=1)
    other = convert(jnp.cos, ("3",), platforms=["cpu"])
    core.save({"f": function, "f_vjp": other}, tmp_path / "m")
    model = obm.load(tmp_path / "m")
    assert list(model.functions) == ["f", "f_vjp", "f_vjp_1"]
    assert model.bundle.objects["f"].gradient_function_name == "f_vjp_1"
    np.testing.assert_allclose(model.functions["f_vjp"](X), np.cos(X), rtol=1e-6)


def test_the_name_that_the_author_gives_is_used(tmp_path):
    function = convert(
        jnp.sin, ("3",), platforms=["cpu"], vjp_order=1, gradient_function_name="slope"
    )
    core.save({"f": function}, tmp_path / "m")
    assert list(obm.load(tmp_path / "m").functions) == ["f", "slope"]


def test_pack_stores_vjps_of_the_model_and_not_of_processors(tmp_path):
    obm.pack(
        tmp_path / "m", lambda w, x: jnp.sin(w * x), jnp.float32(2), "b", platforms=["cpu"],
        postprocess=lambda y: {"best": y.argmax()}, vjp_order=1, specializations=[{"b": 3}],
    )  # fmt: skip
    model = obm.load(tmp_path / "m")
    names = [name for name in model.functions if "vjp" in name]
    assert names == ["serving_default_0_vjp", "serving_default_1_vjp"]
    call = model.functions["serving_default"]
    for x in (X, X[:2]):
        found = jax.grad(lambda w, x=x: call(w, x).sum())(np.float32(2))
        np.testing.assert_allclose(found, (x * np.cos(2 * x)).sum(), rtol=1e-5)
