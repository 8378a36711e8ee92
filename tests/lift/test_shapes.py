"""Operations that move elements, with static shapes and with shapes that are operands."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def of_one(line: str, given: str, result: str) -> str:
    return f"""func.func @main(%x: tensor<{given}>) -> tensor<{result}> {{
  %c = stablehlo.constant dense<9.0> : tensor<f32>
  %y = stablehlo.{line} -> tensor<{result}>
  return %y : tensor<{result}>
}}"""


X = np.arange(12, dtype=np.float32).reshape(3, 4)

STATIC = {
    "reshape": ("reshape %x : (tensor<3x4xf32>)", "2x6xf32", X.reshape(2, 6)),
    "transpose": ("transpose %x, dims = [1, 0] : (tensor<3x4xf32>)", "4x3xf32", X.T),
    "broadcast": (
        "broadcast %x, sizes = [2] : (tensor<3x4xf32>)",
        "2x3x4xf32",
        np.broadcast_to(X, (2, 3, 4)),
    ),
    "broadcast in other order": (
        "broadcast_in_dim %x, dims = [1, 0] : (tensor<3x4xf32>)",
        "4x3x2xf32",
        np.broadcast_to(X.T[:, :, None], (4, 3, 2)),
    ),
    "slice": ("slice %x [0:3:2, 1:4:2] : (tensor<3x4xf32>)", "2x2xf32", X[::2, 1::2]),
    "empty slice": ("slice %x [1:1, 0:4] : (tensor<3x4xf32>)", "0x4xf32", X[1:1]),
    "concatenate": (
        "concatenate %x, %x, dim = 1 : (tensor<3x4xf32>, tensor<3x4xf32>)",
        "3x8xf32",
        np.concatenate([X, X], 1),
    ),
}


@pytest.mark.parametrize("name", STATIC)
def test_elements_move_as_numpy_moves_them(name):
    line, result, expected = STATIC[name]
    np.testing.assert_array_equal(lift_module(of_one(line, "3x4xf32", result))(X)[0], expected)


def test_reverse_turns_each_dimension():
    text = """func.func @main(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %y = stablehlo.reverse %x, dims = [1, 0] : tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}"""
    np.testing.assert_array_equal(lift_module(text)(X)[0], X[::-1, ::-1])


def test_padding_may_be_negative_and_interior(run_by_xla):
    line = (
        "pad %x, %c, low = [-1, 2], high = [1, -1], interior = [1, 1]"
        " : (tensor<3x4xf32>, tensor<f32>)"
    )
    text = of_one(line, "3x4xf32", "5x8xf32")
    np.testing.assert_array_equal(lift_module(text)(X)[0], run_by_xla(text, X)[0])


@pytest.mark.parametrize("element", ["f32", "bf16", "i4", "ui8", "i64", "complex<f32>"])
def test_iota_counts_along_its_dimension(run_by_xla, element):
    text = f"""func.func @main() -> tensor<2x3x{element}> {{
  %y = stablehlo.iota dim = 1 : tensor<2x3x{element}>
  return %y : tensor<2x3x{element}>
}}"""
    found, wanted = np.asarray(lift_module(text)()[0]), run_by_xla(text)[0]
    assert found.dtype == wanted.dtype
    assert found.tobytes() == wanted.tobytes()


SLICES = """func.func @main(%x: tensor<200x2xf32>, %s: tensor<{index}>)
    -> (tensor<190x1xf32>, tensor<200x2xf32>) {{
  %y = stablehlo.dynamic_slice %x, %s, %s, sizes = [190, 1]
    : (tensor<200x2xf32>, tensor<{index}>, tensor<{index}>) -> tensor<190x1xf32>
  %z = stablehlo.dynamic_update_slice %x, %y, %s, %s
    : (tensor<200x2xf32>, tensor<190x1xf32>, tensor<{index}>, tensor<{index}>)
    -> tensor<200x2xf32>
  return %y, %z : tensor<190x1xf32>, tensor<200x2xf32>
}}"""


@pytest.mark.parametrize(
    ("index", "start"),
    [("i32", -3), ("i32", 1), ("i32", 300), ("i8", -1), ("i8", 100), ("ui8", 255), ("i64", -5)],
)
def test_starts_beyond_the_ends_are_moved_inside(run_by_xla, index, start):
    text = SLICES.format(index=index)
    dtype = {"i32": np.int32, "i8": np.int8, "ui8": np.uint8, "i64": np.int64}[index]
    arguments = drawn(200, 2), np.array(start, dtype)
    wanted = run_by_xla(text, *arguments)
    for found, expected in zip(lift_module(text)(*arguments), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_constant_negative_start_is_moved_inside_too():
    text = """func.func @main(%x: tensor<4xf32>) -> tensor<2xf32> {
  %s = stablehlo.constant dense<-1> : tensor<i32>
  %y = stablehlo.dynamic_slice %x, %s, sizes = [2]
    : (tensor<4xf32>, tensor<i32>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}"""
    assert lift_module(text)(X[0])[0].tolist() == [0.0, 1.0]


def require_same_symbolically(function, shapes, arguments) -> None:
    """Lifts an export with symbolic shapes; compares it, and exports it again symbolically."""
    scope = jax.export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape, scope=scope), argument.dtype)
        for shape, argument in zip(shapes, arguments, strict=True)
    ]
    exported = jax.export.export(jax.jit(function))(*specs)
    lifted = lift_module(bytes(exported.mlir_module_serialized))
    wanted = jax.tree.leaves(jax.jit(function)(*arguments))
    again = jax.export.export(jax.jit(lifted))(*specs)
    assert [aval.shape for aval in again.out_avals] == [aval.shape for aval in exported.out_avals]
    for results in (lifted(*arguments), jax.jit(lifted)(*arguments), again.call(*arguments)):
        for found, expected in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


SYMBOLIC = {
    "reshape": lambda x: x.reshape(-1),
    "split": lambda x: x.reshape(-1, 2, 2),
    "pad": lambda x: jnp.pad(x, ((1, x.shape[0]), (0, 1))),
    "iota": lambda x: jnp.arange(x.shape[0] * 2),
    "iota of rank 2": lambda x: lax.broadcasted_iota(jnp.int32, x.shape, 1),
    "broadcast": lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 5, 4)),
    "concatenate": lambda x: jnp.concatenate([x, x]),
    "slice": lambda x: x[1:],
    "slice with a step": lambda x: x[::2],
    "slice to a computed end": lambda x: x[: x.shape[0] - 1 : 2, ::-1],
    "size as a number": lambda x: jnp.arange(3) * x.shape[0] + (x.shape[0] // 2 - x.shape[0] % 3),
    "zeros": lambda x: jnp.zeros((x.shape[0], x.shape[0])),
    "transpose": lambda x: x.T,
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbolic_shapes_stay_symbolic(name):
    require_same_symbolically(SYMBOLIC[name], ["b, 4"], [drawn(6, 4)])


@pytest.mark.parametrize("start", [-9, -1, 0, 2, 9])
def test_a_window_of_symbolic_size_starts_where_data_says(start):
    def window(x, i):
        rows = lax.dynamic_slice(x, (i, 0), (x.shape[0] - 1, 2))
        return rows, lax.dynamic_index_in_dim(x, i, 1), lax.dynamic_update_slice(x, rows, (i, i))

    arguments = [drawn(5, 4), np.array(start, np.int32)]
    require_same_symbolically(window, ["b, 4", ""], arguments)


def test_a_window_of_symbolic_size_at_a_known_start_is_a_slice():
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 4"), np.float32)

    def window(x):
        return lax.dynamic_slice(x, (np.int32(1), np.int32(7)), (x.shape[0] - 1, 2))

    exported = jax.export.export(jax.jit(window))(spec)
    lifted = lift_module(bytes(exported.mlir_module_serialized))
    x = drawn(5, 4)
    assert [equation.primitive.name for equation in jax.make_jaxpr(lifted)(x).eqns] == ["slice"]
    np.testing.assert_array_equal(lifted(x)[0], x[1:, 2:])


def test_a_window_of_symbolic_size_has_a_derivative():
    def window(x, i):
        return (lax.dynamic_slice(x, (i, 0), (x.shape[0] - 1, 2)) ** 2).sum()

    specs = [
        jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 4"), np.float32),
        jax.ShapeDtypeStruct((), np.int32),
    ]
    exported = jax.export.export(jax.jit(window))(*specs)
    lifted = lift_module(bytes(exported.mlir_module_serialized))
    x, i = drawn(5, 4), np.int32(1)
    found = jax.grad(lambda x: lifted(x, i)[0])(x)
    np.testing.assert_allclose(found, jax.grad(window)(x, i), rtol=1e-6)


STEPS = """func.func @main(%x: tensor<9xf32>, %s: tensor<1xi32>) -> tensor<3xf32> {
  %five = stablehlo.constant dense<5> : tensor<1xi32>
  %two = stablehlo.constant dense<2> : tensor<1xi32>
  %limit = stablehlo.add %five, %s : tensor<1xi32>
  %y = stablehlo.real_dynamic_slice %x, %s, %limit, %two
    : (tensor<9xf32>, tensor<1xi32>, tensor<1xi32>, tensor<1xi32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}"""


@pytest.mark.parametrize("result", ["3xf32", "?xf32"])
def test_a_window_may_have_steps(result):
    text = STEPS.replace("tensor<3xf32>", f"tensor<{result}>")
    found = lift_module(text)(np.arange(9, dtype=np.float32), np.array([3], np.int32))[0]
    assert found.tolist() == [3.0, 5.0, 7.0]


def test_a_traced_window_of_a_size_from_data_is_named():
    text = """func.func @main(%x: tensor<9xf32>, %s: tensor<1xi32>) -> tensor<?xf32> {
  %one = stablehlo.constant dense<1> : tensor<1xi32>
  %y = stablehlo.real_dynamic_slice %x, %one, %s, %one
    : (tensor<9xf32>, tensor<1xi32>, tensor<1xi32>, tensor<1xi32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}"""
    with pytest.raises(UnsupportedError, match=r"'stablehlo.real_dynamic_slice': .*a slice whose"):
        jax.jit(lift_module(text))(X.reshape(-1)[:9], np.array([3], np.int32))


def test_a_traced_shape_from_data_is_named():
    text = """func.func @main(%s: tensor<1xi32>) -> tensor<?xf32> {
  %y = stablehlo.dynamic_iota %s, dim = 0 : (tensor<1xi32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}"""
    with pytest.raises(UnsupportedError, match=r"'stablehlo.dynamic_iota': .*a shape that is"):
        jax.jit(lift_module(text))(np.array([3], np.int32))


def test_a_shape_from_data_is_no_matter_where_the_type_tells_it():
    text = """func.func @main(%x: tensor<6xf32>, %s: tensor<2xi32>) -> tensor<2x3xf32> {
  %y = stablehlo.dynamic_reshape %x, %s : (tensor<6xf32>, tensor<2xi32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}"""
    found = lift_module(text)(X.reshape(-1)[:6], np.array([2, 3], np.int32))[0]
    np.testing.assert_array_equal(found, X.reshape(-1)[:6].reshape(2, 3))


SET_SIZE = """func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {{
  %size = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?xf32>) -> tensor<i32>
  %less = stablehlo.constant dense<1> : tensor<i32>
  %y = stablehlo.set_dimension_size %x, {size}, dim = 0
    : (tensor<?xf32>, tensor<i32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}}"""


def test_setting_a_size_to_what_it_is_does_nothing():
    np.testing.assert_array_equal(lift_module(SET_SIZE.format(size="%size"))(X[0])[0], X[0])


def test_setting_a_size_to_less_is_named():
    with pytest.raises(UnsupportedError, match="only a part counts along dimension 0"):
        lift_module(SET_SIZE.format(size="%less"))(X[0])


def test_every_movement_works_under_vmap_and_grad():
    def moved(x):
        parts = [
            x.T.reshape(-1)[2:9:3],
            jnp.pad(x, 1)[1, :3],
            x[::-1, 1],
            jnp.tile(x, (2, 1))[3:, 2],
        ]
        return sum((part**2).sum() for part in parts)

    exported = jax.export.export(jax.jit(moved))(X)
    lifted = lift_module(bytes(exported.mlir_module_serialized))
    batch = drawn(5, 3, 4)
    found = jax.vmap(jax.grad(lambda x: lifted(x)[0]))(batch)
    np.testing.assert_allclose(found, jax.vmap(jax.grad(moved))(batch), rtol=1e-6)
