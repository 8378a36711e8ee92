"""JAX's primitives whose derivative cannot be had from the program that they lower to.

Linear algebra becomes calls of foreign kernels, some special functions and samplers become loops, a
linear solve hides its operator behind stop_gradient. They are marked like custom rules.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

import jax
from jax.extend.core import Primitive, primitives

from orbax_model_lite.jax2obm.rules.parts import RuleParts, trace
from orbax_model_lite.stablehlo.jax_rules import LONGEST_PARAMETERS, PRIMITIVE_NAMES

# Those whose parameters are programs or key types; their jvp is stored.
_STORED_NAMES = ("linear_solve", "random_gamma")


def marked_primitives() -> dict[str, Primitive]:
    """Returns the primitives by name, as in `jax.extend.core.primitives` without the "_p"."""
    found = {
        name: getattr(primitives, f"{name}_p", None) for name in (*PRIMITIVE_NAMES, *_STORED_NAMES)
    }
    return {name: primitive for name, primitive in found.items() if primitive is not None}


def parameters_text(name: str, parameters: Mapping[str, Any]) -> str | None:
    """Returns static parameters as a literal, to be bound again; None if they cannot be one."""
    text = repr(dict(sorted(parameters.items())))
    if name in _STORED_NAMES or len(text) > LONGEST_PARAMETERS:
        return None
    try:
        return text if ast.literal_eval(text) == parameters else None
    except (ValueError, SyntaxError):
        return None


def primitive_jvp_parts(
    primitive: Primitive, parameters: Mapping[str, Any], avals: Sequence[Any]
) -> RuleParts:
    """Returns JAX's own jvp of a primitive: (primals, tangents) -> (outs, tangents), all flat.

    Args:
      primitive: Of the equation.
      parameters: Of the equation.
      avals: Types of its inputs.

    Raises:
      NotImplementedError: If the primitive has no derivative.
    """
    outputs = 0

    def jvp(*arguments: Any) -> list[Any]:
        nonlocal outputs
        primals, tangents = arguments[: len(avals)], arguments[len(avals) :]
        run = lambda *values: as_list(primitive.bind(*values, **parameters))  # noqa: E731
        results, tangents_out = jax.jvp(run, primals, tangents)
        outputs = len(results)
        return [*results, *tangents_out]

    whole = trace(jvp, [*avals, *[aval.to_tangent_aval() for aval in avals]])
    return RuleParts(jaxprs={"jvp": whole}, zeros=(False,) * outputs)


def as_list(results: Any) -> list[Any]:
    """Returns the results of a primitive, which is one value or several, as a list."""
    return list(results) if isinstance(results, (list, tuple)) else [results]


@final
class UnmarkedContexts:
    """Lowering contexts in which everything is lowered by JAX's own rules again.

    The program of a marked primitive is lowered in one: nobody differentiates it, and a call in it
    of a function of ours would reach for sizes that the body of a reducer does not have. What is
    lowered there is kept apart: JAX's caches of a module do not know that the rules differ, and
    would hand out the unmarked form elsewhere.

    Args:
      own: Primitives of ours, which only our rules can lower.
    """

    def __init__(self, own: Collection[Primitive]) -> None:
        self._own = own
        self._caches: dict[int, tuple[Any, dict[str, dict[Any, Any]]]] = {}

    def of(self, context: Any) -> Any:
        """Returns `context` without the rules that mark."""
        module_context = context.module_context
        settings = module_context.lowering_parameters
        rules = tuple(rule for rule in settings.override_lowering_rules if rule[0] in self._own)
        unmarked = dataclasses.replace(settings, override_lowering_rules=rules)
        # Symbols are of one module; it is kept so that no other one gets its id.
        module = module_context.module
        empty = {"lowering_cache": {}, "cached_primitive_lowerings": {}}
        _, caches = self._caches.setdefault(id(module), (module, empty))
        inner = module_context.replace(lowering_parameters=unmarked, **caches)
        return context.replace(module_context=inner)
