"""Functions whose value is the stored program's, and whose derivative is another function's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from orbax_model_lite.lift.operation import Runner
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.rules.calls import MarkedCall, MarkedFunction, is_traced

Jvp = Callable[[Sequence[Any], Sequence[Any]], tuple[Any, Any]]


def refused(marked: MarkedFunction, found: str) -> Runner:
    """Returns a call whose derivative raises UnsupportedError.

    Args:
      marked: What is called.
      found: Why there is no derivative, for the error.
    """

    def jvp_of(call: MarkedCall) -> Jvp:
        del call

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            del primals, tangents
            raise marked.refuse(found)

        return jvp

    return _with_jvp(marked, jvp_of)


def by_function(marked: MarkedFunction, function: Callable[..., Any]) -> Runner:
    """Returns a call whose derivative is that of a function of JAX.

    Args:
      marked: What is called.
      function: Takes its arguments, without those that all functions of the module take.
    """

    def jvp_of(call: MarkedCall) -> Jvp:
        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            moved = call.tangents(tangents)
            values = call.whole(primals)

            def along(*active: Any) -> tuple[Any, ...]:
                own = {**dict(enumerate(values)), **dict(zip(moved, active, strict=True))}
                found = function(*list(own.values())[marked.leading :])
                return tuple(found) if isinstance(found, (list, tuple)) else (found,)

            with call.settings():
                active = [values[number] for number in moved]
                found = jax.jvp(along, active, list(moved.values()))[1]
            return call.value(*primals), found

        return jvp

    return _with_jvp(marked, jvp_of)


def by_stored_jvp(marked: MarkedFunction, stored: Program) -> Runner:
    """Returns a call whose derivative is a function of the module.

    Args:
      marked: What is called.
      stored: `(primals..., tangents...) -> (outputs..., output tangents...)`, after the arguments
        that all functions of the module take; no tangents for the rule's constants.
    """

    def jvp_of(call: MarkedCall) -> Jvp:
        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            moved = call.tangents(tangents)
            call.require_constant(moved)
            values = call.whole(primals)
            first = marked.first_differentiable
            with call.settings():
                numbers = range(len(values), len(values) + len(values) - first)
                directions = call.zeros(stored, numbers, values[first:])
            for number, tangent in moved.items():
                directions[number - first] = tangent
            results = call.run(stored, [*values, *directions])
            outputs = results[: len(marked.mark.zeros)]
            own = iter(results[len(outputs) :])
            pairs = zip(outputs, marked.mark.zeros, strict=True)
            found = [_tangent(x, None if is_zero else next(own)) for x, is_zero in pairs]
            return outputs, tuple(found)

        return jvp

    return _with_jvp(marked, jvp_of)


def by_stored_vjp(marked: MarkedFunction, forward: Program, backward: Program) -> Runner:
    """Returns a call whose derivative in reverse is given by two functions of the module.

    Args:
      marked: What is called.
      forward: `(arguments...) -> (residuals..., outputs...)`.
      backward: `(residuals..., cotangents...) -> (cotangents...)`; both after the arguments that
        all functions of the module take.
    """

    def run(*operands: Any) -> tuple[Any, ...]:
        call = MarkedCall(marked, operands)
        count = marked.mark.residuals

        def forwards(*primals: Any) -> tuple[Any, Partial]:
            call.require_constant(
                p for p, x in zip(call.places, primals, strict=True) if x.perturbed
            )
            results = call.results(forward, call.whole([primal.value for primal in primals]))
            residuals, outputs = results[:count], results[count:]
            traced = [i for i, residual in enumerate(residuals) if is_traced(residual)]

            def pull_back(arrays: Sequence[Any], cotangents: Sequence[Any]) -> Any:
                found = dict(enumerate(residuals))
                found.update(zip(traced, arrays, strict=True))
                return _pulled_back(call, backward, list(found.values()), cotangents)

            arrays = [residuals[i] for i in traced]
            return tuple(call.as_arrays(outputs)), Partial(pull_back, arrays)

        function = jax.custom_vjp(call.value)
        function.defvjp(forwards, lambda pull_back, given: pull_back(given), symbolic_zeros=True)
        return function(*call.arrays)

    return run


def _pulled_back(
    call: MarkedCall, backward: Program, residuals: Sequence[Any], cotangents: Sequence[Any]
) -> tuple[Any, ...]:
    """Returns the cotangents of the operands that are arrays; None for zero."""
    marked = call.marked
    leading = list(call.operands[: marked.leading])
    first = marked.leading + len(residuals)
    with call.settings():
        given = call.zeros(backward, range(first, first + len(cotangents)), cotangents)
    for i, cotangent in enumerate(cotangents):
        if not call.is_zero(cotangent):
            given[i] = cotangent
    results = iter(call.run(backward, [*leading, *residuals, *given]))
    found = [None if is_zero else next(results) for is_zero in marked.mark.zeros]
    every = [*[None] * marked.first_differentiable, *found]
    pairs = [(every[place], call.operands[place]) for place in call.places]
    return tuple(c if jnp.issubdtype(x.dtype, jnp.inexact) else None for c, x in pairs)


def _with_jvp(marked: MarkedFunction, jvp_of: Callable[[MarkedCall], Jvp]) -> Runner:
    def run(*operands: Any) -> tuple[Any, ...]:
        call = MarkedCall(marked, operands)
        function = jax.custom_jvp(call.value)
        function.defjvp(jvp_of(call), symbolic_zeros=True)
        return function(*call.arrays)

    return run


def _tangent(output: Any, found: Any) -> Any:
    """Returns the tangent of an output as JAX wants it: integers have one without elements."""
    if not jnp.issubdtype(output.dtype, jnp.inexact):
        return np.zeros(output.shape, jax.dtypes.float0)
    return jnp.zeros_like(output) if found is None else found
