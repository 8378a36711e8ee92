"""Elementwise operations: the numbers of XLA for every element type, at the edges of each type."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

NUMBERS = np.array(
    [0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -3.7, np.nan, np.inf, -np.inf, 1e-3, 100, 0.7]
)
FLOATS = {
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
    "bf16": ml_dtypes.bfloat16,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
}
INTEGERS = {
    **{f"i{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    "i4": ml_dtypes.int4,
}
UNSIGNED = {
    **{f"ui{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    "ui4": ml_dtypes.uint4,
}
COMPLEX = {"complex<f32>": np.complex64, "complex<f64>": np.complex128}
BOOLEANS = {"i1": np.bool_}
DTYPES = FLOATS | INTEGERS | UNSIGNED | COMPLEX | BOOLEANS
REALS = {"complex<f32>": "f32", "complex<f64>": "f64"}


def edges(element: str) -> np.ndarray:
    """Returns values at the edges of an element type."""
    dtype = np.dtype(DTYPES[element])
    if element in BOOLEANS:
        return np.array([False, True])
    if element in COMPLEX:
        pairs = np.stack(np.meshgrid(NUMBERS, NUMBERS), -1).reshape(-1, 2)
        return np.ascontiguousarray(pairs[::5]).view(complex).reshape(-1).astype(dtype)
    if element in FLOATS:
        return NUMBERS.astype(dtype)
    limits = jnp.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    values = [low, low + 1, high, high - 1, 0, 1, 2, 3, 5, 7]
    values += [-1, -2, -3, -7] if low < 0 else []
    return np.array(values, np.int64 if low < 0 else np.uint64).astype(dtype)


def pairs(element: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns each edge of a type with each other."""
    values = edges(element)
    first, second = np.meshgrid(values[:24], values[:24])
    return first.reshape(-1), second.reshape(-1)


def of_operation(name: str, inputs: list[np.ndarray], types: list[str], result: str) -> str:
    """Returns a module of one operation on vectors of one size."""
    size = len(inputs[0])
    given = [f"tensor<{size}x{element}>" for element in types]
    arguments = ", ".join(f"%x{i}: {found}" for i, found in enumerate(given))
    operands = ", ".join(f"%x{i}" for i in range(len(given)))
    returned = f"tensor<{size}x{result}>"
    return (
        f"func.func @main({arguments}) -> {returned} {{\n"
        f'  %y = "stablehlo.{name}"({operands}) : ({", ".join(given)}) -> {returned}\n'
        f"  return %y : {returned}\n}}"
    )


def require_same(found, wanted):
    """Compares bit by bit, but for which NaN it is."""
    assert found.dtype == wanted.dtype
    if found.dtype.kind == "c":
        found, wanted = (a.view(a.real.dtype) for a in (found, wanted))
    if not jnp.issubdtype(found.dtype, jnp.floating):
        np.testing.assert_array_equal(found, wanted)
        return
    found, wanted = (np.asarray(a).astype(np.float64) for a in (found, wanted))
    np.testing.assert_array_equal(found, wanted)
    is_number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(wanted)[is_number])


def lifted(text: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """Returns what the lifted module gives under jit."""
    with jax.enable_x64(True):
        given = [jnp.asarray(array) for array in arrays]
        return [np.asarray(result) for result in jax.jit(lift_module(text))(*given)]


def require_as_xla(run_by_xla, name, arrays, element, result=None):
    text = of_operation(name, arrays, [element] * len(arrays), result or element)
    require_same(lifted(text, *arrays)[0], run_by_xla(text, *arrays)[0])


@pytest.mark.parametrize("element", FLOATS)
@pytest.mark.parametrize(
    "name",
    [
        "abs",
        "cbrt",
        "ceil",
        "cosine",
        "exponential",
        "exponential_minus_one",
        "floor",
        "log",
        "log_plus_one",
        "logistic",
        "negate",
        "round_nearest_afz",
        "round_nearest_even",
        "rsqrt",
        "sign",
        "sine",
        "sqrt",
        "tan",
        "tanh",
    ],
)
def test_a_unary_operation_on_floats_gives_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, [edges(element)], element)


@pytest.mark.parametrize("element", COMPLEX)
@pytest.mark.parametrize(
    "name",
    [
        "exponential",
        "exponential_minus_one",
        "log",
        "log_plus_one",
        "logistic",
        "negate",
        "rsqrt",
        "sign",
        "sqrt",
        "tan",
        "tanh",
    ],
)
def test_a_unary_operation_on_complex_numbers_gives_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, [edges(element)], element)


@pytest.mark.parametrize("element", COMPLEX)
@pytest.mark.parametrize("name", ["sine", "cosine"])
def test_sine_and_cosine_of_complex_numbers_are_numpys(name, element):
    values = edges(element)
    values = values[np.isfinite(values) & (abs(values.imag) < 50)]
    text = of_operation(name, [values], [element], element)
    function = {"sine": np.sin, "cosine": np.cos}[name]
    tolerance = 1e-6 if element == "complex<f32>" else 1e-14
    np.testing.assert_allclose(lifted(text, values)[0], function(values), tolerance, tolerance)


