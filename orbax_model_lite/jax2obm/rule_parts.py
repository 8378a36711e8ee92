"""The functions of a derivative rule as jaxprs: jvp, or forward and backward, all with flat lists.

Called while JAX lowers a custom_jvp or custom_vjp call. The author's rule is traced here at the
types of that call, symbolic dimensions included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import jax
import jax.core
from jax.extend.core import ClosedJaxpr
from jax.interpreters import ad

from orbax_model_lite.errors import ObmError

# What tracing an author's rule can end with. A rule that fails is marked as opaque; the function
# itself is not concerned.
TRACING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    ObmError,
    RuntimeError,
    TypeError,
    ValueError,
    jax.errors.InconclusiveDimensionOperation,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RuleParts:
    """What is stored of a rule.

    Attributes:
      jaxprs: "jvp", or "fwd" and "bwd", to a closed jaxpr over flat arguments and results.
      residuals: How many results of "fwd", the first ones, are arguments of "bwd", the first ones.
      zeros: Per output tangent of "jvp", or per argument's cotangent of "bwd": whether it is zero
        and left out of the results.
    """

    jaxprs: Mapping[str, ClosedJaxpr] = field(default_factory=dict)
    residuals: int = 0
    zeros: tuple[bool, ...] = ()


def jvp_parts(parameters: dict[str, Any]) -> RuleParts:
    """Returns the jvp of a custom_jvp call as one function (primals, tangents) -> (outs, tangents).

    Every input is taken as having a tangent; those of integers are float0.

    Args:
      parameters: Of the equation.

    Raises:
      ValueError: If the rule closes over values of an enclosing trace.
      Any of TRACING_ERRORS: If the author's rule raises.
    """
    jaxpr, constants = parameters["call_jaxpr"], parameters["num_consts"]
    primals = jaxpr.in_avals[constants:]
    traced, closed_over, zeros = parameters["jvp_jaxpr_fun"].call_wrapped(*[False] * len(primals))
    tangents = [aval.to_tangent_aval() for aval in primals]
    whole = trace(_evaluate(traced, closed_over), [*primals, *tangents])
    return RuleParts(jaxprs={"jvp": whole}, zeros=tuple(map(bool, zeros)))


def vjp_parts(parameters: dict[str, Any]) -> RuleParts:
    """Returns forward (primals) -> (residuals, outs) and backward (residuals, cts) -> cts.

    Args:
      parameters: Of the equation.

    Raises:
      ValueError: If the rule closes over values of an enclosing trace.
      Any of TRACING_ERRORS: If the author's rule raises.
    """
    jaxpr, constants = parameters["call_jaxpr"], parameters["num_consts"]
    primals = jaxpr.in_avals[constants:]
    traced, closed_over = parameters["fwd_jaxpr_thunk"].call_wrapped(*[True] * len(primals))
    _, _, forwarded = parameters["out_trees"]()
    run = _evaluate(traced, closed_over)
    outputs = len(jaxpr.out_avals)

    def forward(*arguments: Any) -> list[Any]:
        # JAX leaves residuals that are arguments out; here all of them are results.
        own, found = _split(run(*arguments), -outputs)
        of_forward = iter(own)
        residuals = [
            next(of_forward) if index is None else arguments[index - constants]
            for index in forwarded
        ]
        return [*residuals, *found]

    fwd = trace(forward, primals)
    residuals = len(fwd.out_avals) - outputs
    zeros: list[bool] = []

    def backward(*arguments: Any) -> list[Any]:
        cotangents = parameters["bwd"].call_wrapped(*arguments)
        zeros[:] = [type(cotangent) is ad.Zero for cotangent in cotangents]
        return [cotangent for cotangent in cotangents if type(cotangent) is not ad.Zero]

    cts = [aval.to_tangent_aval() for aval in jaxpr.out_avals]
    bwd = trace(backward, [*fwd.out_avals[:residuals], *cts])
    return RuleParts(jaxprs={"fwd": fwd, "bwd": bwd}, residuals=residuals, zeros=tuple(zeros))


def _split(items: Sequence[Any], at: int) -> tuple[Sequence[Any], Sequence[Any]]:
    at = at if at >= 0 else len(items) + at
    return items[:at], items[at:]


def _evaluate(jaxpr: Any, constants: Sequence[Any]) -> Callable[..., list[Any]]:
    if any(isinstance(constant, jax.core.Tracer) for constant in constants):
        raise ValueError("it closes over values that are computed outside of it")
    return lambda *arguments: jax.core.eval_jaxpr(jaxpr, constants, *arguments)


def trace(function: Callable[..., list[Any]], avals: Sequence[Any]) -> ClosedJaxpr:
    """Returns a function of flat arguments as a jaxpr; weak types and shardings are left out."""
    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    return jax.make_jaxpr(function)(*specs)
