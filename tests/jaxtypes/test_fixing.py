"""Sizes in the place of symbols: arithmetic and constraints."""

from __future__ import annotations

import jax
import pytest

from orbax_model_lite.core import DType, Spec
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes.fixing import fixed_spec, remaining

EXPRESSIONS = [
    "2*b + t",
    "b^2 - 1",
    "mod(b, 3)",
    "floordiv(b, 2) + 1",
    "max(b, t)",
    "min(b, 3)*t",
    "-1*b + 2*t",
    "mod(-1*b, 3)",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_comes_to_what_jax_gives_for_an_array_of_those_sizes(expression):
    b, t = 8, 12
    symbols = jax.export.symbolic_shape("b, t")
    jitted = jax.jit(lambda x: jax.numpy.asarray(_dim_of(x, expression)))
    exported = jax.export.export(jitted)(jax.ShapeDtypeStruct(symbols, "float32"))
    expected = int(exported.call(jax.numpy.zeros((b, t))))
    spec = Spec(shape=(expression + " + 1000",), dtype=DType.FLOAT32)
    assert fixed_spec(spec, {"b": b, "t": t}).shape == (expected + 1000,)


def _dim_of(x, expression):
    """Returns the dimension as JAX computes it from the sizes of an array."""
    names = {"b": x.shape[0], "t": x.shape[1]}
    functions = {
        "mod": lambda a, b: a % b,
        "floordiv": lambda a, b: a // b,
        "max": jax.core.max_dim,
        "min": jax.core.min_dim,
    }
    return eval(expression.replace("^", "**"), functions, names)


def test_a_constraint_on_a_remainder_is_met_or_broken():
    assert remaining(["mod(b, 4) == 0", "t >= b"], {"b": 8}, "f") == ("t >= 8",)
    with pytest.raises(InvalidModelError, match=r"expected sizes with mod\(b, 4\) == 0; found b=9"):
        remaining(["mod(b, 4) == 0"], {"b": 9}, "f")


@pytest.mark.parametrize(
    "expression",
    [
        "b^9^9^9",
        "b^99999999",
        "b^-1",
        "b b",
        "max(b)",
        "mod(b)",
        "mod(b, 0)",
        "*".join(["b"] * 3000),
        "(" * 300 + "b" + ")" * 300,
        "9" * 5000 + "*b",
    ],
    ids=lambda text: text[:12],
)
def test_a_dimension_that_comes_to_no_number_is_refused_and_not_computed(expression):
    with pytest.raises(InvalidModelError, match="correct the expression"):
        fixed_spec(Spec(shape=(expression,), dtype=DType.FLOAT32), {"b": 2})
