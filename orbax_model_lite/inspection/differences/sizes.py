"""Symbolic sizes as polynomials, so that "2*b + 2" and "b + b + 2" are the same size.

The expressions are those of JAX: names, numbers, +, -, *, ^, floordiv, mod, max and min. They may
come from a stranger: what is too large to compute with is compared as text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from orbax_model_lite.core.spec import dim_names

Term: TypeAlias = tuple[tuple[str, int], ...]
"""A product of powers: (atom, exponent) pairs, sorted; () is 1."""

_MOST_CHARACTERS: Final = 2000
_MOST_TERMS: Final = 200
_MOST_BITS: Final = 256
_MOST_EXPONENT: Final = 16
_MOST_ROUNDS: Final = 8
_RELATION: Final = re.compile(r"(>=|<=|==)")
# Marks a name that has no value yet, so that it is not taken for one of the other bundle's.
_OPEN: Final = "\0"


class _TooComplexError(ValueError):
    """An expression that is none, or too large to compute with."""


@final
@dataclass(frozen=True, slots=True)
class Size:
    """A size: a sum of terms with coefficients, sorted, none of them 0."""

    terms: tuple[tuple[Term, int], ...]

    @property
    def number(self) -> int | None:
        """The size, where it is known."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    @property
    def symbol(self) -> str | None:
        """The name, where the size is a mere name."""
        match self.terms:
            case ((((str(name), 1),), 1),):
                return name
        return None

    def __str__(self) -> str:
        """Returns one text for all spellings of the size."""
        products = (
            "*".join([str(factor), *(f"{name}^{power}" for name, power in term)])
            for term, factor in self.terms
        )
        return " + ".join(products) or "0"


def number(value: int) -> Size:
    """Returns the size that is a number."""
    return Size((((), value),) if value else ())


def symbol(name: str) -> Size:
    """Returns the size of a name."""
    return Size(((((name, 1),), 1),))


def parse(dim: int | str, known: Mapping[str, Size]) -> Size:
    """Returns a dimension as a size.

    Args:
      dim: A number, or an expression.
      known: What names stand for; others stand for themselves.

    >>> parse("2*(b + 1)", {}) == parse("b + 2 + b", {})
    True
    >>> parse("floordiv(b, 2)", {"b": number(9)}).number
    4
    """
    if isinstance(dim, int):
        return number(dim)
    try:
        if len(dim) > _MOST_CHARACTERS:
            raise _TooComplexError
        return _evaluated(ast.parse(dim.strip().replace("^", "**"), mode="eval").body, known)
    except (_TooComplexError, SyntaxError, ValueError, RecursionError, MemoryError):
        return symbol(dim)


def bindings(pairs: Sequence[tuple[Size, int | str | None]]) -> dict[str, Size]:
    """Returns what names have to stand for, so that expressions give certain sizes.

    Plain names come first, then expressions in which one name is left, each linear. A name that
    nothing determines stands for itself. Whether all expressions then give their size is for the
    caller to see.

    Args:
      pairs: A size, and the dimension that has to give it.

    >>> bindings([(number(16), "2*b"), (symbol("x"), "t")])["b"].number
    8
    """
    found: dict[str, Size] = {}
    texts = [(size, dim) for size, dim in pairs if isinstance(dim, str)]
    for size, dim in texts:
        if dim.isidentifier():
            found.setdefault(dim, size)
    rest = [(size, dim) for size, dim in texts if not dim.isidentifier()]
    for _ in range(_MOST_ROUNDS):
        known = len(found)
        for size, dim in rest:
            solved = _solution(size, dim, found)
            if solved is not None:
                found[solved[0]] = solved[1]
        if len(found) == known:
            break
    return found


