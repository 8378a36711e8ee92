"""JAX's own functions that carry a derivative rule, found by where a traced one was defined."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

import jax
from jax.extend.core.primitives import custom_jvp_call_p, custom_vjp_call_p

from orbax_model_lite.jax2obm.rules.jaxprs import equations, inner_jaxprs, name_and_file
from orbax_model_lite.jax2obm.rules.parts import TRACING_ERRORS
from orbax_model_lite.stablehlo.jax_rules import LIBRARY_NAMESPACES, rule_holder


def library_function(jaxpr: Any) -> str | None:
    """Returns the public name of the library function that a call's jaxpr is the body of.

    The name is given only if calling the function at the same types is that very call: the function
    is traced again and the two programs are compared. So neither a batched form of it nor one with
    other static arguments goes under its name.

    Args:
      jaxpr: Of a custom_jvp or custom_vjp call.
    """
    public_name = _public_names().get(name_and_file(jaxpr))
    if public_name is None:
        return None
    avals = tuple((aval.shape, aval.dtype, bool(aval.weak_type)) for aval in jaxpr.in_avals)
    return public_name if _program(public_name, avals) == str(jaxpr) else None


@functools.cache
def _public_names() -> dict[tuple[str, str], str]:
    """Returns (name, file) of every library function that carries a rule, to its public name."""
    names: dict[tuple[str, str], str] = {}
    for namespace in LIBRARY_NAMESPACES:
        module = importlib.import_module(namespace)
        for name in sorted(vars(module)):
            rule = rule_holder(getattr(module, name))
            if rule is not None and not name.startswith("_"):
                code = inspect.unwrap(rule).__code__
                names.setdefault((code.co_name, code.co_filename), f"{namespace}.{name}")
    return names


@functools.lru_cache(maxsize=256)
def _program(public_name: str, avals: tuple[tuple[Any, ...], ...]) -> str | None:
    namespace, _, name = public_name.rpartition(".")
    function = getattr(importlib.import_module(namespace), name)
    specs = [jax.ShapeDtypeStruct(shape, dtype, weak_type=weak) for shape, dtype, weak in avals]
    try:
        stack = [jax.make_jaxpr(function)(*specs)]
    except TRACING_ERRORS:
        return None
    while stack:
        for equation in equations(stack.pop()):
            if equation.primitive in {custom_jvp_call_p, custom_vjp_call_p}:
                return str(equation.params["call_jaxpr"])
            stack.extend(inner_jaxprs(equation.params))
    return None
