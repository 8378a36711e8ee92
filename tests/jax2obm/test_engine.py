"""Stored functions, called."""

from __future__ import annotations

import collections
import dataclasses
import threading
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import (
    InvalidBundleError,
    UnknownNameError,
    UnsupportedError,
)
from orbax_model_lite.jax2obm import JaxEngine, convert
from orbax_model_lite.jax2obm import bound as bound_module

pytestmark = pytest.mark.frameworks

P = PartitionSpec
W = np.arange(12, dtype=np.float32).reshape(3, 4) / 10
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Point(NamedTuple):
    x: Any
    y: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    kernel: Any
    bias: Any


def affine(params, x):
    return jnp.tanh(x @ params["w"]) + params["b"]


PARAMS = {"w": W, "b": np.ones(4, np.float32)}


# ----------------------------------------------------------------------------------- values


@pytest.mark.parametrize("platforms", [["cpu"], ["cpu", "cuda", "tpu"]], ids=["one", "three"])
@pytest.mark.parametrize("batch", ["2", "b"])
def test_a_stored_function_gives_what_the_original_gives(converted, platforms, batch):
    call = converted(affine, PARAMS, f"{batch}, 3", platforms=platforms)
    np.testing.assert_allclose(call(PARAMS, X), jax.jit(affine)(PARAMS, X), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_symbolic_dimension_takes_every_size(converted, size):
    call = converted(lambda x: (x.sum(0), jnp.concatenate([x, x])), "b, 3")
    total, twice = call(np.ones((size, 3), np.float32))
    assert (total[0], twice.shape) == (size, (2 * size, 3))


def test_the_authors_objects_are_taken_as_well_as_plain_trees(converted):
    def function(state, point, table):
        return state.kernel * point.x + table[10] - point.y

    spec = jax.ShapeDtypeStruct((), np.float32)
    call = converted(function, State(spec, spec), Point(spec, spec), {10: spec, 9: spec})
    one, two, three = np.float32([1, 2, 3])
    expected = 1 * 2 + 10 - 3
    table = {10: np.float32(10), 9: two}
    assert call(State(one, two), Point(two, three), table) == expected
    plain = {"10": np.float32(10), "9": two}
    assert call({"kernel": one, "bias": two}, (two, three), plain) == expected


def test_an_ordered_dict_in_another_order_is_the_same_dict(converted):
    tree = collections.OrderedDict(b=np.float32(2), a=np.float32(1))
    call = converted(lambda t: t["a"] - t["b"], tree)
    assert call(tree) == call({"a": np.float32(1), "b": np.float32(2)}) == -1


def test_outputs_are_plain_trees(converted):
    call = converted(lambda x: State(Point(x, None), {1: [x, ()]}), "2")
    found = call(np.ones(2, np.float32))
    assert type(found) is dict
    assert type(found["kernel"]) is tuple
    assert found["kernel"][1] is None
    assert found["bias"]["1"][1] == ()


def test_keyword_arguments_are_taken_by_name(converted):
    call = converted(lambda x, *, scale: x * scale, "2", kwargs={"scale": "float32[]"})
    assert list(call(np.ones(2, np.float32), scale=np.float32(3))) == [3, 3]


def test_positional_arguments_are_taken_by_name_too(converted):
    call = converted(lambda a, b: a - b, "2", "2")
    one, two = np.float32([1, 1]), np.float32([2, 2])
    assert list(call(one, b=two)) == list(call(a=one, b=two)) == [-1, -1]


def test_a_static_argument_is_as_it_was_fixed(converted):
    call = converted(
        lambda x, mode: x * 2 if mode == "double" else x, "2", "double", static_argnames="mode"
    )
    assert list(call(np.ones(2, np.float32))) == [2, 2]


def test_unused_inputs_are_taken_and_dropped(converted):
    call = converted(lambda x, unused, y: x + y, "2", "5", "2")
    assert list(call(np.ones(2, np.float32), np.ones(5, np.float32), np.ones(2, np.float32))) == [
        2,
        2,
    ]


def test_functions_without_inputs_or_outputs_run(converted):
    assert list(converted(lambda: jnp.arange(3))()) == [0, 1, 2]
    assert converted(lambda x: None, "2")(np.ones(2, np.float32)) is None
    assert converted(lambda x: {}, "2")(np.ones(2, np.float32)) == {}


@pytest.mark.parametrize(
    "dtype",
    [d for d in DType if d not in {DType.STRING, DType.UNSPECIFIED, DType.FLOAT0}],
    ids=lambda d: d.value,
)
def test_every_type_goes_in_and_comes_out(converted, dtype):
    call = converted(lambda x: jnp.stack([x[1], x[0]]), f"{dtype.value}[2]")
    # Of two numbers that every type can hold; one of them is zero, where there is a zero.
    low = 2 if dtype is DType.FLOAT8_E8M0FNU else 0
    given = np.array([low, 1]).astype(dtype.numpy)
    found = np.asarray(call(given))
    assert found.dtype == dtype.numpy
    assert list(found.astype(complex)) == [1, low]


def test_64_bits_are_kept_though_x64_mode_is_off(converted):
    call = converted(lambda x, n: (x / 3, n + 1), "float64[b]", "int64[]")
    thirds, more = call(np.float64([1, 2]), np.int64(2**40))
    assert (thirds.dtype, more.dtype) == (np.float64, np.int64)
    assert list(np.asarray(thirds)) == [1 / 3, 2 / 3]
    assert int(np.asarray(more)) == 2**40 + 1
    assert not jax.config.read("jax_enable_x64")


def test_typed_keys_go_in_and_come_out(converted):
    def function(key, x):
        return jax.random.normal(key, (3,)) + x, jax.random.split(key, 2)

    key = jax.random.key(7)
    call = converted(function, key, "float32[]")
    noise, keys = call(key, np.float32(0))
    expected, expected_keys = function(key, 0.0)
    np.testing.assert_allclose(noise, expected, rtol=1e-6)
    assert keys.dtype == key.dtype
    assert jnp.array_equal(jax.random.key_data(keys), jax.random.key_data(expected_keys))
    words = call(jax.random.key_data(key), np.float32(0))[0]
    np.testing.assert_array_equal(words, noise)


def test_float0_goes_in_and_comes_out(converted):
    def function(x, i, t):
        _, vjp = jax.vjp(lambda x, i: x * i, x, i)
        return vjp(t)

    call = converted(function, "2", "int32[2]", "2")
    given = np.float32([1, 2]), np.int32([3, 4]), np.float32([1, 1])
    by_x, by_i = call(*given)
    assert list(by_x) == [3, 4]
    assert (by_i.dtype, by_i.shape) == (jax.dtypes.float0, (2,))
    takes = converted(
        lambda x, t: x, "2", jax.ShapeDtypeStruct((2,), jax.dtypes.float0), kwargs=None
    )
    assert list(takes(given[0], by_i)) == [1, 2]


# --------------------------------------------------------------------------- inside of JAX


def test_it_runs_inside_of_somebodys_jit(converted):
    call = converted(affine, PARAMS, "b, 3")
    outer = jax.jit(lambda x: call(PARAMS, x * 2).sum())
    np.testing.assert_allclose(outer(X), affine(PARAMS, X * 2).sum(), rtol=1e-5)


def test_a_64_bit_function_runs_inside_of_a_jit_in_32_bit_mode(converted):
    call = converted(lambda x: x / 3, "float64[2]")
    given = np.float64([1, 2])
    assert jax.jit(lambda: call(given))().dtype == np.float64


def test_it_can_be_exported_again(converted):
    call = converted(affine, PARAMS, "b, 3")
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, 3"), np.float32)
    again = jax.export.export(jax.jit(lambda x: call(PARAMS, x)))(spec)
    np.testing.assert_allclose(again.call(X), affine(PARAMS, X), rtol=1e-5)


def test_a_derivative_that_is_not_stored_points_to_lift(converted):
    call = converted(lambda x: jnp.sin(x).sum(), "3")
    x = np.ones(3, np.float32)
    for derived in (jax.grad(call), lambda x: jax.jvp(call, (x,), (x,)), jax.jacfwd(call)):
        with pytest.raises(UnsupportedError, match=r"beyond what was stored.*model\.lift"):
            derived(x)


def test_vmap_points_to_lift(converted):
    call = converted(jnp.sin, "3")
    batch = np.ones((2, 3), np.float32)
    for mapped in (jax.vmap(call), jax.jit(jax.vmap(call))):
        with pytest.raises(UnsupportedError, match=r"'f'.*vmap.*model\.lift"):
            mapped(batch)


@pytest.fixture
def with_gradient(bundle_of):
    """Returns a bound function (x float32 [3], n int32 []) -> x ** n whose VJP is stored."""

    def power(x, n):
        return x**n

    def vjp(x, n, cotangent):
        return jax.vjp(power, x, n)[1](cotangent)

    specs = ("3", "int32[]")
    function = convert(power, specs, platforms=["cpu"], gradient_function_name="vjp")
    gradient = convert(vjp, (*specs, "3"), platforms=["cpu"])
    bundle = bundle_of(power=function, vjp=gradient)
    return JaxEngine(bundle).bind(function)


def test_a_stored_derivative_is_used(with_gradient):
    x = np.float32([1, 2, 3])
    found = jax.grad(lambda x: with_gradient(x, np.int32(3)).sum())(x)
    np.testing.assert_allclose(found, 3 * x**2, rtol=1e-6)
    np.testing.assert_allclose(with_gradient(x, np.int32(2)), x**2, rtol=1e-6)


def test_a_second_derivative_points_to_lift(with_gradient):
    def first(x):
        return jax.grad(lambda x: with_gradient(x, np.int32(3)).sum())(x).sum()

    with pytest.raises(UnsupportedError, match=r"'vjp'.*beyond what was stored.*model\.lift"):
        jax.grad(first)(np.float32([1, 2, 3]))


def test_a_gradient_function_that_is_not_there_is_named(bound):
    function = convert(lambda x: x * 2, ("3",), platforms=["cpu"], gradient_function_name="vjp")
    with pytest.raises(UnknownNameError, match="no function 'vjp'"):
        jax.grad(lambda x: bound(function)(x).sum())(np.ones(3, np.float32))


# ------------------------------------------------------------------------- life and threads


def test_a_closed_engine_lets_its_functions_go(bundle_of):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    engine = JaxEngine(bundle_of(f=function))
    call = engine.bind(function)
    call(np.ones(2, np.float32))
    engine.close()
    with pytest.raises(InvalidBundleError, match="expected an open model"):
        call(np.ones(2, np.float32))


def test_what_is_kept_compiled_is_bounded(converted, monkeypatch):
    monkeypatch.setattr(bound_module, "MOST_VARIANTS", 3)
    call = converted(lambda x: x * 2, "b")
    for size in [*range(1, 9), 1, 2]:
        assert call(np.ones(size, np.float32)).shape == (size,)


def test_several_threads_may_call_and_bind(bundle_of):
    function = convert(jnp.cumsum, ("b",), platforms=["cpu"])
    engine = JaxEngine(bundle_of(f=function))
    call = engine.bind(function)
    failures = []

    def work(seed):
        for size in range(1, 6):
            x = np.full(size, seed, np.float32)
            found = call(x), engine.bind(function)(x)
            failures.extend(f for f in found if not np.array_equal(f, np.cumsum(x)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_weakly_typed_jax_array_is_an_array_of_its_type(converted):
    call = converted(lambda x: x, "float32[]")
    assert call(jnp.asarray(1.5)) == 1.5
    assert call(ml_dtypes.bfloat16(1).astype(np.float32)) == 1
