"""Constants: every element type, in each form that MLIR prints, with the numbers of the module."""

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
    **{f"i{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"ui{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "bf16": ml_dtypes.bfloat16,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "f8E8M0FNU": ml_dtypes.float8_e8m0fnu,
    "complex<f32>": np.complex64,
    "complex<f64>": np.complex128,
}
NARROW = {
    "i2": ml_dtypes.int2,
    "i4": ml_dtypes.int4,
    "ui2": ml_dtypes.uint2,
    "ui4": ml_dtypes.uint4,
}


def constant(literal: str, type_: str) -> str:
    return f"""func.func @main() -> tensor<{type_}> {{
  %c = stablehlo.constant {literal} : tensor<{type_}>
  return %c : tensor<{type_}>
}}"""


def lifted(literal: str, type_: str, *, tail: str = "") -> np.ndarray:
    return np.asarray(lift_module(constant(literal, type_) + tail)()[0])


@pytest.mark.parametrize("count", [6, 150], ids=["as a list", "as bytes"])
@pytest.mark.parametrize("element", DTYPES)
def test_a_constant_has_the_bits_of_the_module(element, count):
    dtype = np.dtype(DTYPES[element])
    size = count * dtype.itemsize
    if element == "i1":
        wanted = np.arange(count) % 3 == 0
    elif dtype.kind in "iu":
        wanted = np.frombuffer(np.random.default_rng(0).bytes(size), dtype)
    elif dtype.kind == "c":
        wanted = np.linspace(-3, 7, count).astype(dtype) * (1 - 2j)
        wanted[:2] = complex(np.nan, -np.inf), complex(-0.0, 1e-40)
        wanted = wanted.astype(dtype)
    else:
        wanted = np.frombuffer(np.random.default_rng(0).bytes(size), dtype)
    found = lifted(f'dense<"0x{wanted.tobytes().hex()}">', f"2x{count // 2}x{element}")
    assert found.dtype == dtype
    assert found.shape == (2, count // 2)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("count", [1, 150], ids=["as a list", "as bytes"])
@pytest.mark.parametrize("element", NARROW)
def test_integers_of_a_few_bits_keep_their_sign(element, count):
    bits = int(element[-1])
    numbers = range(1 << bits) if element[0] == "u" else range(-(1 << bits - 1), 1 << bits - 1)
    values = list(numbers) * count
    literal = f"dense<[{', '.join(map(str, values))}]>"
    found = lifted(literal, f"{len(values)}x{element}")
    assert found.dtype == NARROW[element]
    assert found.astype(int).tolist() == values


@pytest.mark.parametrize(
    ("literal", "element", "bits"),
    [
        ("0x7FC00001", "f32", 0x7FC00001),
        ("0xFF800000", "f32", 0xFF800000),
        ("0x7FC1", "bf16", 0x7FC1),
        ("0xFF80", "bf16", 0xFF80),
        ("0x7F", "f8E4M3FN", 0x7F),
        ("-0.0", "bf16", 0x8000),
        ("1.0e-40", "bf16", 0x0001),
    ],
)
def test_nan_infinities_and_zeros_keep_their_bits(literal, element, bits):
    found = lifted(f"dense<[{literal}, 1.0]>", f"2x{element}")
    assert int(found.view(f"u{found.dtype.itemsize}")[0]) == bits


def test_complex_numbers_may_be_written_in_bits():
    found = lifted("dense<[(1.5, -2.0), (0x7F800000, -0.0)]>", "2xcomplex<f32>")
    assert found[0] == 1.5 - 2j
    assert found[1].real == np.inf
    assert np.signbit(found[1].imag)


@pytest.mark.parametrize("element", ["f32", "bf16", "i4", "i64", "i1", "complex<f32>"])
def test_a_constant_may_be_empty(element):
    assert lifted("dense<>", f"0x3x{element}").shape == (0, 3)


@pytest.mark.parametrize(
    ("literal", "element"),
    [("1.5", "f32"), ("1.5", "bf16"), ("7", "i32"), ("3", "i4"), ("(1.0, 2.0)", "complex<f32>")],
)
def test_one_number_for_all_elements_is_one_number_in_the_jaxpr(literal, element):
    traced = jax.make_jaxpr(lift_module(constant(f"dense<{literal}>", f"1000x1000x{element}")))()
    assert [equation.primitive.name for equation in traced.eqns] == ["broadcast_in_dim"]
    assert all(np.size(value) == 1 for value in traced.consts)
    assert traced.out_avals[0].shape == (1000, 1000)


def test_the_numbers_of_a_big_constant_are_not_copied():
    count = 1 << 16
    text = constant(f'dense<"0x{np.arange(count, dtype="f4").tobytes().hex()}">', f"{count}xf32")
    step = lift_module(text).program.body.steps[0]
    first, second = step.run(), step.run()
    assert first is second
    assert first.base is not None
    np.testing.assert_array_equal(first, np.arange(count))


RESOURCES = """
{-#
  dialect_resources: {
    builtin: {
      blob: "0x040000000000803F00000040",
      "odd name": "0x04000000803F0040"
    }
  }
#-}
"""


def test_a_resource_is_found_at_the_end_of_the_text():
    found = lifted("dense_resource<blob>", "2xf32", tail=RESOURCES)
    assert found.tolist() == [1.0, 2.0]


def test_a_resource_may_have_any_name_and_element_type():
    found = lifted('dense_resource<"odd name">', "2xbf16", tail=RESOURCES)
    assert found.dtype == jnp.bfloat16
    assert found.astype(float).tolist() == [1.0, 2.0]


def test_a_resource_that_is_not_there_is_named():
    with pytest.raises(UnsupportedError, match="a constant whose numbers, resource 'blob'"):
        lift_module(constant("dense_resource<blob>", "2xf32"))


def test_a_resource_of_another_size_is_refused():
    with pytest.raises(UnsupportedError, match="a resource of 2 elements"):
        lift_module(constant("dense_resource<blob>", "3xf32") + RESOURCES)