@pytest.mark.parametrize("element", COMPLEX)
@pytest.mark.parametrize("name", ["real", "imag"])
def test_parts_of_complex_numbers_are_real(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, [edges(element)], element, REALS[element])


@pytest.mark.parametrize("element", COMPLEX)
def test_the_size_of_a_complex_number_is_real(element):
    values = edges(element)
    # The size of infinity beside NaN is one or the other, by the version of XLA.
    is_open = np.isnan(values) & (np.isinf(values.real) | np.isinf(values.imag))
    values = values[~is_open]
    text = of_operation("abs", [values], [element], REALS[element])
    found = lifted(text, values)[0]
    assert found.dtype == np.dtype(DTYPES[REALS[element]])
    np.testing.assert_allclose(found, np.abs(values), 1e-6, np.finfo(found.dtype).tiny)


@pytest.mark.parametrize("element", FLOATS)
def test_a_float_is_its_own_real_part_and_has_no_imaginary_one(element):
    values = edges(element)
    real = of_operation("real", [values], [element], element)
    imaginary = of_operation("imag", [values], [element], element)
    require_same(lifted(real, values)[0], values)
    require_same(lifted(imaginary, values)[0], np.zeros_like(values))


@pytest.mark.parametrize("element", FLOATS)
def test_is_finite_tells_numbers_from_infinities_and_nan(element):
    values = edges(element)
    text = of_operation("is_finite", [values], [element], "i1")
    np.testing.assert_array_equal(lifted(text, values)[0], np.isfinite(values))


@pytest.mark.parametrize("element", INTEGERS | UNSIGNED)
@pytest.mark.parametrize("name", ["count_leading_zeros", "popcnt", "not", "negate"])
def test_a_unary_operation_on_integers_gives_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, [edges(element)], element)


@pytest.mark.parametrize("element", INTEGERS)
@pytest.mark.parametrize("name", ["abs", "sign"])
def test_the_smallest_integer_has_the_sign_and_size_that_xla_gives(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, [edges(element)], element)


@pytest.mark.parametrize("element", FLOATS | INTEGERS | UNSIGNED | COMPLEX)
@pytest.mark.parametrize("name", ["add", "divide", "multiply", "subtract"])
def test_arithmetic_gives_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, pairs(element), element)


@pytest.mark.parametrize("element", FLOATS | COMPLEX)
def test_powers_give_the_bits_of_xla(run_by_xla, element):
    require_as_xla(run_by_xla, "power", pairs(element), element)


@pytest.mark.parametrize("element", INTEGERS | UNSIGNED)
def test_powers_of_integers_wrap_as_multiplying_does(element):
    base, exponent = pairs(element)
    text = of_operation("power", [base, exponent], [element, element], element)
    found = lifted(text, base, exponent)[0]
    modulus = 1 << jnp.iinfo(base.dtype).bits
    for x, n, y in zip(base.tolist(), exponent.tolist(), found.tolist(), strict=True):
        wanted = pow(x, n, modulus) if n >= 0 else {1: 1, -1: 1 - 2 * (n % 2)}.get(x, 0)
        assert (y - wanted) % modulus == 0, (x, n)


@pytest.mark.parametrize("element", FLOATS | INTEGERS | UNSIGNED)
@pytest.mark.parametrize("name", ["maximum", "minimum", "remainder"])
def test_extremes_and_remainders_give_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, pairs(element), element)


@pytest.mark.parametrize("element", FLOATS)
def test_atan2_gives_the_bits_of_xla(run_by_xla, element):
    require_as_xla(run_by_xla, "atan2", pairs(element), element)


@pytest.mark.parametrize("element", INTEGERS | UNSIGNED | BOOLEANS)
@pytest.mark.parametrize("name", ["and", "or", "xor"])
def test_bitwise_operations_give_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, pairs(element), element)


@pytest.mark.parametrize("element", INTEGERS | UNSIGNED)
@pytest.mark.parametrize("name", ["shift_left", "shift_right_arithmetic", "shift_right_logical"])
def test_a_shift_beyond_the_width_gives_the_bits_of_xla(run_by_xla, name, element):
    require_as_xla(run_by_xla, name, pairs(element), element)


def test_integer_division_by_zero_and_overflow_are_defined():
    x, y = np.array([7, 0, -(2**31), -7], np.int32), np.array([0, 0, -1, 2], np.int32)
    quotient = of_operation("divide", [x, y], ["i32", "i32"], "i32")
    remainder = of_operation("remainder", [x, y], ["i32", "i32"], "i32")
    assert lifted(quotient, x, y)[0].tolist() == [-1, -1, -(2**31), -3]
    assert lifted(remainder, x, y)[0].tolist() == [7, 0, 0, -1]


