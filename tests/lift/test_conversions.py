"""Comparisons and conversions: XLA's answers at the edges of every element type."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

DTYPES = {
    "i1": np.bool_,
    "i4": ml_dtypes.int4,
    "i8": np.int8,
    "i32": np.int32,
    "i64": np.int64,
    "ui2": ml_dtypes.uint2,
    "ui8": np.uint8,
    "ui32": np.uint32,
    "ui64": np.uint64,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "complex<f32>": np.complex64,
    "complex<f64>": np.complex128,
}


def edges(element: str) -> np.ndarray:
    """Returns values at the edges of an element type."""
    dtype = np.dtype(DTYPES[element])
    if dtype.kind == "b":
        return np.array([False, True])
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        values = [int(limits.min), int(limits.max), int(limits.max) - 1, 0, 1, int(limits.max) // 2]
        return np.array(values, np.int64 if values[0] else np.uint64).astype(dtype)
    values = [0, -0.0, 0.4, -0.6, 2.5, -3.5, 120, -1000, 3e9, -1e10, 1e19, np.nan, np.inf, -np.inf]
    with np.errstate(over="ignore"):
        return np.array(values).astype(dtype)


def lifted(text: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """Returns what the lifted module gives under jit."""
    with jax.enable_x64(True):
        return [np.asarray(result) for result in jax.jit(lift_module(text))(*arrays)]


def to_all_others(source: str) -> tuple[str, list[str]]:
    targets = [element for element in DTYPES if element != source]
    size = len(edges(source))
    types = [f"tensor<{size}x{element}>" for element in targets]
    given = f"tensor<{size}x{source}>"
    lines = [
        f"  %y{i} = stablehlo.convert %x : ({given}) -> {type_}" for i, type_ in enumerate(types)
    ]
    names = ", ".join(f"%y{i}" for i in range(len(types)))
    results = ", ".join(types)
    head = f"func.func @main(%x: {given}) -> ({results}) {{"
    return "\n".join([head, *lines, f"  return {names} : {results}", "}"]), targets


@pytest.mark.parametrize("source", DTYPES)
def test_a_conversion_gives_the_bits_of_xla(run_by_xla, source):
    text, targets = to_all_others(source)
    values = edges(source)
    wanted = run_by_xla(text, values)
    found = lifted(text, values)
    for target, one, other in zip(targets, found, wanted, strict=True):
        assert one.dtype == other.dtype, target
        assert np.asarray(one).tobytes() == other.tobytes(), target


def compared(element: str, direction: str, kind: str, size: int) -> str:
    given, result = f"tensor<{size}x{element}>", f"tensor<{size}xi1>"
    return f"""func.func @main(%x: {given}, %y: {given}) -> {result} {{
  %z = stablehlo.compare {direction}, %x, %y, {kind} : ({given}, {given}) -> {result}
  return %z : {result}
}}"""


KINDS = {
    **dict.fromkeys(["i1", "ui2", "ui8", "ui64"], "UNSIGNED"),
    **dict.fromkeys(["i4", "i32", "i64"], "SIGNED"),
    **dict.fromkeys(["f8E4M3FN", "bf16", "f16", "f32", "f64"], "FLOAT"),
}


@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
@pytest.mark.parametrize("element", KINDS)
def test_a_comparison_gives_what_xla_gives(run_by_xla, element, direction):
    values = edges(element)
    x, y = (a.reshape(-1) for a in np.meshgrid(values, values))
    text = compared(element, direction, KINDS[element], x.size)
    found = lifted(text, x, y)[0]
    np.testing.assert_array_equal(found, run_by_xla(text, x, y)[0])


@pytest.mark.parametrize("element", ["f16", "f32", "f64", "bf16"])
@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
def test_the_total_order_goes_from_negative_to_positive_nan(element, direction):
    ordered = np.array([-np.nan, -np.inf, -1, -0.0, 0.0, 1, np.inf, np.nan]).astype(DTYPES[element])
    ordered[0], ordered[-1] = -abs(ordered[-1]), abs(ordered[-1])
    i, j = (a.reshape(-1) for a in np.meshgrid(range(8), range(8)))
    text = compared(element, direction, "TOTALORDER", 64)
    wanted = {
        "EQ": i == j,
        "NE": i != j,
        "LT": i < j,
        "LE": i <= j,
        "GT": i > j,
        "GE": i >= j,
    }[direction]
    found = lifted(text, ordered[i], ordered[j])[0]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("direction", "expected"), [("EQ", [1, 0, 0]), ("NE", [0, 1, 1])])
def test_complex_numbers_are_equal_where_both_parts_are(direction, expected):
    x = np.array([1 + 2j, 1 + 2j, np.nan], np.complex64)
    y = np.array([1 + 2j, 1 - 2j, np.nan], np.complex64)
    found = lift_module(compared("complex<f32>", direction, "FLOAT", 3))(x, y)[0]
    np.testing.assert_array_equal(found, np.array(expected, bool))


def test_a_comparison_without_a_kind_is_that_of_its_type():
    text = """func.func @main(%x: tensor<2xui8>, %y: tensor<2xui8>) -> tensor<2xi1> {
  %z = "stablehlo.compare"(%x, %y) {comparison_direction = #stablehlo<comparison_direction GT>}
    : (tensor<2xui8>, tensor<2xui8>) -> tensor<2xi1>
  return %z : tensor<2xi1>
}"""
    x, y = np.array([200, 1], np.uint8), np.array([100, 255], np.uint8)
    assert lift_module(text)(x, y)[0].tolist() == [True, False]


def bitcast(source: str, target: str) -> str:
    return f"""func.func @main(%x: tensor<{source}>) -> tensor<{target}> {{
  %y = stablehlo.bitcast_convert %x : (tensor<{source}>) -> tensor<{target}>
  return %y : tensor<{target}>
}}"""


SHAPES = {
    ("f32", "i32"): ((3,), (3,)),
    ("bf16", "ui16"): ((3,), (3,)),
    ("f32", "i8"): ((3,), (3, 4)),
    ("i8", "f32"): ((3, 4), (3,)),
    ("f64", "f32"): ((3,), (3, 2)),
    ("i4", "i8"): ((4, 2), (4,)),
    ("i8", "i4"): ((4,), (4, 2)),
    ("i32", "i4"): ((2,), (2, 8)),
    ("f32", "i16"): ((), (2,)),
    ("complex<f32>", "complex<f32>"): ((3,), (3,)),
}


@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_bits_are_read_as_another_type_of_any_width(run_by_xla, source, target):
    given, result = SHAPES[source, target]
    dtypes = DTYPES | {"i16": np.int16, "ui16": np.uint16}
    number = np.arange(1, 1 + int(np.prod(given))).reshape(given)
    values = (number * (1.1 if source[0] in "fbc" else 1)).astype(dtypes[source])
    text = bitcast("x".join([*map(str, given), source]), "x".join([*map(str, result), target]))
    found = lifted(text, values)[0]
    assert np.asarray(found).tobytes() == run_by_xla(text, values)[0].tobytes()


def test_bits_of_booleans_are_named_as_not_liftable():
    with pytest.raises(UnsupportedError, match=r"bitcast_convert .*the bits of int8 as bool"):
        lift_module(bitcast("3xi8", "3x8xi1"))


def test_the_derivative_of_a_conversion_comes_back_in_the_source_type():
    text = """func.func @main(%x: tensor<2xf32>) -> tensor<2xf64> {
  %y = stablehlo.convert %x : (tensor<2xf32>) -> tensor<2xf64>
  %z = stablehlo.multiply %y, %y : tensor<2xf64>
  return %z : tensor<2xf64>
}"""
    converted = lift_module(text)
    with jax.enable_x64(True):
        found = jax.grad(lambda x: converted(x)[0].sum())(jnp.array([1.0, 3.0], jnp.float32))
    assert found.dtype == np.float32
    assert found.tolist() == [2.0, 6.0]
