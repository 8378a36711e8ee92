"""What the comparator of a sort compares: keys, each in ascending or descending order.

Only the text form of a comparator is looked at (see `bodies.expressions`); sorting is in `sorting`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

_PARAMETER: Final = re.compile(r"\$(\d+)")
_CANONICAL: Final = re.compile(
    r"select\(compare\.NE\.FLOAT\((?P<x>.+), (?P=x)\), nan, "
    r"select\(compare\.EQ\.FLOAT\((?P=x), 0\.0\), 0\.0, (?P=x)\)\)"
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that is compared.

    Attributes:
      operand: Number of the operand.
      part: "real" or "imag" of a complex operand, else "".
      is_total: Whether zeros and NaNs are told apart: -NaN < -inf, -0.0 < 0.0, inf < NaN.
      is_descending: Whether larger ones come first.
    """

    operand: int
    part: str
    is_total: bool
    is_descending: bool


def keys_of(comparator: str) -> list[Key] | None:
    """Returns the keys of a lexicographic comparator, the first one first; None for any other.

    Args:
      comparator: Its result; "$0" and "$1" are a pair of the first operand.
    """
    keys: list[Key] = []
    while True:
        name, arguments = _split(comparator)
        if name.startswith("compare."):
            last = _key(comparator)
            return None if last is None else [*keys, last]
        found = _first_and_rest(name, arguments)
        if found is None:
            return None
        first, same, comparator = found
        key = _key(first)
        if key is None or not _is_equality(same, first):
            return None
        keys.append(key)


def _first_and_rest(name: str, arguments: list[str]) -> tuple[str, str, str] | None:
    """Returns the first comparison, the one that lets the rest decide, and the rest."""
    if name == "or" and len(arguments) == 2:
        for first, other in (arguments, arguments[::-1]):
            inner, pair = _split(other)
            if inner == "and" and first.startswith("compare."):
                same, rest = pair if pair[0].startswith("compare.EQ.") else pair[::-1]
                return first, same, rest
    if name == "select" and arguments[0].startswith("compare.EQ."):
        return arguments[2], arguments[0], arguments[1]
    if name == "select" and arguments[0].startswith("compare.NE."):
        return arguments[1], arguments[0].replace("compare.NE.", "compare.EQ.", 1), arguments[2]
    return None


def _is_equality(same: str, first: str) -> bool:
    """Returns whether a comparison is for equality and of what another one compares."""
    name, pair = _split(same)
    other, wanted = _split(first)
    alike = sorted(pair) == sorted(wanted)
    return name.startswith("compare.EQ.") and other.startswith("compare.") and alike


def _key(comparison: str) -> Key | None:
    name, pair = _split(comparison)
    _, direction, order = name.split(".")
    if direction not in ("LT", "GT") or len(pair) != 2:
        return None
    numbers = [{int(number) for number in _PARAMETER.findall(side)} for side in pair]
    if any(len(found) != 1 for found in numbers):
        return None
    (left,), (right,) = numbers
    alike = _PARAMETER.sub("$", pair[0]) == _PARAMETER.sub("$", pair[1])
    if left // 2 != right // 2 or left == right or not alike:
        return None
    value = _PARAMETER.sub("$", pair[0])
    canonical = _CANONICAL.fullmatch(value)
    if canonical:
        value = canonical["x"]
    part = {"$": "", "real($)": "real", "imag($)": "imag"}.get(value)
    if part is None:
        return None
    return Key(
        operand=left // 2,
        part=part,
        is_total=order == "TOTALORDER" and canonical is None,
        is_descending=(direction == "GT") == (left < right),
    )


def _split(expression: str) -> tuple[str, list[str]]:
    """Returns the name of an operation and its operands; no operands for a leaf."""
    name, bracket, inner = expression.partition("(")
    if not bracket:
        return expression, []
    arguments, depth, start = [], 0, 0
    for i, character in enumerate(inner[:-1]):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            arguments.append(inner[start:i])
            start = i + 2
    return name, [*arguments, inner[start:-1]]