def test_integer_powers_wrap_and_negative_exponents_leave_only_units():
    x = np.array([3, -2, 0, 0, 1, -1, -1, 2, -3], np.int32)
    y = np.array([21, 31, 0, 5, -4, -4, -3, -1, 2], np.int32)
    wrapped = [3**21 - 2 * 2**32, -(2**31), 1, 0, 1, 1, -1, 0, 9]
    text = of_operation("power", [x, y], ["i32", "i32"], "i32")
    assert lifted(text, x, y)[0].tolist() == wrapped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", [False, True, True, True]),
        ("multiply", [False, False, False, True]),
        ("maximum", [False, True, True, True]),
        ("minimum", [False, False, False, True]),
    ],
)
def test_arithmetic_on_booleans_is_logic(name, expected):
    x, y = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    assert lifted(of_operation(name, [x, y], ["i1", "i1"], "i1"), x, y)[0].tolist() == expected


@pytest.mark.parametrize("element", ["f32", "f64"])
def test_complex_numbers_are_made_of_two_floats(run_by_xla, element):
    result = {"f32": "complex<f32>", "f64": "complex<f64>"}[element]
    require_as_xla(run_by_xla, "complex", pairs(element), element, result)


@pytest.mark.parametrize("element", ["f32", "bf16", "i32", "ui8", "i1"])
def test_clamp_and_select_take_scalars(run_by_xla, element):
    x = edges(element)
    one, many = f"tensor<{element}>", f"tensor<{len(x)}x{element}>"
    text = f"""func.func @main(%a: {one}, %x: {many}, %b: {one}, %p: tensor<i1>)
    -> ({many}, {many}) {{
  %y = stablehlo.clamp %a, %x, %b : ({one}, {many}, {one}) -> {many}
  %z = stablehlo.select %p, %x, %y : tensor<i1>, {many}
  return %y, %z : {many}, {many}
}}"""
    arguments = (x[-1], x, x[1], np.array(False))
    for found, wanted in zip(lifted(text, *arguments), run_by_xla(text, *arguments), strict=True):
        require_same(found, wanted)


@pytest.mark.parametrize("element", FLOATS)
@pytest.mark.parametrize("form", ["e5m10", "e8m7", "e4m3", "e1m0"])
def test_reduced_precision_gives_the_bits_of_xla(run_by_xla, element, form):
    x = edges(element)
    found = f"tensor<{len(x)}x{element}>"
    text = f"""func.func @main(%x: {found}) -> {found} {{
  %y = stablehlo.reduce_precision %x, format = {form} : {found}
  return %y : {found}
}}"""
    require_same(lifted(text, x)[0], run_by_xla(text, x)[0])


def with_accuracy(mode: str) -> str:
    accuracy = f"#stablehlo.result_accuracy<{mode}>"
    return f"""func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> {{
  %y = "stablehlo.exponential"(%x) {{result_accuracy = {accuracy}}}
    : (tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}}"""


TOLERANCE = (
    "atol = 1.000000e-05, rtol = 2.500000e-01, ulps = 3, "
    "mode = #stablehlo.result_accuracy_mode<TOLERANCE>"
)


@pytest.mark.parametrize(
    ("mode", "is_asked"),
    [
        ("mode = #stablehlo.result_accuracy_mode<HIGHEST>", True),
        ("mode = #stablehlo.result_accuracy_mode<DEFAULT>", False),
        (TOLERANCE, True),
    ],
    ids=["highest", "default", "tolerance"],
)
def test_the_accuracy_that_a_module_asks_for_is_asked_again(mode, is_asked):
    lowered = jax.jit(lift_module(with_accuracy(mode))).lower(np.ones(3, np.float32)).as_text()
    assert (mode in lowered) is is_asked


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("abs", jnp.abs),
        ("cbrt", jnp.cbrt),
        ("logistic", jax.nn.sigmoid),
        ("sign", jnp.sign),
        ("tanh", jnp.tanh),
    ],
)
def test_the_derivative_is_that_of_the_jax_function(name, function):
    x = np.array([-1.5, 0.25, 2.0], np.float32)
    lifted_function = lift_module(of_operation(name, [x], ["f32"], "f32"))
    found = jax.grad(lambda x: lifted_function(x)[0].sum())(x)
    np.testing.assert_allclose(found, jax.grad(lambda x: function(x).sum())(x), rtol=1e-6)


def test_the_derivative_of_a_maximum_is_shared_at_ties():
    x = np.array([1.0, 2.0], np.float32)
    maximum = lift_module(of_operation("maximum", [x, x], ["f32", "f32"], "f32"))
    assert jax.grad(lambda x, y: maximum(x, y)[0].sum())(x, x).tolist() == [0.5, 0.5]
