"""The bodies of reductions, scatters and their like: what they compute, and how they are applied.

A body takes scalars. `combiners` recognises those that are one operation, for which JAX has an
operation with a derivative; `elementwise` applies any other to arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Operation, enum_keyword
from orbax_model_lite.lift.operations.dense import dense_values, resource_name
from orbax_model_lite.lift.types import TensorType, tensor_type
from orbax_model_lite.lift.values import as_arrays

Body = Callable[..., tuple[Any, ...]]
"""Takes and returns scalars."""

ASSIGN: Final = "assign"
"""The combiner `(a, b) -> b`."""

KEEP: Final = "keep"
"""The combiner `(a, b) -> a`."""

_COMMUTATIVE: Final = {
    f"stablehlo.{name}": name
    for name in ("add", "and", "maximum", "minimum", "multiply", "or", "xor")
}

# What arithmetic on booleans is.
_OF_BOOLEANS: Final = {"add": "or", "maximum": "or", "minimum": "and", "multiply": "and"}


def combiners(block: ir.Block) -> list[str] | None:
    """Returns what a body `(a..., b...) -> (r...)` makes of each pair on its own; None if unknown.

    Each is "add", "and", "maximum", "minimum", "multiply", "or", "xor", ASSIGN or KEEP, and for
    booleans never one of the arithmetic ones.
    """
    arguments, steps = list(block.arguments), list(block.operations)
    returned = list(steps[-1].operation.operands)
    count = len(returned)
    if len(arguments) != 2 * count:
        return None
    found = [_combiner(returned[i], arguments[i], arguments[count + i]) for i in range(count)]
    names = [name for name in found if name is not None]
    return names if len(names) == count else None


def _combiner(result: ir.Value, a: ir.Value, b: ir.Value) -> str | None:
    if result == b:
        return ASSIGN
    if result == a:
        return KEEP
    if not isinstance(result.owner, ir.Operation | ir.OpView):
        return None
    owner = result.owner.operation
    name = _COMMUTATIVE.get(owner.name)
    if name is None or set(owner.operands) != {a, b}:
        return None
    is_boolean = str(ir.RankedTensorType(result.type).element_type) == "i1"
    return _OF_BOOLEANS.get(name, name) if is_boolean else name


_LARGEST_BODY = 200


def expressions(block: ir.Block) -> list[str]:
    """Returns what a body returns, as text in which alike bodies are alike.

    Parameters are "$0", "$1" and so on, constants their numbers, an operation its name and
    operands: "select(compare.GT.FLOAT($0, $1), $0, $1)". Empty if the body is too large to match
    anything, or has regions or calls.
    """
    steps = [step.operation for step in block.operations]
    if len(steps) > _LARGEST_BODY:
        return []
    known: dict[ir.Value, str] = {a: f"${i}" for i, a in enumerate(block.arguments)}
    for step in steps[:-1]:
        if len(step.results) != 1 or len(step.regions):
            return []
        known[step.results[0]] = _expression(step, known)
    return [known.get(value) or _outer(value) for value in steps[-1].operands]


def _expression(step: ir.Operation, known: dict[ir.Value, str]) -> str:
    operands = [known.get(value) or _outer(value) for value in step.operands]
    name = step.name.removeprefix("stablehlo.")
    if name == "compare":
        name += f".{enum_keyword(step.attributes['comparison_direction'])}"
        has_kind = "compare_type" in step.attributes
        order = enum_keyword(step.attributes["compare_type"]) if has_kind else ""
        name += f".{order or _default_order(step.operands[0])}"
    elif name == "constant":
        return _outer(step.results[0])
    return f"{name}({', '.join(operands)})"


def _default_order(value: ir.Value) -> str:
    element = str(ir.RankedTensorType(value.type).element_type)
    if element.startswith("ui") or element == "i1":
        return "UNSIGNED"
    return "SIGNED" if element.startswith("i") else "FLOAT"


def _outer(value: ir.Value) -> str:
    constant = constant_behind(value)
    return "?" if constant is None or constant.size != 1 else str(constant.item())


_PASSED_ON: Final = ("stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.reshape")


def body_of(operation: Operation, region: int = 0) -> ir.Block:
    """Returns the block of a region, as MLIR has it."""
    return operation.inner.regions[region].blocks[0]


def constant_scalar(operation: Operation, index: int) -> np.ndarray | None:
    """Returns a scalar operand, if the module has it as a constant; else None.

    The operand itself may be traced where the module passes the constant on through operations
    that change nothing.
    """
    found = constant_behind(operation.inner.operands[index])
    return None if found is None else found.reshape(())


def constant_behind(value: ir.Value) -> np.ndarray | None:
    """Returns the constant that a value is, in its type; None if it is computed."""
    type_ = value.type
    while isinstance(value.owner, ir.Operation | ir.OpView):
        owner = value.owner.operation
        if owner.name == "stablehlo.constant":
            expected = tensor_type(value.type)
            if expected is None or resource_name(owner) is not None:
                return None
            return dense_values(owner, expected)
        if owner.name not in _PASSED_ON or owner.operands[0].type != type_:
            return None
        value = owner.operands[0]
    return None


def is_iota(value: ir.Value, dimension: int) -> bool:
    """Returns whether a value counts along a dimension, as the module says itself."""
    owner = value.owner
    if not isinstance(owner, ir.Operation | ir.OpView):
        return False
    if owner.operation.name not in ("stablehlo.iota", "stablehlo.dynamic_iota"):
        return False
    return ir.IntegerAttr(owner.operation.attributes["iota_dimension"]).value == dimension


def elementwise(body: Body, rank: int) -> Body:
    """Returns a body that takes arrays of a rank, all of one shape, and maps over all elements."""
    mapped = _traced(body)
    for _ in range(rank):
        mapped = jax.vmap(mapped)
    return mapped


def _traced(body: Body) -> Body:
    return lambda *arguments: tuple(as_arrays(body(*arguments)))


def closed(body: Body, types: Sequence[TensorType]) -> Body | None:
    """Returns a body as a function that may be traced again later; None if it cannot be.

    The region itself can only be run while its step runs. A body that reads traced values from
    around it depends on the trace, so it cannot outlive it.

    Args:
      body: A region.
      types: Of its parameters.
    """
    scalars = [jax.ShapeDtypeStruct(t.static_shape, t.dtype) for t in types]
    traced = jax.make_jaxpr(_traced(body))(*scalars)
    if any(isinstance(constant, jax.core.Tracer) for constant in traced.consts):
        return None
    run = jax.extend.core.jaxpr_as_fun(traced)
    return lambda *arguments: tuple(run(*arguments))


def with_derivative_of(fast: Callable[..., Any], slow: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fast`, which JAX cannot differentiate, with the derivative of its equal `slow`."""
    function = jax.custom_jvp(fast)
    function.defjvp(lambda primals, tangents: jax.jvp(slow, primals, tangents))
    return function


