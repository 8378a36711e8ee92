"""Symbolic dimensions replaced by sizes: in expressions, specs, constraints and authors' leaves."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.export

from orbax_model_lite.core.spec import Spec, dim_names
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes.shapes import DimScope, from_aval, parse_shorthand, to_struct

_SYMBOL = re.compile(r"[A-Za-z_]\w*")
_RELATION = re.compile(r"(>=|<=|==)")
_MOST_BITS = 256
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
}
_FUNCTIONS = {"mod": operator.mod, "floordiv": operator.floordiv, "max": max, "min": min}


def fixed_text(expression: str, sizes: Mapping[str, int]) -> str:
    """Returns a dimension expression or constraint with symbols replaced by their sizes.

    >>> fixed_text("2*b + t", {"b": 8})
    '2*8 + t'
    """
    return _SYMBOL.sub(lambda match: str(sizes.get(match[0], match[0])), expression)


def fixed_spec(spec: Spec, sizes: Mapping[str, int]) -> Spec:
    """Returns a spec with symbols replaced by their sizes; a dimension without others is a number.

    >>> from orbax_model_lite.core.dtype import DType
    >>> str(fixed_spec(Spec(shape=("2*b", "t"), dtype=DType.FLOAT32), {"b": 4}))
    'float32 [8, t]'
    """
    if spec.shape is None:
        return spec
    shape = tuple(_fixed_dim(d, sizes) if isinstance(d, str) else d for d in spec.shape)
    return replace(spec, shape=shape)


def _fixed_dim(expression: str, sizes: Mapping[str, int]) -> int | str:
    text = fixed_text(expression, sizes)
    return text if dim_names((text,)) else _integer(text)


def _integer(text: str) -> int:
    """Returns the number that an expression of numbers comes to; JAX keeps "mod(8, 4)" as it is."""
    try:
        return _computed(ast.parse(text.strip().replace("^", "**"), mode="eval").body, text)
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as e:
        raise InvalidModelError(
            f"dimension {text.strip():.80}: expected an expression that comes to a number; found "
            f"one that does not ({e}); correct the expression"
        ) from e


def _computed(node: ast.expr, text: str) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_computed(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, other = _computed(left, text), _computed(right, text)
            # Of a stranger's dimension: 9^9^9^9 has no end, and b^-1 is no size.
            if isinstance(op, ast.Pow) and not 0 <= one.bit_length() * other <= _MOST_BITS:
                raise OverflowError(f"no power of at most {_MOST_BITS} bits")
            return _ARITHMETIC[type(op)](one, other)
        case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_computed(argument, text) for argument in args))
    raise InvalidModelError(
        f"dimension {text.strip()!r}: expected numbers, +, -, *, ^, mod, floordiv, max and min; "
        "found something else; correct the expression"
    )


def fixed_leaf(leaf: Any, sizes: Mapping[str, int], scope: DimScope, where: str) -> Any:
    """Returns an author's leaf with symbols replaced: shorthand, Spec or ShapeDtypeStruct.

    Arrays and other leaves come back as they are.

    Args:
      leaf: As it is given to `jax2obm.convert`.
      sizes: By symbol.
      scope: For the symbols that remain.
      where: Beginning of a message.

    Raises:
      InvalidModelError: If shorthand cannot be parsed.
    """
    if isinstance(leaf, str):
        return fixed_spec(parse_shorthand(leaf, where), sizes)
    if isinstance(leaf, Spec):
        return fixed_spec(leaf, sizes)
    shape = getattr(leaf, "shape", ())
    if not any(jax.export.is_symbolic_dim(dim) for dim in shape):
        return leaf
    struct = to_struct(fixed_spec(from_aval(leaf, where), sizes), scope, where)
    sharding = getattr(leaf, "sharding", None)
    return jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=sharding)


def remaining(constraints: Sequence[str], sizes: Mapping[str, int], where: str) -> tuple[str, ...]:
    """Returns the constraints that still say something once symbols have sizes.

    Args:
      constraints: As JAX spells them: "b >= 1", "mod(t, 8) == 0".
      sizes: By symbol.
      where: Beginning of a message.

    Raises:
      InvalidModelError: If the sizes break a constraint.
    """
    kept = []
    for constraint in constraints:
        text = fixed_text(constraint, sizes)
        if dim_names((text,)):
            kept.append(text)
            continue
        left, relation, right = _RELATION.split(text)
        low, high = _integer(left), _integer(right)
        if not {">=": low >= high, "<=": low <= high, "==": low == high}[relation]:
            found = ", ".join(f"{symbol}={size}" for symbol, size in sizes.items())
            raise InvalidModelError(
                f"{where}: expected sizes with {constraint}; found {found}; choose other sizes"
            )
    return tuple(kept)
