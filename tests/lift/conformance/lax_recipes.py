"""How jax.lax is called, but for control flow and collectives (`control_recipes`)."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.lift.conformance.recipes import Recipe, row, sized, typed

_INTEGERS = ("i32",)
_REALS = ("f32", "i32", "bf16", "f64")
_FLOATS = ("f32", "bf16", "f64")

_SHAPES = {
    "bitcast_convert_type": typed(
        lambda t: lambda x: lax.bitcast_convert_type(x, jnp.uint8), "b,4", dtypes=_REALS
    ),
    "broadcast": row(lambda x: lax.broadcast(x, (2, 3)), "b,4"),
    "broadcast_in_dim": row(lambda x: lax.broadcast_in_dim(x, (x.shape[0], 2, 4), (0, 2)), "b,4"),
    "broadcast_like": row(lax.broadcast_like, "b,1", "b,4"),
    "broadcast_to_rank": row(lambda x: lax.broadcast_to_rank(x, 3), "b,4"),
    "broadcasted_iota": sized(lambda n, t: lax.broadcasted_iota(t, (n, 4), 0)),
    "collapse": row(lambda x: lax.collapse(x, 0, 2), "b,4,2"),
    "concatenate": row(lambda x, y: lax.concatenate([x, y], 0), "b,4", "2,4"),
    "convert_element_type": typed(
        lambda t: lambda x, y: (lax.convert_element_type(x, t), lax.convert_element_type(y, bool)),
        "b,4:i32",
        "b,4",
    ),
    "empty": sized(lambda n, t: lax.empty((n, 4), t) * 0),
    "expand_dims": row(lambda x: lax.expand_dims(x, (0, 2)), "b,4"),
    "full": sized(lambda n, t: lax.full((n, 4), 3, t)),
    "full_like": row(lax.full_like, "b,4", ""),
    "iota": sized(lambda n, t: lax.iota(t, n)),
    "pad": row(lambda x, y: lax.pad(x, y, ((0, 0, 0), (1, -1, 2))), "b,4", ""),
    "reshape": row(lambda x: lax.reshape(x, (4, x.shape[0]), (1, 0)), "b,4"),
    "rev": row(lambda x: lax.rev(x, (1,)), "b,4"),
    "split": row(lambda x: lax.split(x, (1, 3), axis=1), "b,4"),
    "squeeze": row(lambda x: lax.squeeze(x, (1,)), "b,1,4"),
    "tile": row(lambda x: lax.tile(x, (1, 2)), "b,4"),
    "transpose": row(lambda x: lax.transpose(x, (2, 0, 1)), "b,4,2"),
}

_INDEXED = {
    "dynamic_index_in_dim": row(lambda x, i: lax.dynamic_index_in_dim(x, i, 1), "b,4", ":index"),
    "dynamic_slice": row(
        lambda x, i: lax.dynamic_slice(x, (i * 0, i), (x.shape[0], 2)), "b,4", ":index"
    ),
    "dynamic_slice_in_dim": row(
        lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, axis=1), "b,4", ":index"
    ),
    "dynamic_update_index_in_dim": row(
        lambda x, y, i: lax.dynamic_update_index_in_dim(x, y, i, 1), "b,4", "b", ":index"
    ),
    "dynamic_update_slice": row(
        lambda x, y, i: lax.dynamic_update_slice(x, y, (i * 0, i)), "b,4", "b,2", ":index"
    ),
    "dynamic_update_slice_in_dim": row(
        lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y, i, 1), "b,4", "b,2", ":index"
    ),
    "gather": row(
        lambda x, i: lax.gather(
            x,
            i,
            lax.GatherDimensionNumbers(
                offset_dims=(1,), collapsed_slice_dims=(1,), start_index_map=(1,)
            ),
            (x.shape[0], 1),
            mode="fill",
        ),
        "b,4",
        "5,1:i32",
    ),
    "index_in_dim": row(lambda x: lax.index_in_dim(x, 2, 1), "b,4"),
    "index_take": row(lambda x, i: lax.index_take(x, [i], [1]), "b,4", "3:index"),
    "slice": row(lambda x: lax.slice(x, (0, 1), (x.shape[0], 4), (1, 2)), "b,4"),
    "slice_in_dim": row(lambda x: lax.slice_in_dim(x, 1, 4, 2, axis=1), "b,4"),
}

_SCATTER_DIMENSIONS = lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(1,), scatter_dims_to_operand_dims=(1,)
)


def _scatter(name: str, **options: Any) -> Recipe:
    """Returns the recipe of a scatter into columns, one of them out of bounds."""
    scatter = getattr(lax, name)
    return row(
        lambda x, i, y: scatter(x, i, y, _SCATTER_DIMENSIONS, **options), "b,4", "3,1:i32", "3,b"
    )


_SCATTERS = {
    name: _scatter(name)
    for name in ("scatter_add", "scatter_max", "scatter_min", "scatter_mul", "scatter_sub")
} | {
    # Equal indices would leave it open which update wins.
    "scatter": row(
        lambda x, i, y: lax.scatter(x, i[:3, None], y, _SCATTER_DIMENSIONS),
        "b,4",
        "4:permutation",
        "3,b",
    ),
    "scatter_apply": row(
        lambda x, i: lax.scatter_apply(
            x, i, jnp.sin, _SCATTER_DIMENSIONS, update_shape=(3, x.shape[0])
        ),
        "b,4",
        "3,1:i32",
        dtypes=("f32", "bf16", "f64", "c64"),
    ),
}

_IMAGE = ("b,2,5,6", "3,2,2,3")
_NHWC = ("NHWC", "HWIO", "NHWC")

_CONVOLUTIONS = {
    "conv": row(lambda x, k: lax.conv(x, k, (2, 1), "SAME"), *_IMAGE),
    "conv_general_dilated": row(
        lambda x, k: lax.conv_general_dilated(
            x, k, (1, 2), ((1, 0), (2, 1)), (2, 1), (1, 2), _NHWC, feature_group_count=2
        ),
        "b,5,6,4",
        "2,3,2,6",
    ),
    "conv_general_dilated_local": row(
        lambda x, k: lax.conv_general_dilated_local(x, k, (1, 1), "VALID", (2, 3)),
        "b,2,3,4",
        "3,12,2,2",
    ),
    "conv_general_dilated_patches": row(
        lambda x: lax.conv_general_dilated_patches(x, (2, 3), (1, 1), "SAME"), "b,2,5,6"
    ),
    "conv_transpose": row(
        lambda x, k: lax.conv_transpose(x, k, (2, 2), "SAME"), "b,4,5,2", "3,3,2,3"
    ),
    "conv_with_general_padding": row(
        lambda x, k: lax.conv_with_general_padding(x, k, (1, 1), ((1, 1), (0, 2)), (1, 1), (2, 1)),
        *_IMAGE,
    ),
}

_BATCHED = (((2,), (1,)), ((0,), (0,)))

_PRODUCTS = {
    "batch_matmul": row(lax.batch_matmul, "b,3,4", "b,4,2"),
    "dot": row(lax.dot, "b,4", "4,3"),
    "dot_general": row(
        lambda x, y: lax.dot_general(x, y, _BATCHED, precision="highest"), "b,3,4", "b,4,2"
    ),
    "ragged_dot": row(lax.ragged_dot, "6,4", "3,4,2", "3:count"),
    "ragged_dot_general": row(
        lambda x, y, sizes: lax.ragged_dot_general(
            x,
            y,
            sizes,
            lax.RaggedDotDimensionNumbers(
                dot_dimension_numbers=(((1,), (1,)), ((), ())),
                lhs_ragged_dimensions=[0],
                rhs_group_dimensions=[0],
            ),
        ),
        "6,4",
        "3,4,2",
        "3:count",
    ),
    "scaled_dot": row(lax.scaled_dot, "b,3,4", "b,4,2"),
}


def _pair(x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
    return x[0] + y[0], x[1] * y[1]


_REDUCTIONS = {
    "approx_max_k": row(lambda x: lax.approx_max_k(x, 2), "b,8", dtypes=_FLOATS),
    "approx_min_k": row(lambda x: lax.approx_min_k(x, 2), "b,8", dtypes=_FLOATS),
    "argmax": row(lambda x: lax.argmax(x, 1, jnp.int32), "b,4"),
    "argmin": row(lambda x: lax.argmin(x, 1, jnp.int32), "b,4"),
    "reduce": typed(
        lambda t: lambda x, y: lax.reduce((x, y), (t.type(0), t.type(1)), _pair, (1,)),
        "b,4",
        "b,4",
    ),
    "reduce_and": row(lambda x: lax.reduce_and(x, (1,)), "b,4:i32", dtypes=_INTEGERS),
    "reduce_max": row(lambda x: lax.reduce_max(x, (1,)), "b,4"),
    "reduce_min": row(lambda x: lax.reduce_min(x, (1,)), "b,4"),
    "reduce_or": row(lambda x: lax.reduce_or(x, (1,)), "b,4:i32", dtypes=_INTEGERS),
    "reduce_precision": row(lambda x: lax.reduce_precision(x, 5, 7), "b,4", dtypes=_FLOATS),
    "reduce_prod": row(lambda x: lax.reduce_prod(x, (1,)), "b,4"),
    "reduce_sum": row(lambda x: lax.reduce_sum(x, (0,)), "b,4"),
    "reduce_window": typed(
        lambda t: (
            lambda x: lax.reduce_window(
                x, t.type(0), lax.add, (1, 3), (1, 2), ((0, 0), (1, 2)), (1, 2), (1, 2)
            )
        ),
        "b,6",
    ),
    "reduce_xor": row(lambda x: lax.reduce_xor(x, (1,)), "b,4:i32", dtypes=_INTEGERS),
    "sort": row(lambda x, y: lax.sort((x, y), dimension=1, num_keys=2), "b,4", "b,4"),
    "sort_key_val": row(lambda x, y: lax.sort_key_val(x, y, dimension=0), "b,4", "b,4"),
    "top_k": row(lambda x: lax.top_k(x, 2), "b,4", dtypes=_REALS),
}

_OTHERS = {
    "clamp": row(lax.clamp, "", "b,4", ""),
    "composite": row(lax.composite(lambda a, b: a * b + a, "test.muladd"), "b,4", "b,4"),
    "fft": row(lambda x: lax.fft(x, "FFT", (4,)), "b,4:c64", dtypes=("c64",)),
    "integer_pow": row(lambda x: lax.integer_pow(x, 3), "b,4"),
    "imag": row(lax.imag, "b,4", dtypes=("c64",)),
    "real": row(lax.real, "b,4", dtypes=("c64",)),
    "polynomial": row(lambda x, c: lax.polynomial(x, [c, 2, c]), "b,4", ""),
    "rng_bit_generator": row(
        lambda k, x: lax.rng_bit_generator(k, x.shape),
        "4:u32",
        "b,4:f32",
        dtypes=("f32",),
    ),
    # The numbers of XLA's own generator differ from call to call, unless there is only one.
    "rng_uniform": row(lambda x: lax.rng_uniform(x, x, (3, 4)), "", dtypes=_FLOATS),
    "select": row(lax.select, "b,4:bool", "b,4", "b,4"),
    "select_n": row(lax.select_n, "b,4:index", "b,4", "b,4", "b,4"),
    "polygamma": row(lax.polygamma, "b,4:positive", "b,4", dtypes=_FLOATS),
    "with_sharding_constraint": row(
        lambda x: lax.with_sharding_constraint(x, _one_device()), "b,4"
    ),
}


@functools.cache
def _one_device() -> Any:
    mesh = jax.make_mesh((1,), ("x",), (AxisType.Auto,), devices=jax.devices()[:1])
    return NamedSharding(mesh, PartitionSpec("x"))


_LINALG = {
    "cholesky": row(lax.linalg.cholesky, "b,3,3:spd"),
    "cholesky_update": row(
        lambda x, w: lax.linalg.cholesky_update(jnp.linalg.cholesky(x).mT, w), "3,3:spd", "3"
    ),
    "householder_product": row(lax.linalg.householder_product, "b,4,3", "b,3"),
    "lu_pivots_to_permutation": row(
        lambda p: lax.linalg.lu_pivots_to_permutation(p, 4), "b,3:index", dtypes=_INTEGERS
    ),
    "ormqr": row(lax.linalg.ormqr, "b,4,3", "b,3", "b,4,2"),
    "qdwh": row(lax.linalg.qdwh, "3,3:well"),
    "symmetric_product": row(
        lambda a, c: lax.linalg.symmetric_product(a, c, alpha=2.0, beta=0.5), "b,3,4", "b,3,3:spd"
    ),
    "triangular_solve": row(
        lambda a, c: lax.linalg.triangular_solve(a, c, left_side=True, lower=True),
        "b,3,3:well",
        "b,3,2",
    ),
    "tridiagonal": row(lax.linalg.tridiagonal, "b,3,3:spd"),
    "tridiagonal_solve": row(
        lambda low, main, up, c: lax.linalg.tridiagonal_solve(
            low.at[..., 0].set(0), main + 6, up.at[..., -1].set(0), c
        ),
        *["b,4"] * 3,
        "b,4,2",
    ),
}

RECIPES: dict[str, Recipe] = {
    f"jax.lax.{name}": recipe
    for table in (
        _SHAPES,
        _INDEXED,
        _SCATTERS,
        _CONVOLUTIONS,
        _PRODUCTS,
        _REDUCTIONS,
        _OTHERS,
        {f"linalg.{name}": recipe for name, recipe in _LINALG.items()},
    )
    for name, recipe in table.items()
}
