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
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.tree import StringPairs
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
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


# -------------------------------------------------------------------------- wrong arguments


@pytest.fixture(scope="module")
def encode(converted):
    def encode(params, tokens):
        return params["table"][tokens].sum(-1)

    return converted(encode, {"table": "float32[10, 4]"}, "int32[batch, 128]", name="encode")


TABLE = {"table": np.ones((10, 4), np.float32)}
TOKENS = np.zeros((3, 128), np.int32)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            (TABLE, TOKENS.astype(np.int64)),
            "function 'f', input 'tokens': expected int32 [batch, 128], found int64 [3, 128]; "
            "cast before the call", id="dtype",
        ),
        pytest.param(
            (TABLE, TOKENS[:, :5]),
            "function 'f', input 'tokens': expected int32 [batch, 128], found int32 [3, 5]; "
            "pass an array of that shape", id="size",
        ),
        pytest.param(
            (TABLE, TOKENS[0]),
            "function 'f', input 'tokens': expected int32 [batch, 128], found int32 [128]; "
            "pass an array of that rank", id="rank",
        ),
        pytest.param(
            ({"table": TABLE["table"].astype(np.float64)}, TOKENS),
            "function 'f', input 'params.table': expected float32 [10, 4], found float64 [10, 4]; "
            "cast before the call", id="a numpy array of 64 bits",
        ),
        pytest.param(
            ({"tabel": TABLE["table"]}, TOKENS),
            "function 'f', input 'params.table': expected float32 [10, 4], found nothing; "
            "pass the tree of the signature\n"
            "function 'f', input 'params.tabel': expected nothing, found an array; "
            "pass the tree of the signature", id="key",
        ),
        pytest.param(
            (TABLE,),
            "function 'f', input 'tokens': expected int32 [batch, 128], found nothing; "
            "pass the tree of the signature", id="missing",
        ),
        pytest.param(
            (TABLE, ["a", "b"]),
            "function 'f', input 'tokens': expected int32 [batch, 128], found a list of 2; "
            "pass the tree of the signature", id="a list of text",
        ),
        pytest.param(
            (TABLE, "text"),
            "function 'f', input 'tokens': expected int32 [batch, 128], found 'text' (str); "
            "pass an array of that type", id="text",
        ),
        pytest.param(
            (TABLE, TOKENS.astype(object)),
            "function 'f', input 'tokens': expected int32 [batch, 128], found object [3, 128]; "
            "pass an array of that type", id="objects",
        ),
        pytest.param(
            (TABLE, jax.random.key(0)),
            "function 'f', input 'tokens': expected int32 [batch, 128], found key<fry> [2]; "
            "pass jax.random.key_data(key)", id="a key",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named_with_path_expected_and_found(encode, args, message):
    with pytest.raises(SignatureMismatchError) as caught:
        encode(*args)
    assert str(caught.value) == message


def test_a_mismatch_is_a_type_error_and_hides_jaxs_own(encode):
    with pytest.raises(TypeError) as caught:
        encode(TABLE)
    assert caught.value.__suppress_context__


def test_at_most_three_lines_are_shown(converted):
    call = converted(lambda *xs: sum(xs), *["2"] * 6)
    with pytest.raises(SignatureMismatchError, match=r"\(and 3 more\)$") as caught:
        call(*[np.ones(3, np.float32)] * 6)
    assert len(str(caught.value).splitlines()) == 3


def test_a_jax_array_of_another_type_is_refused_under_jit_too(encode):
    floats = jnp.zeros((3, 128))
    with pytest.raises(SignatureMismatchError, match=r"'tokens': expected int32 \[batch, 128\]"):
        jax.jit(lambda tokens: encode(TABLE, tokens))(floats)


def test_sizes_that_should_be_equal_are_compared(converted):
    call = converted(lambda x, y: x @ y, "b, n", "n, 2")
    with pytest.raises(SignatureMismatchError, match=r"input 'y'.*n = 3 as in 'x', found .*\[4, 2"):
        call(np.ones((1, 3), np.float32), np.ones((4, 2), np.float32))


def test_constraints_are_enforced_and_named(converted):
    call = converted(lambda x: x, "b, 2*t", constraints=("b >= 2",))
    assert call(np.ones((2, 4), np.float32)).shape == (2, 4)
    with pytest.raises(
        SignatureMismatchError, match=r"x float32 \[b, 2\*t\] with b >= 2; found b = 1"
    ):
        call(np.ones((1, 4), np.float32))
    with pytest.raises(SignatureMismatchError, match=r"x float32 \[b, 2\*t\]; found .*remainder"):
        call(np.ones((2, 3), np.float32))


def test_constraints_that_only_the_module_knows_are_enforced_too(bound):
    function = convert(lambda x: x, ("b",), constraints=("b >= 2",), platforms=["cpu"])
    foreign = dataclasses.replace(function, supplementals={})
    with pytest.raises(SignatureMismatchError, match=r"0 float32 \[b\] with b >= 2; found b = 1"):
        bound(foreign)(np.ones(1, np.float32))


def test_python_numbers_and_lists_are_taken_where_they_keep_their_value(converted):
    call = converted(lambda x, n, s: x * n + s, "b", "int32[]", "float32[]")
    assert list(call([1.0, 2.0], 2, 0.5)) == [2.5, 4.5]
    assert list(call([1, 2], 2, 1)) == [3, 5]
    wide = converted(lambda x, n: x * n, "float64[]", "int64[]")
    assert float(wide(0.1, 2**40)) == 0.1 * 2**40


@pytest.mark.parametrize("value", [2**40, 2.5, True, 1j, 2**70, [1]])
def test_python_numbers_that_would_change_are_refused(converted, value):
    call = converted(lambda n: n, "int32[]")
    with pytest.raises(SignatureMismatchError, match=r"^function 'f', input 'n': expected int32"):
        call(value)


@pytest.mark.parametrize("value", [16_777_217, 1e300])
def test_a_float_takes_no_number_that_it_cannot_hold(converted, value):
    with pytest.raises(SignatureMismatchError, match="expected float32"):
        converted(lambda x: x, "float32[]")(value)


def test_keys_of_another_generator_are_refused(converted):
    call = converted(jax.random.split, jax.random.key(0))
    with pytest.raises(SignatureMismatchError, match=r"expected key<fry> .* found key<rbg>"):
        call(jax.random.key(0, impl="rbg"))


# ----------------------------------------------------------------------------- what is stored


def test_a_platform_that_it_was_not_lowered_for_is_named(bound):
    function = convert(lambda x: x, ("2",), platforms=["cuda", "tpu"])
    with pytest.raises(UnsupportedError, match=r"the platform at hand, cpu; .* for cuda, tpu; "):
        bound(function)


def test_a_disabled_platform_check_lets_it_run_anyway(converted):
    call = converted(lambda x: x + 1, "2", platforms=["tpu"], disabled_checks=["platform"])
    assert list(call(np.zeros(2, np.float32))) == [1, 1]


@pytest.mark.parametrize(
    "kept",
    [(7,), (0, 0)],
    ids=str,
)
def test_kept_inputs_that_cannot_be_are_refused(bound, kept):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    with pytest.raises(InvalidBundleError, match=r"^function 'f': expected kept inputs"):
        bound(dataclasses.replace(function, kept_inputs=kept))


@pytest.mark.parametrize("version", [1, 99])
def test_a_function_that_this_jax_would_not_call_is_lifted(bound, version):
    function = convert(lambda x, n: (x + 1, n), ("2", "int64[]"), platforms=["cpu"])
    call = bound(dataclasses.replace(function, calling_convention_version=version))
    y, n = call(np.zeros(2, np.float32), np.int64(2**40))
    assert y.tolist() == [1, 1]
    assert int(n) == 2**40


def test_ordered_effects_are_refused_by_name(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    info = dataclasses.replace(function.jax, ordered_effects=("<class 'PrintEffect'>",))
    with pytest.raises(UnsupportedError, match=r"PrintEffect.*convert the function again"):
        bound(dataclasses.replace(function, jax=info))


def test_a_signature_that_is_not_the_modules_is_noticed(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    other = convert(lambda x: x + 1, ("3",), platforms=["cpu"])
    call = bound(dataclasses.replace(function, signature=other.signature))
    with pytest.raises(InvalidBundleError, match="what the signature says"):
        call(np.ones(3, np.float32))


def test_a_damaged_module_is_refused(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    cut = dataclasses.replace(function.module, content=function.module.content[:200])
    with pytest.raises(InvalidBundleError, match=r"^function 'f'"):
        bound(dataclasses.replace(function, module=cut))(np.ones(2, np.float32))


def test_string_pairs_are_dicts_whose_order_is_the_modules(bound):
    function = convert(lambda b, a: (b.sum() - a.sum(), a), ("2", "3"), platforms=["cpu"])
    (b, a), _ = function.signature.inputs
    first, second = function.signature.outputs
    pairs = Signature(
        inputs=((StringPairs((("b", b), ("a", a))),), {}),
        outputs=StringPairs((("z", first), ("y", second))),
    )
    call = bound(dataclasses.replace(function, signature=pairs))
    found = call({"a": np.ones(3, np.float32), "b": np.full(2, 5, np.float32)})
    assert (float(found["z"]), found["y"].shape) == (7.0, (3,))


def test_string_pairs_that_repeat_a_key_are_refused(bound):
    function = convert(lambda x, y: x + y, ("2", "2"), platforms=["cpu"])
    x, y = function.signature.args
    inputs = ((StringPairs((("a", x), ("a", y))),), {})
    pairs = Signature(inputs=inputs, outputs=function.signature.outputs)
    with pytest.raises(UnsupportedError, match=r"found \['a', 'a'\]"):
        bound(dataclasses.replace(function, signature=pairs))


def test_a_signature_without_call_form_is_one_argument(bound):
    function = convert(lambda x, y: x - y, ("2", "2"), platforms=["cpu"])
    x, y = function.signature.args
    one = Signature(inputs=[x, y], outputs=function.signature.outputs)
    call = bound(dataclasses.replace(function, signature=one))
    assert list(call([np.ones(2, np.float32), np.zeros(2, np.float32)])) == [1, 1]


# ---------------------------------------------------------------------------------- devices


def mesh_of(count, *names, shape=None):
    return Mesh(np.array(jax.devices()[:count]).reshape(shape or (count,)), names)


@pytest.fixture(scope="module")
def sharded():
    """Returns a function for a mesh of 2x2, and what it gives for its inputs."""
    mesh = mesh_of(4, "x", "y", shape=(2, 2))

    def place(shape, *spec):
        sharding = NamedSharding(mesh, P(*spec))
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)

    def function(w, x, free):
        y = jax.lax.with_sharding_constraint(x @ w, NamedSharding(mesh, P(None, "y")))
        return y + free, x.sum()

    given = (W @ W.T, np.ones((4, 3), np.float32), np.float32([1, 2, 3]))
    specs = (place((3, 3)), place((4, 3), "x"), jax.ShapeDtypeStruct((3,), np.float32))
    return convert(function, specs, platforms=["cpu"]), given, (given[1] @ given[0] + given[2], 12)


def test_numpy_inputs_are_put_on_the_mesh(bound, sharded):
    function, given, expected = sharded
    found = bound(function)(*given)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    assert found[1] == expected[1]
    assert len(found[0].sharding.device_set) == 4


def test_inputs_that_are_on_the_mesh_already_stay_there(bound, sharded):
    function, given, expected = sharded
    on = NamedSharding(mesh_of(4, "x", "y", shape=(2, 2)), P())
    np.testing.assert_allclose(
        bound(function)(*jax.device_put(given, on))[0], expected[0], rtol=1e-5
    )


def test_inputs_on_one_device_are_moved(bound, sharded):
    function, given, expected = sharded
    there = jax.device_put(given, jax.devices()[0])
    np.testing.assert_allclose(bound(function)(*there)[0], expected[0], rtol=1e-5)


def test_a_sharded_function_runs_inside_of_somebodys_jit(bound, sharded):
    function, given, expected = sharded
    call = bound(function)
    np.testing.assert_allclose(
        jax.jit(lambda x: call(given[0], x, given[2])[0] * 2)(given[1]), 2 * expected[0], rtol=1e-5
    )


def test_the_callers_mesh_and_devices_are_used(bound, sharded):
    function, given, expected = sharded
    last = jax.devices()[4:8]
    meshes = [
        {"devices": last},
        {"mesh": Mesh(np.array(last).reshape(2, 2), ("x", "y"))},
        {"mesh": Mesh(np.array(last).reshape(4), ("other",))},
        {"mesh": Mesh(np.array(last).reshape(2, 2), ("y", "x"))},
    ]
    for placement in meshes:
        found = bound(function, **placement)(*given)[0]
        np.testing.assert_allclose(found, expected[0], rtol=1e-5)
        assert found.sharding.device_set == set(last)


def test_a_foreign_sharded_function_needs_no_record_of_ours(bound, sharded):
    function, given, expected = sharded
    foreign = dataclasses.replace(function, supplementals={})
    np.testing.assert_allclose(bound(foreign)(*given)[0], expected[0], rtol=1e-5)


def test_a_function_that_is_sharded_inside_only_runs_on_its_mesh(bound):
    mesh = mesh_of(4, "x")

    def inside(x):
        return jax.lax.with_sharding_constraint(x * 2, NamedSharding(mesh, P("x")))

    function = convert(inside, ("8",), platforms=["cpu"])
    assert function.jax.device_count == 4
    assert all(leaf.sharding is None for leaf in function.signature.input_leaves)
    np.testing.assert_array_equal(bound(function)(np.ones(8, np.float32)), 2 * np.ones(8))


def square_of(*types):
    return Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("x", "y"), axis_types=types)


SQUARE = (AxisType.Auto,) * 2
ROWS = np.arange(16, dtype=np.float32).reshape(4, 4)


def spec_on(mesh, dims, *spec, dtype=np.float32):
    shape = jax.export.symbolic_shape(dims, constraints=("mod(b, 2) == 0",))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*spec)))


