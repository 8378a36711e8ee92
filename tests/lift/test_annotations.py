"""What changes no number: tuples, tokens, barriers and shardings; and what is bound to a mesh."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

X = np.arange(32, dtype=np.float32).reshape(8, 4)


def test_a_tuple_gives_back_its_elements():
    text = """func.func @main(%x: tensor<2xf32>, %y: tensor<3xi32>)
    -> (tensor<3xi32>, tensor<2xf32>) {
  %token = stablehlo.create_token : !stablehlo.token
  %all = stablehlo.after_all %token, %token : !stablehlo.token
  %t = stablehlo.tuple %x, %all, %y : tuple<tensor<2xf32>, !stablehlo.token, tensor<3xi32>>
  %u = stablehlo.tuple %t, %x : tuple<tuple<tensor<2xf32>, !stablehlo.token, tensor<3xi32>>,
    tensor<2xf32>>
  %v = stablehlo.get_tuple_element %u[0] : (tuple<tuple<tensor<2xf32>, !stablehlo.token,
    tensor<3xi32>>, tensor<2xf32>>) -> tuple<tensor<2xf32>, !stablehlo.token, tensor<3xi32>>
  %0 = stablehlo.get_tuple_element %v[2] : (tuple<tensor<2xf32>, !stablehlo.token,
    tensor<3xi32>>) -> tensor<3xi32>
  %1 = stablehlo.get_tuple_element %v[0] : (tuple<tensor<2xf32>, !stablehlo.token,
    tensor<3xi32>>) -> tensor<2xf32>
  return %0, %1 : tensor<3xi32>, tensor<2xf32>
}"""
    x, y = np.ones(2, np.float32), np.arange(3, dtype=np.int32)
    for found in (lift_module(text)(x, y), jax.jit(lift_module(text))(x, y)):
        np.testing.assert_array_equal(found[0], y)
        np.testing.assert_array_equal(found[1], x)


def test_a_function_may_take_and_return_a_token():
    text = """func.func @main(%t: !stablehlo.token, %x: tensor<2xf32>)
    -> (!stablehlo.token, tensor<2xf32>) {
  %0 = stablehlo.after_all %t : !stablehlo.token
  return %0, %x : !stablehlo.token, tensor<2xf32>
}"""
    x = np.ones(2, np.float32)
    token, found = jax.jit(lift_module(text))(jax.lax.create_token(), x)
    assert token.size == 0
    np.testing.assert_array_equal(found, x)


def test_a_barrier_stays_a_barrier_and_has_a_derivative():
    def function(x):
        square, size = jax.lax.optimization_barrier((x * x, x.shape[0]))
        return (square * size).sum()

    exported = jax.export.export(jax.jit(function))(X)
    lifted = lift_module(bytes(exported.mlir_module_serialized))
    assert "optimization_barrier" in str(jax.make_jaxpr(lifted)(X))
    found = jax.grad(lambda x: lifted(x)[0])(X)
    np.testing.assert_allclose(found, jax.grad(function)(X), rtol=1e-6)


@pytest.fixture
def mesh() -> Mesh:
    """Two by two CPU devices whose axes are "x" and "y"."""
    return jax.make_mesh(
        (2, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices("cpu")[:4]
    )


def annotated(sharding: str) -> str:
    return f"""module {{
  sdy.mesh @mesh = <["x"=2, "y"=2]>
  func.func @main(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {{
    %y = sdy.sharding_constraint %x <@mesh, {sharding}> : tensor<8x4xf32>
    return %y : tensor<8x4xf32>
  }}
}}"""


@pytest.mark.parametrize(
    ("sharding", "spec"),
    [
        ('[{"x"}, {}]', P("x", None)),
        ('[{"x", "y"}, {?}]', P(("x", "y"), P.UNCONSTRAINED)),
        ('[{}, {"y", ?}]', P(None, "y")),
        ("[{}, {}]", P(None, None)),
    ],
)
def test_an_annotation_is_a_constraint_on_the_callers_mesh(mesh, sharding, spec):
    traced = jax.make_jaxpr(lift_module(annotated(sharding), mesh=mesh))(X)
    wanted = jax.make_jaxpr(
        lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
    )(X)
    assert traced.eqns[0].params["sharding"] == wanted.eqns[0].params["sharding"]


def test_the_constraint_places_the_result(mesh):
    lifted = lift_module(annotated('[{"x"}, {"y"}]'), mesh=mesh)
    found = jax.jit(lifted)(X)[0]
    assert found.sharding.is_equivalent_to(NamedSharding(mesh, P("x", "y")), 2)
    np.testing.assert_array_equal(found, X)


def test_an_annotation_without_a_mesh_is_nothing():
    assert not jax.make_jaxpr(lift_module(annotated('[{"x"}, {}]')))(X).eqns


def test_an_annotation_with_other_axes_is_nothing(mesh):
    other = Mesh(mesh.devices, ("rows", "columns"))
    assert not jax.make_jaxpr(lift_module(annotated('[{"x"}, {}]'), mesh=other))(X).eqns


def test_an_axis_that_is_split_is_nothing(mesh):
    text = annotated('[{"x":(1)2}, {}]').replace('"x"=2', '"x"=4')
    assert not jax.make_jaxpr(lift_module(text, mesh=mesh))(X).eqns


def test_a_dimension_that_the_mesh_does_not_divide_is_left_open():
    mesh = jax.make_mesh((3,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:3])
    lifted = lift_module(annotated('[{"x"}, {}]'), mesh=mesh)
    np.testing.assert_array_equal(jax.jit(lifted)(X)[0], X)


def test_an_annotation_of_a_symbolic_size_is_a_constraint(mesh):
    text = annotated('[{"x"}, {}]').replace("8x4", "?x4")
    spec = jax.ShapeDtypeStruct(jax.export.symbolic_shape("2*b, 4"), np.float32)
    exported = jax.export.export(jax.jit(lift_module(text, mesh=mesh)))(spec)
    assert "sharding_constraint" in exported.mlir_module()


def test_the_annotations_of_an_exported_function_come_back(mesh):
    def function(x):
        rows = jax.lax.with_sharding_constraint(x * 2, NamedSharding(mesh, P("x", None)))
        return jax.lax.with_sharding_constraint(rows + 1, NamedSharding(mesh, P(None, "y")))

    exported = jax.export.export(jax.jit(function))(X)
    artifact = bytes(exported.mlir_module_serialized)
    found = jax.jit(lift_module(artifact, mesh=mesh))(X)[0]
    assert found.sharding.is_equivalent_to(NamedSharding(mesh, P(None, "y")), 2)
    np.testing.assert_array_equal(found, X * 2 + 1)
    np.testing.assert_array_equal(lift_module(artifact)(X)[0], X * 2 + 1)


GSPMD = """func.func @main(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {{
  %y = stablehlo.custom_call @Sharding(%x) {{mhlo.sharding = "{sharding}"}}
    : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}}"""


def test_numbered_devices_are_no_constraint(mesh):
    text = GSPMD.format(sharding="{devices=[2,1,2]<=[4] last_tile_dim_replicate}")
    assert not jax.make_jaxpr(lift_module(text, mesh=mesh))(X).eqns


def test_a_replicated_value_is_replicated_on_any_mesh(mesh):
    text = GSPMD.format(sharding="{replicated}")
    found = jax.jit(lift_module(text, mesh=mesh))(X)[0]
    assert found.sharding.is_equivalent_to(NamedSharding(mesh, P()), 2)


def test_annotations_that_carry_no_number_pass_values_on():
    text = """func.func @main(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = sdy.propagation_barrier %x allowed_direction=NONE : tensor<8x4xf32>
  sdy.sharding_group %0 group_id=3 : tensor<8x4xf32>
  %1 = sdy.named_computation<"inner">(%0) (%a: tensor<8x4xf32>) {
    %2 = stablehlo.add %a, %a : tensor<8x4xf32>
    sdy.return %2 : tensor<8x4xf32>
  } : (tensor<8x4xf32>) -> tensor<8x4xf32>
  return %1 : tensor<8x4xf32>
}"""
    np.testing.assert_array_equal(lift_module(text)(X)[0], X + X)


def test_a_manual_computation_is_named(mesh):
    function = jax.shard_map(
        lambda x: jax.lax.psum(x, "x"), mesh=mesh, in_specs=P("x"), out_specs=P()
    )
    exported = jax.export.export(jax.jit(function))(jnp.asarray(X))
    with pytest.raises(UnsupportedError, match="shard_map") as caught:
        lift_module(bytes(exported.mlir_module_serialized))
    assert "a collective, which is bound to its mesh" in str(caught.value)


REFUSED = {
    "all_reduce": """
  %y = "stablehlo.all_reduce"(%x) ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) {replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>} : (tensor<4xf32>) -> tensor<4xf32>""",
    "all_gather": """
  %y = "stablehlo.all_gather"(%x) {all_gather_dim = 0 : i64,
    replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>} : (tensor<4xf32>) -> tensor<8xf32>""",
    "collective_permute": """
  %y = "stablehlo.collective_permute"(%x) {
    source_target_pairs = dense<[[0, 1]]> : tensor<1x2xi64>} : (tensor<4xf32>) -> tensor<4xf32>""",
    "partition_id": """
  %y = stablehlo.partition_id : tensor<ui32>""",
    "replica_id": """
  %y = stablehlo.replica_id : tensor<ui32>""",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_bound_to_a_mesh_is_named(name):
    text = f"func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{{REFUSED[name]}\n"
    with pytest.raises(UnsupportedError, match=rf"stablehlo.{name} \(.*bound to its mesh\)"):
        lift_module(text + "  return %x : tensor<4xf32>\n}")
