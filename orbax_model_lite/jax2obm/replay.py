"""A jaxpr evaluated again with some of its constants or equations replaced, however deep they are.

What has nothing to replace inside is bound as it stands. Where there is something, loops, branches,
jitted calls, checkpoints and custom derivatives are built again around the replaced inside; other
higher-order primitives are bound as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jax.interpreters import ad

from orbax_model_lite.jax2obm.jaxprs import equations, inner_jaxprs, name_of


@final
class Replay:
    """Evaluates jaxprs with replacements; to be used within one trace.

    Args:
      constant: Returns what to use instead of an array that a jaxpr holds; None keeps it.
      equation: Returns the function to use instead of an equation's primitive, which takes and
        returns flat lists; None keeps it.
    """

    def __init__(
        self,
        *,
        constant: Callable[[Any], Any] = lambda _: None,
        equation: Callable[[Any], Callable[..., Sequence[Any]] | None] = lambda _: None,
    ) -> None:
        self._constant = constant
        self._equation = equation
        self._touched: dict[int, tuple[Any, bool]] = {}

    def __call__(self, jaxpr: Any, *arguments: Any) -> list[Any]:
        """Returns the results of a closed jaxpr for flat arguments."""
        return self.evaluate(jaxpr, jaxpr.consts, arguments)

    def evaluate(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Returns the results of a closed or open jaxpr with its constants given apart."""
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        values = dict(zip(jaxpr.constvars, map(self._replaced, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return self._replaced(atom.val) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            results = self._run(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def touches(self, jaxpr: Any) -> bool:
        """Returns whether a jaxpr, or one inside it, holds something to replace."""
        key = id(jaxpr)
        if key not in self._touched:
            # The jaxpr is kept so that no other one gets its id.
            self._touched[key] = (jaxpr, self._find(jaxpr))
        return self._touched[key][1]

    def _find(self, jaxpr: Any) -> bool:
        if any(self._constant(value) is not None for value in getattr(jaxpr, "consts", ())):
            return True
        return any(
            self._equation(equation) is not None
            or any(
                isinstance(atom, Literal) and self._constant(atom.val) is not None
                for atom in equation.invars
            )
            or any(map(self.touches, inner_jaxprs(equation.params)))
            for equation in equations(jaxpr)
        )

    def _replaced(self, value: Any) -> Any:
        found = self._constant(value)
        return value if found is None else found

    def _run(self, equation: Any, arguments: list[Any]) -> Sequence[Any]:
        primitive = equation.primitive
        with ExitStack() as stack:
            scope = str(equation.source_info.name_stack)
            if scope:
                stack.enter_context(jax.named_scope(scope))
            stack.enter_context(equation.ctx.manager)
            own = self._equation(equation)
            if own is not None:
                return own(*arguments)
            again = _REBUILT.get(primitive.name)
            if again is not None and any(map(self.touches, inner_jaxprs(equation.params))):
                results = again(self, equation.params, arguments)
                if results is not None:
                    return results
            results = primitive.bind(*arguments, **primitive.get_bind_params(equation.params))
            return results if primitive.multiple_results else [results]


_Parameters = dict[str, Any]
_Results = Sequence[Any] | None


def _inlined(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    return replay(parameters["call_jaxpr"], *arguments)


def _jit(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    def run(*values: Any) -> list[Any]:
        return replay(parameters["jaxpr"], *values)

    run.__name__ = run.__qualname__ = parameters["name"]
    jitted = jax.jit(
        run,
        in_shardings=tuple(parameters["in_shardings"]),
        out_shardings=list(parameters["out_shardings"]),
        inline=parameters["inline"],
    )
    return jitted(*arguments)


def _scan(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    constants, carry, stacked = _scan_arguments(parameters, arguments)

    def body(carry: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        results = replay(parameters["jaxpr"], *constants, *carry, *slices)
        return results[: len(carry)], results[len(carry) :]

    carry, outputs = jax.lax.scan(
        body,
        carry,
        stacked,
        length=parameters["length"],
        reverse=parameters["reverse"],
        unroll=parameters["unroll"],
    )
    return [*carry, *outputs]


def _scan_arguments(parameters: _Parameters, arguments: list[Any]) -> list[list[Any]]:
    """Returns constants, carry and stacked inputs; JAX 0.12 tells them apart by trees."""
    if "ft_in" in parameters:
        return [list(part) for part in parameters["ft_in"].update(arguments).unpack()]
    first, second = parameters["num_consts"], parameters["num_consts"] + parameters["num_carry"]
    return [arguments[:first], arguments[first:second], arguments[second:]]


def _while(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    of_condition = parameters["cond_nconsts"]
    first = of_condition + parameters["body_nconsts"]
    known, constants = arguments[:of_condition], arguments[of_condition:first]
    return jax.lax.while_loop(
        lambda carry: replay(parameters["cond_jaxpr"], *known, *carry)[0],
        lambda carry: replay(parameters["body_jaxpr"], *constants, *carry),
        arguments[first:],
    )


def _cond(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    if parameters.get("branches_platforms") is not None:
        return None
    index, *operands = arguments
    branches = [
        lambda *values, jaxpr=jaxpr: replay(jaxpr, *values) for jaxpr in parameters["branches"]
    ]
    return jax.lax.switch(index, branches, *operands)


def _checkpoint(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    def run(*values: Any) -> list[Any]:
        return replay.evaluate(parameters["jaxpr"], (), values)

    options = {key: parameters[key] for key in ("prevent_cse", "policy")}
    return jax.checkpoint(run, **options)(*arguments)


def _custom_jvp(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    jaxpr, count = parameters["call_jaxpr"], parameters["num_consts"]

    def run(*primals: Any) -> list[Any]:
        return replay(jaxpr, *arguments[:count], *primals)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        known = [False] * len(primals)
        inner, constants, zeros = parameters["jvp_jaxpr_fun"].call_wrapped(*known)
        results = replay.evaluate(inner, constants, [*primals, *tangents])
        outputs, nonzero = results[: len(zeros)], iter(results[len(zeros) :])
        return outputs, [
            _zero_tangent(output) if zero else next(nonzero)
            for output, zero in zip(outputs, zeros, strict=True)
        ]

    return _with_name(jax.custom_jvp, run, jaxpr, jvp)(*arguments[count:])


def _custom_vjp(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    jaxpr, count = parameters["call_jaxpr"], parameters["num_consts"]
    outputs = len(jaxpr.out_avals)

    def run(*primals: Any) -> list[Any]:
        return replay(jaxpr, *arguments[:count], *primals)

    def forward(*primals: Any) -> tuple[list[Any], list[Any]]:
        known = [True] * len(primals)
        inner, constants = parameters["fwd_jaxpr_thunk"].call_wrapped(*known)
        results = replay.evaluate(inner, constants, primals)
        own = iter(results[: len(results) - outputs])
        forwarded = parameters["out_trees"]()[2]
        residuals = [next(own) if i is None else primals[i - count] for i in forwarded]
        return results[len(results) - outputs :], residuals

    def backward(residuals: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
        found = parameters["bwd"].call_wrapped(*residuals, *cotangents)
        return tuple(None if type(ct) is ad.Zero else ct for ct in found)

    return _with_name(jax.custom_vjp, run, jaxpr, forward, backward)(*arguments[count:])


def _with_name(make: Any, run: Callable[..., Any], jaxpr: Any, *rules: Callable[..., Any]) -> Any:
    """Returns a function with a custom derivative that has the name of the one it replaces."""
    run.__name__ = run.__qualname__ = name_of(jaxpr)
    function = make(run)
    (function.defjvp if make is jax.custom_jvp else function.defvjp)(*rules)
    return function


def _zero_tangent(value: Any) -> Any:
    if jax.dtypes.issubdtype(value.dtype, np.inexact):
        return jnp.zeros_like(value)
    return np.zeros(value.shape, jax.dtypes.float0)


_REBUILT: dict[str, Callable[[Replay, _Parameters, list[Any]], _Results]] = {
    "checkpoint": _checkpoint,
    "closed_call": _inlined,
    "cond": _cond,
    "core_call": _inlined,
    "custom_jvp_call": _custom_jvp,
    "custom_vjp_call": _custom_vjp,
    "eval_jaxpr": _inlined,
    "jit": _jit,
    "pjit": _jit,
    "remat2": _checkpoint,
    "scan": _scan,
    "while": _while,
}
