"""What JAX says when a symbolic dimension is not known well enough, in the author's terms.

A constraint is only suggested after tracing again with it has got past the same question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.export

from orbax_model_lite.core.spec import dim_names
from orbax_model_lite.core.tree import flatten_with_path, map_leaves
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm.plain_call import PlainCall
from orbax_model_lite.jaxtypes.shapes import DimScope

_COMPARISON = re.compile(r"comparison '(?P<left>.+?)' (?P<how>>=|<=|==|!=|>|<) '(?P<right>.+?)' is")
_REMAINDER = re.compile(r"[Rr]emainder mod\((?P<what>.+), (?P<by>- ?\d+|\w+)\) should be 0")
_REST = re.compile(r"equal division: rest is mod\((?P<what>.+), (?P<by>\w+)\)")
_CONSTANT = re.compile(r"Symbolic dimension '(?P<what>.+?)' used in a context that requires")
_BROADCAST = re.compile(r"incompatible shapes for broadcasting: (?P<shapes>\(.*\))")
_CONTRACT = re.compile(r"contracting dimensions to have the same shape, got (?P<shapes>\(.*\))\.?")
_MULTIPLE = re.compile(r"mod\((\w+), (\d+)\) == 0")

ERRORS = (jax.errors.InconclusiveDimensionOperation, TypeError, ValueError)
"""What JAX raises for an undecided dimension; the last two also for much else."""


def translated(
    error: BaseException, call: PlainCall, trace: Callable[[PlainCall], Any]
) -> InvalidModelError | None:
    """Returns the error for an undecided symbolic dimension; None for any other error.

    Args:
      error: What tracing raised.
      call: What was traced.
      trace: Traces it; called again with constraints that may settle the question.
    """
    question = _question(str(error))
    if question is None:
        inconclusive = isinstance(error, jax.errors.InconclusiveDimensionOperation)
        return _message(call, "", str(error).splitlines()[0], None) if inconclusive else None
    asked, candidates = question
    if not any(jax.export.is_symbolic_dim(dim) for _, leaf in _inputs(call) for dim in leaf.shape):
        return None
    for constraint in candidates:
        if _settles(lambda c=constraint: _with_constraint(call, c), str(error), trace):
            remedy = f"pass constraints=({constraint!r},) if it always holds"
            return _message(call, asked, asked, remedy)
    for name, by in _MULTIPLE.findall(" ".join(candidates)):
        multiple = f"{by}*{name}"
        if _settles(lambda n=name, m=multiple: _renamed(call, n, m), str(error), trace):
            remedy = f"write {name!r} as {multiple!r} in the specs if it always is such a multiple"
            return _message(call, asked, asked, remedy)
    return _message(call, asked, asked, None)


def _question(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Returns what JAX could not decide, and constraints that might decide it."""
    if found := _COMPARISON.search(text):
        left, how, right = found["left"], found["how"], found["right"]
        asked = f"whether {left} {how} {right}"
        return asked, tuple(_comparisons(left, how, right))
    if found := _REMAINDER.search(text) or _REST.search(text):
        by = found["by"].lstrip("- ")
        asked = f"whether {found['what']} is a multiple of {by}"
        names = [name for name in dim_names((found["what"],)) if name != by]
        simple = [f"mod({name}, {by}) == 0" for name in names]
        return asked, (*simple, f"mod({found['what']}, {by}) == 0")
    if found := _CONSTANT.search(text):
        return f"the size of {found['what']}", ()
    if found := _BROADCAST.search(text) or _CONTRACT.search(text):
        shapes = re.findall(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)", found["shapes"])
        pairs = [tuple(part.strip() for part in shape.split(",")) for shape in shapes[:2]]
        equalities = tuple(_equalities(*pairs)) if len(pairs) == 2 else ()
        if equalities:
            return f"whether {equalities[0]}", equalities
    return None


def _comparisons(left: str, how: str, right: str) -> Iterator[str]:
    if how in (">=", "<"):
        yield f"{left} >= {right}"
        yield f"{left} <= {_plus(right, -1)}"
    elif how in (">", "<="):
        yield f"{left} >= {_plus(right, 1)}"
        yield f"{left} <= {right}"
    else:
        yield f"{left} == {right}"


def _plus(text: str, number: int) -> str:
    return str(int(text) + number) if text.lstrip("-").isdecimal() else f"{text} + {number}"


def _equalities(one: tuple[str, ...], other: tuple[str, ...]) -> Iterator[str]:
    """Yields an equality for each aligned pair of dimensions that differ, a symbol first."""
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right and "1" not in (left, right) and left and right:
            first, second = (right, left) if left.isdecimal() else (left, right)
            if dim_names((first,)):
                yield f"{first} == {second}"


def _settles(
    changed: Callable[[], PlainCall], before: str, trace: Callable[[PlainCall], Any]
) -> bool:
    """Returns whether tracing a changed call gets past the question of an error text."""
    try:
        trace(changed())
    except InvalidModelError:
        return False
    except ERRORS as e:
        # The next question is another matter.
        return _question(str(e)) != _question(before)
    return True


def _with_constraint(call: PlainCall, constraint: str) -> PlainCall:
    scope = DimScope((*call.scope.constraints, constraint))
    return call.in_scope(scope)


def _renamed(call: PlainCall, name: str, expression: str) -> PlainCall:
    """Returns the call with `expression` for a symbol in all its specs."""
    scope = DimScope(tuple(c for c in call.scope.constraints if name not in dim_names((c,))))
    pattern = re.compile(rf"\b{name}\b")

    def renamed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dims = [d if isinstance(d, int) else pattern.sub(expression, str(d)) for d in leaf.shape]
        return jax.ShapeDtypeStruct(scope.shape(dims, call.where), leaf.dtype)

    args, kwargs = map_leaves(renamed, (call.args, call.kwargs))
    return replace(call, args=args, kwargs=kwargs, scope=scope)


def _inputs(call: PlainCall) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    leaves = flatten_with_path((call.args, call.kwargs))
    return [(call.input_name(path), leaf) for path, leaf in leaves]


def _message(call: PlainCall, asked: str, shown: str, remedy: str | None) -> InvalidModelError:
    names = dim_names((asked,)) if asked else ()
    held = [
        (name, i, str(dim))
        for name, leaf in _inputs(call)
        for i, dim in enumerate(leaf.shape)
        if jax.export.is_symbolic_dim(dim)
        and (not names or set(names) & set(dim_names((str(dim),))))
    ]
    where = call.where
    if held:
        name, i, dim = held[0]
        where += f", input {name!r}, dimension {i} ({dim!r})"
    what_to_do = remedy or "give the dimension a fixed size, or do without the question"
    return InvalidModelError(
        f"{where}: expected a function that is the same for every size; found that it needs to "
        f"know {shown}; {what_to_do}"
    )
