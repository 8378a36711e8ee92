"""How jax.random and jax.nn.initializers are called: with raw keys, which are arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import random
from jax.nn import initializers

from tests.lift.conformance.recipes import Recipe, row, typed

_FLOATS = ("f32", "bf16", "f64")
_ONLY = ("f32",)


def _drawn(draw: Callable[..., Any], *inputs: str, **options: Any) -> Recipe:
    """Returns the recipe for `draw(key, *parameters, shape=..., dtype=...)`.

    The shape is that of an array "b,4", so that it becomes symbolic.
    """
    options.setdefault("dtypes", _FLOATS)
    return typed(
        lambda t: lambda key, x, *given: draw(key, *given, shape=x.shape, dtype=t),
        ":key",
        "b,4:f32",
        *inputs,
        **options,
    )


def _initialized(make: Callable[[], Any], shape: tuple[int, ...] = (3, 4)) -> Recipe:
    dtypes = ("f32", "bf16", "f64", "c64")
    return typed(lambda t: lambda key: make()(key, shape, t), ":key", dtypes=dtypes)


_SCALED = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
)

_INITIALIZERS = {name: _initialized(getattr(initializers, name)) for name in _SCALED} | {
    "constant": typed(lambda t: lambda key: initializers.constant(2)(key, (3, 4), t), ":key"),
    "delta_orthogonal": _initialized(initializers.delta_orthogonal, (3, 3, 2, 4)),
    "ones": typed(lambda t: lambda key: initializers.ones(key, (3, 4), t), ":key"),
    "variance_scaling": _initialized(
        lambda: initializers.variance_scaling(2.0, "fan_avg", "truncated_normal")
    ),
    "zeros": typed(lambda t: lambda key: initializers.zeros(key, (3, 4), t), ":key"),
}

_PARAMETER_FREE = (
    "cauchy",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "maxwell",
    "normal",
)

_DRAWN = {name: _drawn(getattr(random, name)) for name in _PARAMETER_FREE} | {
    "ball": row(lambda k: random.ball(k, 3, shape=(4,)), ":key", dtypes=_ONLY),
    "bernoulli": row(
        lambda k, p: random.bernoulli(k, p[:, None], (p.shape[0], 4)), ":key", "b:unit"
    ),
    "beta": _drawn(random.beta, "4:positive", "4:positive"),
    "binomial": _drawn(random.binomial, "4:positive", "4:unit"),
    "bits": row(lambda k, x: random.bits(k, x.shape), ":key", "b,4:f32", dtypes=_ONLY),
    "categorical": row(random.categorical, ":key", "b,4", dtypes=_FLOATS),
    "chisquare": _drawn(random.chisquare, "4:positive"),
    "choice": row(
        lambda k, x, p: random.choice(k, x, (3,), replace=False, p=p), ":key", "5,2", "5:positive"
    ),
    "clone": row(lambda k: random.key_data(random.clone(random.wrap_key_data(k))), ":key"),
    "dirichlet": typed(
        lambda t: lambda k, a: random.dirichlet(k, a, (3,), t), ":key", "4:positive"
    ),
    "double_sided_maxwell": _drawn(random.double_sided_maxwell, "", "4:positive"),
    "f": _drawn(random.f, "b,4:positive", "b,4:positive"),
    "fold_in": row(random.fold_in, ":key", ":index", dtypes=_ONLY),
    "gamma": _drawn(random.gamma, "4:positive"),
    "generalized_normal": _drawn(
        lambda k, *, shape, dtype: random.generalized_normal(k, 1.5, shape, dtype)
    ),
    "geometric": row(lambda k, x, p: random.geometric(k, p, x.shape), ":key", "b,4:f32", "4:unit"),
    "key": row(lambda s: random.key_data(random.key(s)), ":i32", dtypes=("i32",)),
    "key_data": row(lambda k: random.key_data(random.wrap_key_data(k)), "b:key", dtypes=_ONLY),
    "loggamma": _drawn(random.loggamma, "4:positive"),
    "lognormal": _drawn(random.lognormal, ""),
    "multinomial": row(
        lambda k, n, p: random.multinomial(k, n, p / p.sum()), ":key", ":positive", "4:positive"
    ),
    "multivariate_normal": row(random.multivariate_normal, ":key", "b,3", "b,3,3:spd"),
    "orthogonal": typed(lambda t: lambda k: random.orthogonal(k, 3, (2,), t), ":key"),
    "pareto": _drawn(random.pareto, "4:positive"),
    "permutation": row(random.permutation, ":key", "5,3"),
    "poisson": row(lambda k, x: random.poisson(k, x, x.shape), ":key", "b,4:positive"),
    "PRNGKey": row(random.PRNGKey, ":i32", dtypes=("i32",)),
    "rademacher": typed(lambda t: lambda k, x: random.rademacher(k, x.shape, t), ":key", "b,4:f32"),
    "randint": row(
        lambda k, x, low: random.randint(k, x.shape, low, 9),
        ":key",
        "b,4:f32",
        ":index",
        dtypes=("i32",),
    ),
    "rayleigh": _drawn(random.rayleigh, "4:positive"),
    "split": row(lambda k: random.split(k, 3), ":key", dtypes=_ONLY),
    "t": _drawn(random.t, "4:positive"),
    "triangular": _drawn(
        lambda k, a, b, c, *, shape, dtype: random.triangular(k, a, a + b + c, a + c, shape, dtype),
        "4",
        "4:positive",
        "4:positive",
    ),
    "truncated_normal": _drawn(random.truncated_normal, "", "4:positive"),
    "uniform": _drawn(random.uniform),
    "wald": _drawn(random.wald, "4:positive"),
    "weibull_min": _drawn(random.weibull_min, ":positive", "4:positive"),
    "wrap_key_data": row(
        jax.vmap(lambda d: random.uniform(random.wrap_key_data(d))),
        "b:key",
        dtypes=_ONLY,
    ),
}

RECIPES: dict[str, Recipe] = {
    **{f"jax.nn.initializers.{name}": recipe for name, recipe in _INITIALIZERS.items()},
    **{f"jax.random.{name}": recipe for name, recipe in _DRAWN.items()},
}