def _solution(size: Size, dim: str, known: Mapping[str, Size]) -> tuple[str, Size] | None:
    unknown = set(dim_names((dim,))) - known.keys()
    if len(unknown) != 1:
        return None
    (name,) = unknown
    marked = _OPEN + name
    terms = dict(parse(dim, {**known, name: symbol(marked)}).terms)
    factor = terms.pop(((marked, 1),), 0)
    if not factor or any(marked in atom for term in terms for atom, _ in term):
        return None
    rest = _size(_added([(1, size), (-1, _size(terms))])).terms
    if any(coefficient % factor for _, coefficient in rest):
        return None
    return name, Size(tuple((term, coefficient // factor) for term, coefficient in rest))


@final
@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on sizes: `left` is at least 0, or equal to it."""

    left: Size
    is_equation: bool

    @property
    def is_true(self) -> bool | None:
        """Whether it holds; None where that depends on names."""
        value = self.left.number
        if value is None:
            return None
        return value == 0 if self.is_equation else value >= 0

    def follows_from(self, others: Iterable[Constraint]) -> bool:
        """Whether it holds wherever the others do, as far as that is plain to see.

        Every name is at least 1, as JAX has it.
        """
        if self.is_true is not None:
            return self.is_true
        terms = dict(self.left.terms)
        offset = terms.pop((), 0)
        if not self.is_equation and all(c > 0 for c in terms.values()):
            is_plain = all(len(t) == 1 and t[0][0].isidentifier() for t in terms)
            if is_plain and sum(terms.values()) + offset >= 0:
                return True
        for other in others:
            given = dict(other.left.terms)
            least = given.pop((), 0)
            if given == terms and (least == offset or (not self.is_equation and offset >= least)):
                return other.is_equation or not self.is_equation
        return False


def constraint(text: str, known: Mapping[str, Size]) -> Constraint:
    """Returns a constraint as JAX spells it: "b >= 2", "mod(t, 8) == 0".

    Args:
      text: Of the constraint.
      known: What names stand for.

    >>> constraint("b >= 2", {}) == constraint("2 <= b", {})
    True
    """
    parts = _RELATION.split(text)
    if len(parts) != 3:
        return Constraint(symbol(text), is_equation=True)
    left, relation, right = parts[0], parts[1], parts[2]
    low, high = parse(left, known), parse(right, known)
    sign = -1 if relation == "<=" else 1
    found = _size(_added([(sign, low), (-sign, high)]))
    if relation == "==" and found.terms and found.terms[-1][1] < 0:
        found = _size(_added([(-1, found)]))
    return Constraint(found, is_equation=relation == "==")


def _evaluated(node: ast.expr, known: Mapping[str, Size]) -> Size:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return _checked(number(value))
        case ast.Name(id=name):
            return known.get(name, symbol(name))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _sum([(-1, _evaluated(operand, known))])
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _sum([(1, _evaluated(left, known)), (1, _evaluated(right, known))])
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _sum([(1, _evaluated(left, known)), (-1, _evaluated(right, known))])
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_evaluated(left, known), _evaluated(right, known))
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))):
            return _power(_evaluated(left, known), power)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _called(name, [_evaluated(argument, known) for argument in args])
    raise _TooComplexError


def _called(name: str, arguments: list[Size]) -> Size:
    values = [value for argument in arguments if (value := argument.number) is not None]
    if name in ("floordiv", "mod"):
        if len(arguments) != 2 or (len(values) == 2 and values[1] == 0):
            raise _TooComplexError
        if len(values) == 2:
            return number(values[0] // values[1] if name == "floordiv" else values[0] % values[1])
        return _atom(f"{name}({arguments[0]}, {arguments[1]})")
    if len(values) == len(arguments) > 0:
        return number(max(values) if name == "max" else min(values))
    return _atom(f"{name}({', '.join(sorted(map(str, arguments)))})")


def _atom(text: str) -> Size:
    # What a name stands for is put in; names that stand for each other could double it each time.
    if len(text) > _MOST_CHARACTERS:
        raise _TooComplexError
    return symbol(text)


_FUNCTIONS: Final = frozenset({"floordiv", "mod", "max", "min"})


def _sum(parts: Iterable[tuple[int, Size]]) -> Size:
    return _checked(_size(_added(parts)))


def _added(parts: Iterable[tuple[int, Size]]) -> dict[Term, int]:
    terms: dict[Term, int] = {}
    for factor, part in parts:
        for term, coefficient in part.terms:
            terms[term] = terms.get(term, 0) + factor * coefficient
    return terms


def _product(left: Size, right: Size) -> Size:
    if len(left.terms) * len(right.terms) > _MOST_TERMS:
        raise _TooComplexError
    terms: dict[Term, int] = {}
    for one, first in left.terms:
        for other, second in right.terms:
            powers = dict(one)
            for atom, power in other:
                powers[atom] = powers.get(atom, 0) + power
            term = tuple(sorted(powers.items()))
            terms[term] = terms.get(term, 0) + first * second
    return _checked(_size(terms))


def _power(base: Size, exponent: int) -> Size:
    if not 0 <= exponent <= _MOST_EXPONENT:
        raise _TooComplexError
    found = number(1)
    for _ in range(exponent):
        found = _product(found, base)
    return found


def _size(terms: Mapping[Term, int]) -> Size:
    return Size(tuple(sorted((term, factor) for term, factor in terms.items() if factor)))


def _checked(size: Size) -> Size:
    if len(size.terms) > _MOST_TERMS:
        raise _TooComplexError
    if any(coefficient.bit_length() > _MOST_BITS for _, coefficient in size.terms):
        raise _TooComplexError
    return size