def manual(x):
    mesh = square_of(*SQUARE)
    total = jax.shard_map(lambda v: jax.lax.psum(v, "x"), mesh=mesh, in_specs=P("x"), out_specs=P())
    return total(x)


@pytest.mark.parametrize(
    ("function", "specs", "given"),
    [
        pytest.param(
            lambda a, b: a @ b,
            lambda: [spec_on(square_of(*[AxisType.Explicit] * 2), "4, 4", *s) for s in (["x"], [])],
            [ROWS, ROWS], id="explicit axes",
        ),
        pytest.param(
            manual, lambda: [spec_on(square_of(*SQUARE), "4, 4", "x")], [ROWS], id="shard_map"
        ),
        pytest.param(
            lambda a: a * 2, lambda: [spec_on(square_of(*SQUARE), "b, 4", "x")], [ROWS],
            id="symbolic",
        ),
        pytest.param(
            lambda: jax.lax.with_sharding_constraint(
                jnp.ones((4, 4)), NamedSharding(square_of(*SQUARE), P("x"))
            ),
            list, [], id="no inputs",
        ),
    ],
)  # fmt: skip
def test_sharded_functions_of_every_kind_give_what_the_original_gives(
    bound, function, specs, given
):
    stored = convert(function, specs(), platforms=["cpu"])
    assert stored.jax.device_count == 4
    np.testing.assert_allclose(bound(stored)(*given), jax.jit(function)(*given), rtol=1e-6)


