"""Functions for several sizes under one name."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.core.function import PolymorphicFunction
from orbax_model_lite.errors import InvalidModelError, UnknownNameError

pytestmark = pytest.mark.frameworks

WEIGHTS = {"w": np.arange(12, dtype=np.float32).reshape(4, 3)}


def _pack(path, **options):
    def apply(params, x):
        return jnp.tanh(x @ params["w"] / 10)

    return obm.pack(path, apply, WEIGHTS, "b, 4", platforms=["cpu"], **options).bundle


def _sizes(function):
    return [variant.signature.args[1].shape[0] for variant in function.functions]


def test_each_specialization_is_a_variant_beside_the_symbolic_one(tmp_path):
    bundle = _pack(tmp_path / "m.obm", specializations=[{"b": 1}, {"b": 8}])
    function = bundle.objects["serving_default"]
    assert isinstance(function, PolymorphicFunction)
    assert _sizes(function) == ["b", 1, 8]


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_every_variant_computes_what_the_symbolic_function_does(tmp_path, rows):
    x = np.linspace(-1, 1, 4 * rows, dtype=np.float32).reshape(rows, 4)
    _pack(tmp_path / "one.obm")
    _pack(tmp_path / "many.obm", specializations=[{"b": 1}, {"b": 8}])
    expected = obm.load(tmp_path / "one.obm")(x)
    np.testing.assert_allclose(obm.load(tmp_path / "many.obm")(x), expected, rtol=1e-6)


@pytest.mark.parametrize(("rows", "chosen"), [(1, 1), (8, 2), (5, 0)])
def test_the_most_precise_variant_is_taken(tmp_path, rows, chosen):
    _pack(tmp_path / "m.obm", specializations=[{"b": 1}, {"b": 8}])
    function = obm.load(tmp_path / "m.obm").functions["serving_default"]
    assert function.choose(WEIGHTS, np.zeros((rows, 4), np.float32)) == chosen


def test_processors_with_the_symbol_get_variants_too(tmp_path):
    bundle = _pack(tmp_path / "m.obm", preprocess=lambda raw: raw * 2, specializations=[{"b": 2}])
    kinds = {name: type(found) for name, found in bundle.functions.items()}
    assert set(kinds.values()) == {PolymorphicFunction}


def test_arguments_that_fit_no_variant_are_told_all_of_them(tmp_path):
    _pack(tmp_path / "m.obm", specializations=[{"b": 2}])
    model = obm.load(tmp_path / "m.obm")
    with pytest.raises(obm.errors.SignatureMismatchError, match=r"float32 \[2, 4\]"):
        model.functions["serving_default"](WEIGHTS, np.zeros((2, 5), np.float32))


def test_a_symbol_that_no_function_has_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"symbolic dimension .c."):
        _pack(tmp_path / "m.obm", specializations=[{"c": 2}])
    assert not (tmp_path / "m.obm").exists()


@pytest.mark.parametrize("sizes", [{}, {"b": -1}, {"b": 2.0}, {"b": True}])
def test_a_size_that_is_none_is_refused(tmp_path, sizes):
    with pytest.raises(InvalidModelError, match="expected"):
        _pack(tmp_path / "m.obm", specializations=[sizes])


def test_a_size_that_breaks_a_constraint_is_refused(tmp_path):
    with pytest.raises(InvalidModelError, match=r"b >= 2.*b=1"):
        _pack(tmp_path / "m.obm", constraints=["b >= 2"], specializations=[{"b": 1}])
