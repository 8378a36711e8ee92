"""Derivative rules that JAX takes out before lowering are made visible to the lowering rules.

JAX's high-level primitives (`jax.experimental.hijax`; in JAX 0.12 `jax.lax.custom_root` and some
custom_vjp functions are built on them) are expanded while a jaxpr is prepared for lowering, and
their derivatives are gone. Here each of them becomes a custom_jvp or custom_vjp with the same rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from orbax_model_lite.jax2obm.rules.jaxprs import equations, inner_jaxprs
from orbax_model_lite.jax2obm.rules.parts import TRACING_ERRORS
from orbax_model_lite.jax2obm.rules.replay import Replay

_HIGH_LEVEL = "_prim"


def has_hidden_rules(jaxpr: Any) -> bool:
    """Returns whether a jaxpr, or one inside it, has a high-level primitive."""
    stack = [jaxpr]
    while stack:
        for equation in equations(stack.pop()):
            if _HIGH_LEVEL in equation.params:
                return True
            stack.extend(inner_jaxprs(equation.params))
    return False


def with_visible_rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function, with custom derivatives in place of high-level primitives.

    To be used only where `has_hidden_rules`, because tracing it traces `function` twice.
    """

    @functools.wraps(function)
    def visible(*args: Any, **kwargs: Any) -> Any:
        jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*args, **kwargs)
        replay = Replay(equation=_as_custom_rule)
        results = replay(jaxpr, *jax.tree.leaves((args, kwargs)))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return visible


def _as_custom_rule(equation: Any) -> Callable[..., Sequence[Any]] | None:
    """Returns a function with a custom derivative for a high-level primitive; None for others."""
    if _HIGH_LEVEL not in equation.params:
        return None
    primitive, parameters = equation.primitive, equation.params

    def high(*values: Any) -> list[Any]:
        return list(primitive.bind(*values, **parameters))

    def low(*values: Any) -> list[Any]:
        expanded = jax.make_jaxpr(lambda *xs: list(primitive.to_lojax(*xs, **parameters)))(*values)
        return Replay(equation=_as_custom_rule)(expanded, *values)

    instance = parameters[_HIGH_LEVEL]
    traced = getattr(instance, "traced", None)
    low.__name__ = low.__qualname__ = getattr(traced, "fun_name", type(instance).__name__)
    specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
    # The new form of custom_vjp has a jvp too, which is only to be transposed and never lowered.
    if not hasattr(instance, "bwd") and _has_jvp(high, specs):
        function = jax.custom_jvp(low)
        function.defjvp(lambda primals, tangents: jax.jvp(high, primals, tangents))
        return function
    function = jax.custom_vjp(low)
    function.defvjp(lambda *primals: jax.vjp(high, *primals), lambda pullback, cts: pullback(cts))
    return function


def _has_jvp(function: Callable[..., Any], specs: Sequence[jax.ShapeDtypeStruct]) -> bool:
    try:
        jax.eval_shape(lambda *values: jax.jvp(function, values, values), *specs)
    except TRACING_ERRORS:
        return False
    return True