def test_keys_on_several_devices_are_split_by_key(bound):
    split = jax.random.split(jax.random.key(0), 4)
    spec = spec_on(square_of(*SQUARE), "4", "x", dtype=split.dtype)
    stored = convert(jax.vmap(jax.random.normal), (spec,), platforms=["cpu"])
    expected = jax.vmap(jax.random.normal)(split)
    np.testing.assert_allclose(bound(stored)(split), expected, rtol=1e-6)


def test_python_numbers_reach_a_sharded_function(bound):
    mesh = mesh_of(2, "x")
    spec = jax.ShapeDtypeStruct((4,), np.float32, sharding=NamedSharding(mesh, P("x")))
    call = bound(convert(lambda x, s: x * s, (spec, "float32[]"), platforms=["cpu"]))
    assert list(call([1.0, 2.0, 3.0, 4.0], 2)) == [2, 4, 6, 8]


def test_wrong_arguments_of_a_sharded_function_are_named(bound, sharded):
    function, given, _ = sharded
    with pytest.raises(SignatureMismatchError, match="input 'x': expected float32"):
        bound(function)(given[0], given[1].astype(np.float64), given[2])
    with pytest.raises(SignatureMismatchError, match=r"input 'free'.*found nothing"):
        bound(function)(*given[:2])


def test_one_device_runs_where_it_is_asked_to(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    device = jax.devices()[3]
    assert bound(function, devices=[device])(np.ones(2, np.float32)).devices() == {device}


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
