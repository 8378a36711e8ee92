"""What a stored function takes, and how it names what it does not take."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.errors import (
    SignatureMismatchError,
)
from orbax_model_lite.jax2obm import convert

pytestmark = pytest.mark.frameworks


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
