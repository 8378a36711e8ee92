"""What objects say of each other and of themselves, and where they contradict it.

Used on both sides: `save` refuses what is found here, `check` reports it.
"""

from __future__ import annotations

import difflib
import graphlib
from collections.abc import Collection, Iterator, Mapping

from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.function import (
    ConcreteFunction,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.core.value import ExternalValue, NamedTupleValue, Object, TupleValue

_MAX_NAMES_COMPARED = 1000
MOST_PARTS = 1 << 20
"""Values that a tuple may come to when it is unfolded."""

DEEPEST_TUPLE = 64
"""Tuples in tuples that are unfolded."""

Problem = tuple[str, str]
"""Where it is, and what was expected, what was found and what to do."""


def object_problems(objects: Mapping[str, Object]) -> list[Problem]:
    """Returns everything that is wrong with objects by themselves, no file being opened.

    Names that do not exist (gradient functions, elements of tuples), a tuple inside itself,
    signatures whose leaves are no specs, and kept inputs that the signature does not have.
    """
    functions = [name for name, found in objects.items() if is_function(found)]
    problems: list[Problem] = []
    for name, found in objects.items():
        for where, function in concrete_functions(name, found):
            problems += _gradient_problems(where, function, functions)
            problems += _signature_problems(where, function)
        for target in elements(found):
            if target not in objects:
                problems.append((f"value {name!r}", _no_such("element", target, objects)))
    return problems + (_circles(objects) or _too_large(objects))


def is_function(found: Object) -> bool:
    """Whether an object is a function, polymorphic ones included."""
    return isinstance(found, ShloFunction | OpaqueFunction | PolymorphicFunction)


def concrete_functions(name: str, found: Object) -> Iterator[tuple[str, ConcreteFunction]]:
    """Gives (beginning of a message, function) for the functions of one object."""
    if isinstance(found, PolymorphicFunction):
        for index, function in enumerate(found.functions):
            yield f"function {name!r}, variant {index}", function
    elif isinstance(found, ShloFunction | OpaqueFunction):
        yield f"function {name!r}", found
    if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
        for where, form in concrete_functions(name, found.lowering.function):
            yield f"{where}, StableHLO form", form


def payloads(name: str, found: Object) -> Iterator[tuple[str, Data]]:
    """Gives (beginning of a message, payload) for everything an object carries or refers to."""
    for where, function in concrete_functions(name, found):
        if isinstance(function, OpaqueFunction):
            yield f"{where}, body", function.body
            continue
        yield f"{where}, module", function.module
        for key, supplemental in function.supplementals.items():
            yield f"{where}, supplemental {key!r}", supplemental.data
    if isinstance(found, ExternalValue):
        yield f"value {name!r}", found.data


def elements(found: Object) -> tuple[str, ...]:
    """Returns the names that a tuple or named tuple refers to; nothing for other objects."""
    if isinstance(found, TupleValue):
        return found.elements
    if isinstance(found, NamedTupleValue):
        return tuple(target for _, target in found.elements)
    return ()


def unfolded_counts(objects: Mapping[str, Object]) -> dict[str, int]:
    """Returns how many parts a value has when all tuples in it are unfolded, by its name.

    A tuple may name another one twice, so that a few lines of a manifest stand for more parts than
    any memory holds. What is in a circle, or deeper than `DEEPEST_TUPLE`, has more than
    `MOST_PARTS`; all that is beyond counts as one more.
    """
    left = {name: elements(found) for name, found in objects.items()}
    counts = {name: 1 for name, below in left.items() if not below}
    for _ in range(DEEPEST_TUPLE):
        ready = [
            name
            for name, below in left.items()
            if name not in counts and all(part in counts or part not in left for part in below)
        ]
        if not ready:
            break
        for name in ready:
            parts = sum(counts.get(part, 1) for part in left[name])
            counts[name] = min(parts, MOST_PARTS + 1)
    return {name: counts.get(name, MOST_PARTS + 1) for name in left}


def range_problem(place: FileRange, size_bytes: int) -> str | None:
    """Returns what is wrong with a range of a file of this size, or None."""
    offset = place.offset or 0
    begin = size_bytes + offset if offset < 0 else offset
    end = size_bytes if place.size is None else begin + place.size
    if 0 <= begin <= end <= size_bytes:
        return None
    length = "all" if place.size is None else f"{place.size}"
    return (
        f"expected {length} bytes from byte {offset} on in {place.path!r}; found a file of "
        f"{size_bytes} bytes; correct the offset and size or the file"
    )


def _gradient_problems(
    where: str, function: ConcreteFunction, functions: Collection[str]
) -> Iterator[Problem]:
    target = function.gradient_function_name
    if target is not None and target not in functions:
        yield where, _no_such("gradient function", target, functions)


def _no_such(kind: str, target: str, names: Collection[str]) -> str:
    nearest = []
    if len(names) <= _MAX_NAMES_COMPARED:
        nearest = difflib.get_close_matches(target, names, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else "add it or correct the name"
    return f"expected its {kind} {target!r} to be in the bundle; found nothing of that name; {hint}"


def _signature_problems(where: str, function: ConcreteFunction) -> Iterator[Problem]:
    signature = function.signature
    for side, tree in (("input", signature.inputs), ("output", signature.outputs)):
        for path, leaf in _leaves(tree):
            if not isinstance(leaf, Spec | Token):
                yield (
                    f"{where}, {side} {path!r}",
                    f"expected a Spec or a Token; found {type(leaf).__name__}; convert it first",
                )
    if not isinstance(function, ShloFunction):
        return
    kept, count = function.kept_inputs, len(signature.input_leaves)
    if list(kept) != sorted(set(kept)) or any(not 0 <= index < count for index in kept):
        shown = ", ".join(map(str, kept[:12])) + (", ..." if len(kept) > 12 else "")
        message = (
            f"expected kept inputs to be rising positions among its {count} inputs; "
            f"found {shown}; convert the function again"
        )
        yield where, message


def _leaves(tree: Tree) -> Iterator[tuple[str, object]]:
    for path, leaf in flatten_with_path(tree):
        yield format_path(path), leaf


def _too_large(objects: Mapping[str, Object]) -> list[Problem]:
    counts = unfolded_counts(objects)
    first = next((name for name in objects if counts[name] > MOST_PARTS), None)
    if first is None:
        return []
    expected = f"tuples of at most {MOST_PARTS} parts in all, at most {DEEPEST_TUPLE} deep"
    problem = f"expected {expected}; found more; save the parts by themselves"
    return [(f"value {first!r}", problem)]


def _circles(objects: Mapping[str, Object]) -> list[Problem]:
    try:
        graphlib.TopologicalSorter({n: elements(o) for n, o in objects.items()}).prepare()
    except graphlib.CycleError as e:
        circle = " in ".join(map(repr, e.args[1][:8]))
        return [
            (
                f"value {e.args[1][0]!r}",
                f"expected a tuple of other objects; found itself inside: {circle}; remove one",
            )
        ]
    return []
