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
from orbax_model_lite.jax2obm._jax_private import CustomVJPException

# What tracing an author's rule can end with. A rule that fails is marked as opaque; the function
# itself is not concerned.
TRACING_ERRORS = (
    ArithmeticError,
    CustomVJPException,
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
    """What is stored of a rule: functions of flat arguments and results.

    Attributes:
      jaxprs: "jvp": (arguments, tangents) -> (outputs, tangents), or "fwd": (arguments) ->
        (residuals, outputs) and "bwd": (residuals, cotangents) -> cotangents.
      constants: How many arguments, the first ones, have no derivative: there are no tangents and
        no cotangents for them.
      residuals: How many results of "fwd", the first ones, are arguments of "bwd", the first ones.
      zeros: Per output of "jvp", or per argument with a derivative of "bwd": whether its tangent or
        cotangent is zero and left out of the results.
    """

    jaxprs: Mapping[str, ClosedJaxpr] = field(default_factory=dict)
    constants: int = 0
    residuals: int = 0
    zeros: tuple[bool, ...] = ()


def jvp_parts(parameters: dict[str, Any]) -> RuleParts:
    """Returns the parts of a custom_jvp call. Tangents of integers are float0.

    Args:
      parameters: Of the equation.

    Raises:
      ValueError: If the rule closes over values of an enclosing trace.
      Any of TRACING_ERRORS: If the author's rule raises.
    """
    jaxpr, closed_over = parameters["call_jaxpr"], parameters["num_consts"]
    count = len(jaxpr.in_avals) - closed_over
    (traced, constants, zeros), more = _most_perturbed(
        lambda known: parameters["jvp_jaxpr_fun"].call_wrapped(*known), count
    )
    first = closed_over + more
    run = _evaluate(traced, constants)
    tangents = [aval.to_tangent_aval() for aval in jaxpr.in_avals[first:]]

    def jvp(*arguments: Any) -> list[Any]:
        return run(*arguments[closed_over:])

    whole = trace(jvp, [*jaxpr.in_avals, *tangents])
    return RuleParts(jaxprs={"jvp": whole}, constants=first, zeros=tuple(map(bool, zeros)))


def vjp_parts(parameters: dict[str, Any]) -> RuleParts:
    """Returns the parts of a custom_vjp call.

    Args:
      parameters: Of the equation.

    Raises:
      ValueError: If the rule closes over values of an enclosing trace.
      Any of TRACING_ERRORS: If the author's rule raises.
    """
    jaxpr, closed_over = parameters["call_jaxpr"], parameters["num_consts"]
    count, outputs = len(jaxpr.in_avals) - closed_over, len(jaxpr.out_avals)
    (traced, constants), more = _most_perturbed(
        lambda known: parameters["fwd_jaxpr_thunk"].call_wrapped(*(not k for k in known)), count
    )
    run = _evaluate(traced, constants)
    forwarded = parameters["out_trees"]()[2]

    def forward(*arguments: Any) -> list[Any]:
        # JAX leaves residuals that are arguments out; here all of them are results.
        results = run(*arguments[closed_over:])
        own = iter(results[: len(results) - outputs])
        residuals = [next(own) if i is None else arguments[i] for i in forwarded]
        return [*residuals, *results[len(results) - outputs :]]

    fwd = trace(forward, jaxpr.in_avals)
    residuals = len(fwd.out_avals) - outputs
    zeros: list[bool] = []

    def backward(*arguments: Any) -> list[Any]:
        found = parameters["bwd"].call_wrapped(*arguments)
        # JAX 0.12 returns the logs of the backward pass beside the cotangents.
        has_logs = len(found) == 2 and isinstance(found[0], (list, tuple))
        cotangents = (found[0] if has_logs else found)[more:]
        zeros[:] = [type(cotangent) is ad.Zero for cotangent in cotangents]
        return [cotangent for cotangent in cotangents if type(cotangent) is not ad.Zero]

    cotangents = [aval.to_tangent_aval() for aval in jaxpr.out_avals]
    bwd = trace(backward, [*fwd.out_avals[:residuals], *cotangents])
    return RuleParts(
        jaxprs={"fwd": fwd, "bwd": bwd},
        constants=closed_over + more,
        residuals=residuals,
        zeros=tuple(zeros),
    )


def _most_perturbed(call: Callable[[list[bool]], Any], count: int) -> tuple[Any, int]:
    """Returns what `call` gives for as few zero tangents as it takes, and how many those are.

    A call inside another rule is traced once more, after which values that it closes over are
    arguments like any other, the first ones; it refuses to be differentiated by them.
    """
    for zeros in range(count):
        try:
            return call([i < zeros for i in range(count)]), zeros
        except CustomVJPException:
            continue
    return call([True] * count), count


def _evaluate(jaxpr: Any, constants: Sequence[Any]) -> Callable[..., list[Any]]:
    if any(isinstance(constant, jax.core.Tracer) for constant in constants):
        raise ValueError("it closes over values that are computed outside of it")
    return lambda *arguments: jax.core.eval_jaxpr(jaxpr, constants, *arguments)


def trace(function: Callable[..., list[Any]], avals: Sequence[Any]) -> ClosedJaxpr:
    """Returns a function of flat arguments as a jaxpr; weak types and shardings are left out."""
    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    return jax.make_jaxpr(function)(*specs)
