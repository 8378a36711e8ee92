"""Undecided symbolic dimensions: the argument, the dimension, and a constraint that settles it."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm import convert

pytestmark = pytest.mark.frameworks

QUESTIONS = {
    "greater": (lambda x: x if x.shape[0] > 4 else 2 * x, ("b, 3",)),
    "less": (lambda x: x if x.shape[0] < 4 else 2 * x, ("b, 3",)),
    "slice": (lambda x: jax.lax.slice(x, (2, 0), (7, 3)), ("b, 3",)),
    "top_k": (lambda x: jax.lax.top_k(x, 5), ("b, t",)),
    "split": (lambda x: jnp.split(x, 2), ("b, 3",)),
    "broadcast to a size": (lambda x: x + jnp.ones((8, 3)), ("b, 3",)),
    "broadcast": (lambda x, y: x + y, ("b, 3", "c, 3")),
    "contract": (lambda x, y: x @ y, ("b, t", "u, 3")),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_named_constraint_settles_the_question(name):
    function, specs = QUESTIONS[name]
    with pytest.raises(InvalidModelError, match=r"^function 'f', input '") as caught:
        convert(function, specs, platforms=["cpu"], name="f")
    constraint = re.search(r"constraints=\('(.*)',\)", str(caught.value))[1]
    convert(function, specs, platforms=["cpu"], constraints=(constraint,))


def test_the_message_names_argument_dimension_and_question():
    def encode(weights, tokens):
        return tokens if tokens.shape[1] > 4 else 2 * tokens

    with pytest.raises(InvalidModelError) as caught:
        convert(encode, ("3", {"ids": "b, t"}["ids"]), platforms=["cpu"])
    assert str(caught.value) == (
        "function 'encode', input 'tokens', dimension 1 ('t'): expected a function that is the "
        "same for every size; found that it needs to know whether t > 4; "
        "pass constraints=('t >= 5',) if it always holds"
    )
    assert isinstance(caught.value.__cause__, jax.errors.InconclusiveDimensionOperation)


def test_a_constraint_that_is_there_already_is_kept_in_mind():
    def function(x):
        return x if x.shape[0] >= 2 and x.shape[0] >= 7 else 2 * x

    with pytest.raises(InvalidModelError, match="whether b >= 7"):
        convert(function, ("b",), constraints=("b >= 2",), platforms=["cpu"])


def test_where_no_constraint_helps_a_multiple_in_the_spec_is_named():
    def function(x):
        return x.reshape(2, -1)

    with pytest.raises(InvalidModelError, match=r"write 'b' as '2\*b' in the specs"):
        convert(function, ("b, 3",), platforms=["cpu"])
    convert(function, ("2*b, 3",), platforms=["cpu"])


def test_a_size_that_must_be_a_number_asks_for_a_fixed_one():
    with pytest.raises(InvalidModelError, match=r"the size of b; give the dimension a fixed size"):
        convert(lambda x: np.ones(int(x.shape[0])) + x, ("b",), platforms=["cpu"])


def test_a_symbol_that_cannot_be_solved_for_is_refused():
    with pytest.raises(InvalidModelError, match="add an input dimension"):
        convert(lambda x: x, ("b*b",), platforms=["cpu"])


def test_the_authors_own_errors_pass_as_they_are():
    def function(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine"):
        convert(function, ("b",), platforms=["cpu"])


def test_shapes_that_never_fit_are_jaxs_error():
    with pytest.raises(TypeError, match="incompatible shapes"):
        convert(lambda x: x + jnp.ones(4), ("3",), platforms=["cpu"])