def combine(name: str) -> Callable[[Any, Any], Any]:
    """Returns the operation of a combiner on arrays."""
    return _COMBINE[name]


_COMBINE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": lax.add,
    "and": lax.bitwise_and,
    "maximum": lax.max,
    "minimum": lax.min,
    "multiply": lax.mul,
    "or": lax.bitwise_or,
    "xor": lax.bitwise_xor,
    ASSIGN: lambda a, b: b,
    KEEP: lambda a, b: a,
}


def is_identity(name: str, value: np.ndarray | None) -> bool:
    """Returns whether a constant changes nothing as an operand of a combiner, to the bit."""
    identity = None if value is None else identity_of(name, value.dtype)
    if value is None or identity is None:
        return False
    return value.tobytes() == np.asarray(identity).astype(value.dtype).tobytes()


def identity_of(name: str, dtype: np.dtype) -> Any:
    """Returns the number that changes nothing in a combiner; None if there is none."""
    return _IDENTITIES[name](dtype) if name in _IDENTITIES else None


def _lowest(dtype: np.dtype) -> Any:
    if dtype == np.bool_:
        return False
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).min
    if not jnp.issubdtype(dtype, jnp.floating):
        return None
    return -np.inf if _has_infinity(dtype) else jnp.finfo(dtype).min


def _highest(dtype: np.dtype) -> Any:
    if dtype == np.bool_:
        return True
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).max
    if not jnp.issubdtype(dtype, jnp.floating):
        return None
    return np.inf if _has_infinity(dtype) else jnp.finfo(dtype).max


def _has_infinity(dtype: np.dtype) -> bool:
    return bool(np.isinf(np.array(np.inf).astype(dtype).astype(np.float32)))


def _all_bits(dtype: np.dtype) -> Any:
    if jnp.issubdtype(dtype, jnp.unsignedinteger):
        return jnp.iinfo(dtype).max
    return True if dtype == np.bool_ else -1


_IDENTITIES: Final[dict[str, Callable[[np.dtype], Any]]] = {
    "add": lambda dtype: 0,
    "and": _all_bits,
    "maximum": _lowest,
    "minimum": _highest,
    "multiply": lambda dtype: 1,
    "or": lambda dtype: 0,
    "xor": lambda dtype: 0,
}
