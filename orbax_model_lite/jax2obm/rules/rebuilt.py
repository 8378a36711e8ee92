"""Higher-order primitives built again, with JAX's public functions, around a replayed inside.

Each function here takes a replay, the parameters of an equation and its arguments, and returns its
results, or None where it can only be bound as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from orbax_model_lite.jax2obm._jax_private import CustomVJPException
from orbax_model_lite.jax2obm.rules.jaxprs import name_of

if TYPE_CHECKING:
    from orbax_model_lite.jax2obm.rules.replay import Replay

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
    jaxpr, parts = parameters["call_jaxpr"], replay.parts_of(parameters)
    if parts is None:
        return None
    rule, constants = parts.jaxprs["jvp"], parts.constants
    keys = replay.keys_in(jaxpr, rule)

    def run(own: Sequence[Any], known: Sequence[Any], *others: Any) -> list[Any]:
        return _with(replay, keys, own)(jaxpr, *known, *others)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        own, known, *others = primals
        _require_unperturbed(not isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents[:2]))
        moved = [_instantiated(tangent) for tangent in tangents[2:]]
        results = _with(replay, keys, own)(rule, *known, *others, *moved)
        outputs, nonzero = results[: len(parts.zeros)], iter(results[len(parts.zeros) :])
        return outputs, [
            _zero_tangent(output) if zero else next(nonzero)
            for output, zero in zip(outputs, parts.zeros, strict=True)
        ]

    run.__name__ = run.__qualname__ = name_of(jaxpr)
    function = jax.custom_jvp(run)
    function.defjvp(jvp, symbolic_zeros=True)
    return function(replay.values_of(keys), arguments[:constants], *arguments[constants:])


def _custom_vjp(replay: Replay, parameters: _Parameters, arguments: list[Any]) -> _Results:
    jaxpr, parts = parameters["call_jaxpr"], replay.parts_of(parameters)
    if parts is None:
        return None
    fwd, bwd, constants = parts.jaxprs["fwd"], parts.jaxprs["bwd"], parts.constants
    keys = replay.keys_in(jaxpr, fwd, bwd)

    def run(own: Sequence[Any], known: Sequence[Any], *others: Any) -> list[Any]:
        return _with(replay, keys, own)(jaxpr, *known, *others)

    def forward(*primals: Any) -> tuple[list[Any], tuple[list[Any], Sequence[Any]]]:
        _require_unperturbed(leaf.perturbed for leaf in jax.tree.leaves(primals[:2]))
        own, known, *others = jax.tree.map(lambda leaf: leaf.value, primals)
        results = _with(replay, keys, own)(fwd, *known, *others)
        return results[parts.residuals :], (results[: parts.residuals], own)

    def backward(saved: tuple[list[Any], Sequence[Any]], cotangents: list[Any]) -> tuple[Any, ...]:
        residuals, own = saved
        given = map(_instantiated, cotangents)
        found = iter(_with(replay, keys, own)(bwd, *residuals, *given))
        return (None, None, *[None if zero else next(found) for zero in parts.zeros])

    run.__name__ = run.__qualname__ = name_of(jaxpr)
    function = jax.custom_vjp(run)
    function.defvjp(forward, backward, symbolic_zeros=True)
    return function(replay.values_of(keys), arguments[:constants], *arguments[constants:])


def _with(replay: Replay, keys: Sequence[str], values: Sequence[Any]) -> Replay:
    return replay.with_values(dict(zip(keys, values, strict=True)))


def _require_unperturbed(perturbed: Iterable[bool]) -> None:
    """Refuses a derivative by a value that a custom rule closes over, as JAX does."""
    if any(perturbed):
        raise CustomVJPException


def _instantiated(tangent: Any) -> Any:
    if isinstance(tangent, SymbolicZero):
        aval: Any = tangent.aval
        return _zeros(aval.shape, aval.dtype)
    return tangent


def _zero_tangent(value: Any) -> Any:
    is_inexact = jax.dtypes.issubdtype(value.dtype, np.inexact)
    return _zeros(value.shape, value.dtype if is_inexact else jax.dtypes.float0)


def _zeros(shape: Sequence[Any], dtype: Any) -> Any:
    return np.zeros(shape, dtype) if dtype == jax.dtypes.float0 else jnp.zeros(shape, dtype)


CUSTOM = {"custom_jvp_call", "custom_vjp_call"}
REBUILT: dict[str, Callable[[Replay, _Parameters, list[Any]], _Results]] = {
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
