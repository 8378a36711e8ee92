"""Shorthand, structs and specs."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import InvalidModelError, UnsupportedError
from orbax_model_lite.jax2obm.leaf_specs import leaf_spec, traced_specs
from orbax_model_lite.jaxtypes.shapes import (
    DimScope,
    from_aval,
    parse_shorthand,
    scope_constraints,
    to_struct,
)

pytestmark = pytest.mark.frameworks


@pytest.mark.parametrize(
    ("text", "shape", "dtype"),
    [
        ("b, 28, 28, 1", ("b", 28, 28, 1), DType.FLOAT32),
        ("b", ("b",), DType.FLOAT32),
        ("3,", (3,), DType.FLOAT32),
        ("[]", (), DType.FLOAT32),
        ("int32[b, t]", ("b", "t"), DType.INT32),
        ("bf16 [2*t + 1]", ("2*t + 1",), DType.BFLOAT16),
        ("float8_e4m3fn[max(b, 2), 3]", ("max(b, 2)", 3), DType.FLOAT8_E4M3FN),
        ("complex64[]", (), DType.COMPLEX64),
        ("u8[?, 3]", (None, 3), DType.UINT8),
        ("bool[b]", ("b",), DType.BOOL),
    ],
)
def test_shorthand_says_dtype_and_dimensions(text, shape, dtype):
    assert parse_shorthand(text, "x") == Spec(shape=shape, dtype=dtype)


def test_shorthand_for_keys_gives_the_words_of_the_key():
    found = parse_shorthand("key<fry>[b]", "x")
    assert found == Spec(shape=("b", 2), dtype=DType.UINT32, logical="key<fry>")


@pytest.mark.parametrize(
    "text", ["", "b,,3", "[1, 2]]", "...", "float32", "bf16", "float33[2]", "b, _", "key<other>[]"]
)
def test_other_text_is_refused_with_an_example(text):
    with pytest.raises((InvalidModelError, UnsupportedError), match=r"^input 'x': expected"):
        parse_shorthand(text, "input 'x'")


@pytest.mark.parametrize(
    "spec",
    [
        Spec(shape=(), dtype=DType.FLOAT32),
        Spec(shape=("b", 2, "2*t + 1"), dtype=DType.INT8),
        Spec(shape=(3,), dtype=DType.FLOAT4_E2M1FN),
        Spec(shape=(3,), dtype=DType.FLOAT64),
        Spec(shape=(3,), dtype=DType.FLOAT0),
        Spec(shape=("b", 2), dtype=DType.UINT32, logical="key<fry>"),
        Spec(shape=(4,), dtype=DType.UINT32, logical="key<rbg>"),
    ],
    ids=str,
)
def test_a_spec_becomes_a_struct_and_comes_back(spec):
    assert from_aval(to_struct(spec, DimScope(), "x"), "x") == spec


@pytest.mark.parametrize("dtype", [d for d in DType if d not in {DType.STRING, DType.UNSPECIFIED}])
def test_every_dtype_of_arrays_survives(dtype):
    spec = Spec(shape=(2,), dtype=dtype)
    assert from_aval(to_struct(spec, DimScope(), "x"), "x") == spec


def test_unknown_dimensions_become_symbols_of_their_own():
    struct = to_struct(Spec(shape=(None, None, 3), dtype=DType.INT8), DimScope(), "x")
    assert [jax.export.is_symbolic_dim(dim) for dim in struct.shape] == [True, True, False]
    assert struct.shape[0] != struct.shape[1]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (Spec(shape=None, dtype=DType.FLOAT32), InvalidModelError),
        (Spec(shape=(2,), dtype=DType.STRING), UnsupportedError),
        (Spec(shape=("b +",), dtype=DType.FLOAT32), InvalidModelError),
        (Spec(shape=(2,), dtype=DType.UINT32, logical="key<other>"), UnsupportedError),
    ],
    ids=str,
)
def test_specs_that_jax_cannot_trace_are_refused(spec, error):
    with pytest.raises(error, match=r"^input 'x': expected"):
        to_struct(spec, DimScope(), "input 'x'")


@pytest.mark.parametrize(
    ("leaf", "shape", "dtype", "weak"),
    [
        (np.zeros((2, 3), np.int16), (2, 3), "int16", False),
        (np.zeros(2, np.float64), (2,), "float32", False),
        (np.float64(2), (), "float32", False),
        (np.zeros(2, ml_dtypes.bfloat16), (2,), "bfloat16", False),
        (2.0, (), "float32", True),
        (2, (), "int32", True),
        (True, (), "bool", False),
        (1j, (), "complex64", True),
    ],
)
def test_arrays_and_scalars_are_described_as_jax_traces_them(leaf, shape, dtype, weak):
    found = leaf_spec(leaf, "x")
    assert (found.shape, str(found.dtype), found.weak_type) == (shape, dtype, weak)


def test_a_jax_array_and_a_key_describe_themselves():
    assert leaf_spec(jnp.ones((2, 3)), "x").shape == (2, 3)
    assert str(leaf_spec(jax.random.key(0), "x").dtype) == "key<fry>"


@pytest.mark.parametrize("leaf", [print, object(), np.array(["a"]), np.array([None])])
def test_what_is_no_array_is_refused_with_its_name(leaf):
    with pytest.raises(InvalidModelError, match=r"^input 'x': expected an array"):
        leaf_spec(leaf, "input 'x'")


def test_structs_of_two_scopes_and_shorthand_end_up_in_one():
    one = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 2"), np.float32)
    other = jax.ShapeDtypeStruct(
        jax.export.symbolic_shape("b", constraints=("b >= 3",)), np.float32
    )
    found = traced_specs([("x", one), ("y", other), ("z", "b, t")], ("t <= 8",), "f")
    scopes = {id(dim.scope) for s in found.structs for dim in s.shape if not isinstance(dim, int)}
    assert len(scopes) == 1
    assert found.scope.constraints == ("b >= 3", "t <= 8")
    assert found.structs[0].shape[0] == found.structs[2].shape[0]


def test_the_authors_own_scope_is_kept_where_it_can_serve():
    struct = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 2"), np.float32)
    found = traced_specs([("x", struct), ("y", "b")], (), "f")
    assert found.structs[0] is struct
    assert found.structs[1].shape == struct.shape[:1]


def test_constraints_of_a_scope_are_given_as_they_were_written():
    scope = jax.export.SymbolicScope(("b >= 2", "t <= 8"))
    assert scope_constraints(scope) == ("b >= 2", "t <= 8")


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (("b > 3",), "expected one of the forms"),
        (("b == 2", "b == 3"), "hold together"),
        (("c >= 1",), "expected dimensions of the inputs"),
    ],
)
def test_bad_constraints_are_refused(constraints, message):
    with pytest.raises(InvalidModelError, match=message):
        traced_specs([("x", "b")], constraints, "function 'f'")


def test_a_64_bit_spec_asks_for_x64_mode_and_numpy_arrays_follow():
    found = traced_specs([("x", "float64[b]"), ("y", np.zeros(2))], (), "f")
    assert found.is_wide
    assert [str(s.dtype) for s in found.structs] == ["float64", "float64"]
    assert not traced_specs([("y", np.zeros(2))], (), "f").is_wide
