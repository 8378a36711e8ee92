"""Names of a TensorFlow function's inputs and outputs in a SavedModel, of every age of the format.

The names that `convert_function` records and those that `save_tf_functions` writes come from here,
so they agree. No framework is needed.
"""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.tree import Path, flatten_with_path
from orbax_model_lite.errors import InvalidBundleError

NO_OUTPUT: Final = "nothing"
"""Output of a signature whose function returns nothing; TensorFlow knows no signature without."""

_RESERVED_SIGNATURE: Final = "__saved_model_init_op"


def signature_key(name: str) -> str:
    """Returns the key of a function's signature in the SavedModel: its name, or one beside it.

    >>> signature_key("pre"), signature_key("__saved_model_init_op")
    ('pre', '__saved_model_init_op_')
    """
    return f"{name}_" if name.rstrip("_") == _RESERVED_SIGNATURE else name


def joined_output_names(paths: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Returns one name for each output, none twice.

    Args:
      paths: For each leaf of the output, in flatten order, the keys that lead to it: a dict's key,
        a field's name, or `output_<i>` for the i-th element of a sequence.

    >>> joined_output_names([("a", "b"), ("a.b",), ()])
    ('a.b', 'a.b_1', 'output_0')
    """
    return _distinct([".".join(path) if path else "output_0" for path in paths])


def input_names(arguments: Iterable[str]) -> tuple[str, ...]:
    """Returns one name for each input, none twice, that can be a keyword argument.

    Args:
      arguments: Names of the arguments of the traced function, one for each flat input.

    >>> input_names(["x", "in", "x"])
    ('x', 'in_', 'x_1')
    """
    return _distinct([f"{name}_" if keyword.iskeyword(name) else name for name in arguments])


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names with a count added to those that came before, or that anything else has."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        free, count = name, 0
        while free in taken or (count and free in names):
            count += 1
            free = f"{name}_{count}"
        taken.add(free)
        found.append(free)
    return tuple(found)


def argument_names(signature: Signature, names: Sequence[str]) -> list[str | None]:
    """Returns the name under which each positional argument may be given; None where it has none.

    Args:
      signature: Of the function.
      names: Of its flat inputs.
    """
    found: list[str | None] = []
    position = 0
    for argument in signature.args:
        leaves = flatten_with_path(argument)
        is_leaf = len(leaves) == 1 and leaves[0][0] == ()
        found.append(names[position] if is_leaf and position < len(names) else None)
        position += len(leaves)
    return found


def matched_names(
    recorded: Sequence[str],
    leaves: Sequence[tuple[Path, object]],
    present: Collection[str],
    where: str,
) -> tuple[str, ...]:
    """Returns the SavedModel's name of each flat input or output of a function.

    Args:
      recorded: Names in the function's handle, in flatten order. Bundles before May 2025 record
        none when the SavedModel's names are the keys of a flat dict.
      leaves: Path and spec of each leaf, in flatten order.
      present: Names that the SavedModel's signature has.
      where: Beginning of a message, with "inputs" or "outputs" last.

    Raises:
      InvalidBundleError: If a name is missing from the signature, or names cannot be told.
    """
    names = tuple(recorded) or _unrecorded_names(leaves, present)
    if len(names) != len(leaves) or not set(names) <= set(present):
        raise InvalidBundleError(
            f"{where}: expected {len(leaves)} that the SavedModel's signature has; found "
            f"{', '.join(map(repr, names)) or 'no names'} for a signature with "
            f"{', '.join(map(repr, sorted(present))) or 'none'}; save the bundle again"
        )
    return names


def _unrecorded_names(
    leaves: Sequence[tuple[Path, object]], present: Collection[str]
) -> tuple[str, ...]:
    keys = tuple(str(path[-1]) if path else "" for path, _ in leaves)
    if set(keys) == set(present) and len(set(keys)) == len(leaves):
        return keys
    for prefix in ("input", "output"):
        counted = tuple(f"{prefix}_{i}" for i in range(len(leaves)))
        if set(counted) <= set(present):
            return counted
    return tuple(present) if len(leaves) == len(present) == 1 else ()
