"""How control flow and collectives of jax.lax are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tests.lift.conformance.recipes import Recipe, row


def _step(carry: Any, x: Any) -> tuple[Any, Any]:
    return carry * x + 1, carry - x


def _solved(matrix: Any, vector: Any) -> Any:
    """Solves by elimination, whose derivative custom_linear_solve replaces by another solve."""
    return lax.custom_linear_solve(
        lambda v: matrix @ v,
        vector,
        lambda matvec, v: jnp.linalg.solve(matrix, v),
        transpose_solve=lambda vecmat, v: jnp.linalg.solve(matrix.T, v),
    )


def _root(x: Any) -> Any:
    def newton(f: Callable[[Any], Any], guess: Any) -> Any:
        return lax.fori_loop(0, 20, lambda _, y: y - f(y) / jax.grad(f)(y), guess)

    return jax.vmap(
        lambda v: lax.custom_root(
            lambda y: y**3 + y - v, jnp.zeros_like(v), newton, lambda g, y: y / g(jnp.ones_like(y))
        )
    )(x)


_CONTROL = {
    "associative_scan": row(
        lambda x, y: lax.associative_scan(
            lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), (x, y), axis=1
        ),
        "b,5",
        "b,5",
    ),
    "cond": row(
        lambda p, x, y: lax.cond(p, lambda a, b: a * b, lambda a, b: a - b, x, y),
        ":bool",
        "b,4",
        "b,4",
    ),
    "custom_linear_solve": row(_solved, "3,3:well", "3"),
    "custom_root": row(_root, "b", dtypes=("f32", "f64")),
    "fori_loop": row(
        lambda x: lax.fori_loop(0, 5, lambda i, y: y * x + i.astype(x.dtype), x), "b,4"
    ),
    "map": row(lambda x: lax.map(lambda y: y * y.sum(), x), "5,4"),
    "platform_dependent": row(
        lambda x: lax.platform_dependent(x, cpu=lambda y: y + 1, default=lambda y: y - 1), "b,4"
    ),
    "scan": row(lambda c, x: lax.scan(_step, c, x, reverse=True), "b", "5,b"),
    "switch": row(
        lambda i, x: lax.switch(i, [lambda y: y + 1, lambda y: y * y, lambda y: -y], x),
        ":index",
        "b,4",
    ),
    "while_loop": row(
        lambda x: lax.while_loop(lambda s: s[0] < 7, lambda s: (2 * s[0] + 1, s[1] + x), (1, x)),
        "b,4",
    ),
}


def _named(call: Callable[[Any], Any], *inputs: str) -> Recipe:
    """Returns the recipe of a collective over an axis that vmap names."""
    return row(jax.vmap(call, axis_name="i"), *inputs)


_COLLECTIVES = {
    "all_gather": _named(lambda x: lax.all_gather(x, "i"), "3,4"),
    "all_to_all": _named(lambda x: lax.all_to_all(x, "i", 0, 0), "4,4"),
    "axis_index": _named(lambda x: x + lax.axis_index("i").astype(x.dtype), "3,4"),
    "axis_size": _named(lambda x: x + lax.axis_size("i"), "3,4"),
    "pmax": _named(lambda x: lax.pmax(x, "i"), "3,4"),
    "pmean": _named(lambda x: lax.pmean(x, "i"), "3,4"),
    "pmin": _named(lambda x: lax.pmin(x, "i"), "3,4"),
    "ppermute": _named(lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2), (2, 0)]), "3,4"),
    "pshuffle": _named(lambda x: lax.pshuffle(x, "i", [2, 0, 1]), "3,4"),
    "psum": _named(lambda x: lax.psum(x, "i"), "3,4"),
    "psum_scatter": _named(lambda x: lax.psum_scatter(x, "i"), "4,4"),
    "pswapaxes": _named(lambda x: lax.pswapaxes(x, "i", 0), "4,4"),
}

RECIPES: dict[str, Recipe] = {
    f"jax.lax.{name}": recipe
    for table in (_CONTROL, _COLLECTIVES)
    for name, recipe in table.items()
}
