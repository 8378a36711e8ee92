"""Contractions and convolutions: every attribute gives the numbers that XLA gives."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks


def drawn(*shape: int, dtype: type = np.float32, seed: int = 0):
    random = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.integer):
        return random.integers(-90, 90, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


def exported(function, *arguments, **options):
    return bytes(jax.export.export(jax.jit(function), **options)(*arguments).mlir_module_serialized)


def dot_general(lhs, rhs, result, settings):
    return (
        f"func.func @main(%x: tensor<{lhs}>, %y: tensor<{rhs}>) -> tensor<{result}> {{\n"
        f"  %z = stablehlo.dot_general %x, %y, {settings}"
        f" : (tensor<{lhs}>, tensor<{rhs}>) -> tensor<{result}>\n"
        f"  return %z : tensor<{result}>\n}}"
    )


def test_batching_and_contracting_dimensions_may_be_anywhere():
    text = dot_general(
        "5x2x3xf32",
        "3x4x5xf32",
        "5x2x4xf32",
        "batching_dims = [0] x [2], contracting_dims = [2] x [0]",
    )
    x, y = drawn(5, 2, 3), drawn(3, 4, 5)
    np.testing.assert_allclose(lift_module(text)(x, y)[0], np.einsum("bij,jkb->bik", x, y), 1e-5)


@pytest.mark.parametrize(
    ("lhs", "rhs", "result"),
    [
        ("i8", "i8", "i32"),
        ("i32", "i32", "i8"),
        ("i8", "i8", "i8"),
        ("i32", "i32", "f32"),
        ("f32", "f32", "bf16"),
        ("bf16", "bf16", "f32"),
        ("bf16", "f32", "f32"),
        ("f16", "f16", "f16"),
        ("ui8", "ui8", "ui32"),
        ("i1", "i1", "i1"),
        ("f8E4M3FN", "f8E5M2", "f32"),
        ("complex<f32>", "complex<f32>", "complex<f32>"),
    ],
)
def test_the_result_has_the_type_and_bits_of_the_module(run_by_xla, lhs, rhs, result):
    text = dot_general(f"3x4x{lhs}", f"4x2x{rhs}", f"3x2x{result}", "contracting_dims = [1] x [0]")
    lifted = lift_module(text)
    inputs = [drawn(3, 4, seed=1) * 3, drawn(4, 2, seed=2) * 3]
    x, y = (array.astype(kind.dtype) for array, kind in zip(inputs, lifted.inputs, strict=True))
    found, expected = lifted(x, y)[0], run_by_xla(text, x, y)[0]
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(
        np.asarray(found).astype(np.complex64), expected.astype(np.complex64), 1e-5
    )


def test_precision_is_kept_for_each_operand():
    def function(x, y):
        return jax.lax.dot(x, y, precision=("highest", "default"))

    x, y = drawn(2, 3), drawn(3, 4)
    jaxpr = str(jax.make_jaxpr(lift_module(exported(function, x, y)))(x, y))
    assert "precision=(Precision.HIGHEST, Precision.DEFAULT)" in jaxpr


def test_precision_is_the_modules_whatever_jax_is_configured_with():
    x, y = drawn(2, 3), drawn(3, 4)
    lifted = lift_module(exported(jnp.dot, x, y))
    with jax.default_matmul_precision("highest"):
        assert "HIGHEST" not in str(jax.make_jaxpr(lifted)(x, y))


@pytest.mark.parametrize(
    "preset",
    ["BF16_BF16_F32", "BF16_BF16_F32_X3", "TF32_TF32_F32", "TF32_TF32_F32_X3", "F32_F32_F32"],
)
def test_the_algorithm_comes_back(preset):
    def function(x, y):
        return jax.lax.dot(x, y, precision=jax.lax.DotAlgorithmPreset[preset])

    x, y = drawn(2, 3), drawn(3, 4)
    lifted = lift_module(exported(function, x, y, platforms=("cuda",)))
    assert f"precision={preset}\n" in str(jax.make_jaxpr(lifted)(x, y))


def test_a_contraction_of_symbolic_sizes_stays_symbolic():
    (b, n) = jax.export.symbolic_shape("b, n")
    specs = [jax.ShapeDtypeStruct((b, n), np.float32), jax.ShapeDtypeStruct((n, 4), np.float32)]
    lifted = lift_module(exported(jnp.dot, *specs))
    again = jax.export.export(jax.jit(lifted))(*specs)
    assert str(again.out_avals[0].shape) == "(b, 4)"
    x, y = drawn(2, 3), drawn(3, 4)
    np.testing.assert_allclose(again.call(x, y)[0], x @ y, 1e-5)


def test_the_older_dot_takes_vectors_and_matrices():
    text = """func.func @main(%x: tensor<3xf32>, %y: tensor<3x4xf32>) -> tensor<4xf32> {
      %z = stablehlo.dot %x, %y, precision = [HIGH, HIGH]
        : (tensor<3xf32>, tensor<3x4xf32>) -> tensor<4xf32>
      return %z : tensor<4xf32>
    }"""
    x, y = drawn(3), drawn(3, 4)
    np.testing.assert_allclose(lift_module(text)(x, y)[0], x @ y, 1e-5)


def test_an_einsum_is_its_configuration():
    text = """func.func @main(%x: tensor<2x3xf32>, %y: tensor<3x4xf32>) -> tensor<4x2xf32> {
      %z = "stablehlo.einsum"(%x, %y) {einsum_config = "ij,jk->ki"}
        : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<4x2xf32>
      return %z : tensor<4x2xf32>
    }"""
    x, y = drawn(2, 3), drawn(3, 4)
    np.testing.assert_allclose(lift_module(text)(x, y)[0], (x @ y).T, 1e-5)


def test_a_unary_einsum_sums_and_transposes():
    text = """func.func @main(%x: tensor<2x3x4xf32>) -> tensor<4x2xf32> {
      %z = "stablehlo.unary_einsum"(%x) {einsum_config = "ijk->ki"}
        : (tensor<2x3x4xf32>) -> tensor<4x2xf32>
      return %z : tensor<4x2xf32>
    }"""
    x = drawn(2, 3, 4)
    np.testing.assert_allclose(lift_module(text)(x)[0], x.sum(1).T, 1e-5)


CONVOLUTIONS = {
    "plain": ("1x5x5x2", "3x3x2x4", "1x3x3x4", "pad = [[0, 0], [0, 0]]", 1, 1),
    "uneven": (
        "1x5x6x2",
        "2x3x2x4",
        "1x4x3x4",
        "stride = [2, 3], pad = [[1, 2], [-1, 5]]",
        1,
        1,
    ),
    "dilated": (
        "1x5x5x2",
        "2x2x2x4",
        "1x8x7x4",
        "pad = [[1, 0], [0, 0]], lhs_dilate = [2, 2], rhs_dilate = [2, 2]",
        1,
        1,
    ),
    "reversed": (
        "1x5x5x2",
        "2x3x2x4",
        "1x4x3x4",
        "pad = [[0, 0], [0, 0]], reverse = [true, false]",
        1,
        1,
    ),
    "feature groups": ("1x5x5x4", "3x3x2x6", "1x3x3x6", "pad = [[0, 0], [0, 0]]", 2, 1),
    "batch groups": ("4x5x5x2", "3x3x2x6", "2x3x3x6", "pad = [[0, 0], [0, 0]]", 1, 2),
}


def convolution(name, numbers="[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]", dtype="f32"):
    lhs, rhs, result, window, features, batches = CONVOLUTIONS[name]
    return (
        f"func.func @main(%x: tensor<{lhs}x{dtype}>, %y: tensor<{rhs}x{dtype}>)"
        f" -> tensor<{result}x{dtype}> {{\n"
        f"  %z = stablehlo.convolution(%x, %y) dim_numbers = {numbers}, window = {{{window}}}"
        f" {{feature_group_count = {features} : i64, batch_group_count = {batches} : i64}}"
        f" : (tensor<{lhs}x{dtype}>, tensor<{rhs}x{dtype}>) -> tensor<{result}x{dtype}>\n"
        f"  return %z : tensor<{result}x{dtype}>\n}}"
    )


def sizes(shape):
    return tuple(map(int, shape.split("x")))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_of_any_form_gives_what_xla_gives(run_by_xla, name):
    text = convolution(name)
    x, y = drawn(*sizes(CONVOLUTIONS[name][0])), drawn(*sizes(CONVOLUTIONS[name][1]), seed=1)
    np.testing.assert_allclose(
        lift_module(text)(x, y)[0], run_by_xla(text, x, y)[0], rtol=1e-4, atol=1e-5
    )


def test_a_convolution_of_integers_is_exact(run_by_xla):
    text = convolution("plain", dtype="i32")
    x, y = drawn(1, 5, 5, 2, dtype=np.int32), drawn(3, 3, 2, 4, dtype=np.int32)
    np.testing.assert_array_equal(lift_module(text)(x, y)[0], run_by_xla(text, x, y)[0])


def test_the_dimensions_of_a_convolution_may_have_any_order(run_by_xla):
    text = """func.func @main(%x: tensor<5x2x1x6xf32>, %y: tensor<2x3x2x4xf32>)
        -> tensor<4x5x1x3xf32> {
      %z = stablehlo.convolution(%x, %y)
        dim_numbers = [1, f, b, 0]x[0, 1, i, o]->[f, 0, b, 1], window = {pad = [[0, 0], [0, 0]]}
        {feature_group_count = 1 : i64, batch_group_count = 1 : i64}
        : (tensor<5x2x1x6xf32>, tensor<2x3x2x4xf32>) -> tensor<4x5x1x3xf32>
      return %z : tensor<4x5x1x3xf32>
    }"""
    x, y = drawn(5, 2, 1, 6), drawn(2, 3, 2, 4)
    np.testing.assert_allclose(
        lift_module(text)(x, y)[0], run_by_xla(text, x, y)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_gradients_of_a_convolution_are_the_originals(strides):
    def function(x, y):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, y, strides, "SAME", dimension_numbers=numbers)

    x, y = drawn(2, 6, 7, 3), drawn(3, 3, 3, 4)
    lifted = lift_module(exported(function, x, y))
    for found, expected in zip(
        jax.grad(lambda *a: jnp.sum(jnp.sin(lifted(*a)[0])), (0, 1))(x, y),
        jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), (0, 1))(x, y),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_convolution_of_a_symbolic_batch_and_image_stays_symbolic():
    def function(x, y):
        return jax.lax.conv_general_dilated(
            x, y, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    b, h = jax.export.symbolic_shape("b, h", constraints=["h >= 3"])
    y = drawn(3, 3, 3, 4)
    specs = [jax.ShapeDtypeStruct((b, h, h, 3), np.float32), y]
    lifted = lift_module(exported(function, *specs))
    again = jax.export.export(jax.jit(lifted))(*specs)
    for size in (5, 6):
        x = drawn(2, size, size, 3)
        np.testing.assert_allclose(again.call(x, y)[0], function(x, y), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(lifted(x, y)[0], function(x, y), rtol=1e-4, atol=1e-5)


def test_padding_that_is_a_symbolic_size_is_padded_first():
    text = """func.func @main(%x: tensor<1x?x1xf32>, %y: tensor<2x1x1xf32>) -> tensor<1x?x1xf32> {
      %n = stablehlo.get_dimension_size %x, dim = 1 : (tensor<1x?x1xf32>) -> tensor<i32>
      %v = stablehlo.reshape %n : (tensor<i32>) -> tensor<1xi32>
      %p = stablehlo.concatenate %v, %v, dim = 0 : (tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
      %q = stablehlo.reshape %p : (tensor<2xi32>) -> tensor<1x2xi32>
      %z = "stablehlo.dynamic_conv"(%x, %y, %q) <{
        dimension_numbers = #stablehlo.conv<[b, 0, f]x[0, i, o]->[b, 0, f]>,
        feature_group_count = 1 : i64, batch_group_count = 1 : i64,
        lhs_dilation = array<i64: 2>
      }> : (tensor<1x?x1xf32>, tensor<2x1x1xf32>, tensor<1x2xi32>) -> tensor<1x?x1xf32>
      return %z : tensor<1x?x1xf32>
    }"""
    (n,) = jax.export.symbolic_shape("n")
    specs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in ((1, n, 1), (2, 1, 1))]
    found = jax.export.export(jax.jit(lift_module(text)))(*specs)
    x, y = np.array([1, 2, 3], np.float32), np.array([1, 10], np.float32)
    padded = np.array([0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 0], np.float32)
    expected = padded[:-1] * y[0] + padded[1:] * y[1]
    result = found.call(x.reshape(1, 3, 1), y.reshape(2, 1, 1))[0]
    np.testing.assert_allclose(result.reshape(-1), expected)


@pytest.mark.parametrize(
    ("operand", "accumulation", "count"),
    [("tf32", "f32", 1), ("tf32", "f32", 3), ("f16", "f32", 1), ("bf16", "f32", 9)],
)
def test_an_algorithm_that_a_processor_lacks_is_what_xla_makes_of_it(
    run_by_xla, operand, accumulation, count
):
    text = f"""func.func @main(%x: tensor<3x4xf32>, %y: tensor<4x2xf32>) -> tensor<3x2xf32> {{
      %z = "stablehlo.dot_general"(%x, %y) {{
        dot_dimension_numbers = #stablehlo.dot<
          lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0]>,
        algorithm = #stablehlo.dot_algorithm<
          lhs_precision_type = {operand}, rhs_precision_type = {operand},
          accumulation_type = {accumulation}, lhs_component_count = 1, rhs_component_count = 1,
          num_primitive_operations = {count}, allow_imprecise_accumulation = false>
      }} : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
      return %z : tensor<3x2xf32>
    }}"""
    x, y = (
        np.linspace(-1, 1, n, dtype=np.float32).reshape(s) for n, s in ((12, (3, 4)), (8, (4, 2)))
    )
    (expected,) = run_by_xla(text, x, y)
    np.testing.assert_allclose(lift_module(text)(x, y)[0], expected, rtol=1e-6)
