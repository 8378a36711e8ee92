"""A caller's arguments as arrays, whatever engine runs the function: by name, lists as arrays.

Python numbers and nested lists of them stand for arrays of the recorded dtype, as far as they fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature, format_tree
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import SignatureMismatchError


def as_arrays(
    signature: Signature,
    names: Sequence[str | None],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns a call in the trees of the signature, with arrays as leaves; missing parts stay so.

    Args:
      signature: What the function takes.
      names: Under which positional arguments may be given too; None where there is none.
      args: Positional arguments: plain trees of arrays, numbers or lists.
      kwargs: Keyword arguments.

    Raises:
      SignatureMismatchError: If a tree differs, or a number does not fit its dtype.
    """
    positions = {name: i for i, name in enumerate(names) if name is not None}
    given: dict[int | str, Any] = dict(enumerate(args))
    for name, value in kwargs.items():
        key = name if name in signature.kwargs else positions.get(name, name)
        if key in given:
            raise SignatureMismatchError(
                f"input {name!r}: expected it once; found it twice; leave one out"
            )
        given[key] = value
    trees: dict[int | str, Tree] = {**dict(enumerate(signature.args)), **signature.kwargs}
    found = {key: _arrays(trees[key], value, key) for key, value in given.items() if key in trees}
    found |= {key: value for key, value in given.items() if key not in trees}
    for key, tree in trees.items():
        # Nothing is to be given for it, so nothing need be.
        if key not in found and not flatten_with_path(tree):
            found[key] = tree
    positional: list[Any] = []
    while len(positional) in found:
        positional.append(found.pop(len(positional)))
    # What comes after a gap keeps its name, so that the engine can say what is missing.
    rest = {key if isinstance(key, str) else str(names[key]): found[key] for key in found}
    return tuple(positional), rest


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy or JAX, or a tracer of JAX."""
    return isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "aval")


def _arrays(tree: Tree, value: Any, key: int | str) -> Tree:
    if is_array(value):
        return value
    values: list[Any] = []
    flatten_up_to(tree, value, (key,), values)
    pairs = zip(flatten_with_path(tree, (key,)), values, strict=True)
    return unflatten(tree, [_array(spec, leaf, path) for (path, spec), leaf in pairs])


def _array(spec: Any, value: Any, path: Path) -> Any:
    if is_array(value) or not isinstance(spec, Spec):
        return value
    try:
        return numbers(value, spec.dtype)
    except (TypeError, ValueError, OverflowError) as e:
        raise SignatureMismatchError(
            f"input {format_path(path)!r}: expected {spec}; found {value!r:.60}; pass an array"
        ) from e


def flatten_up_to(expected: Tree, value: Any, path: Path, found: list[Any]) -> None:
    """Adds the parts of a value where the expected tree has leaves; lists may be such leaves.

    Args:
      expected: A plain tree.
      value: What should have its containers; a list is as good as a tuple.
      path: Of the value, for the message.
      found: Is added to, in flatten order.

    Raises:
      SignatureMismatchError: If it has other containers.
    """
    if isinstance(expected, dict):
        if not isinstance(value, Mapping) or set(value) != set(expected):
            raise _other_tree(expected, value, path)
        for key in sorted(expected):
            flatten_up_to(expected[key], value[key], (*path, key), found)
    elif isinstance(expected, (tuple, list)):
        if not isinstance(value, (tuple, list)) or len(value) != len(expected):
            raise _other_tree(expected, value, path)
        for index, (below, part) in enumerate(zip(expected, value, strict=True)):
            flatten_up_to(below, part, (*path, index), found)
    elif expected is not None:
        found.append(value)
    elif value is not None:
        raise _other_tree(expected, value, path)


def _other_tree(expected: Tree, value: Any, path: Path) -> SignatureMismatchError:
    if isinstance(value, Mapping):
        have = f"a dict with keys {', '.join(map(str, value))}"
    elif isinstance(value, (tuple, list)):
        have = f"a {type(value).__name__} of {len(value)}"
    else:
        have = "None" if value is None else f"a {type(value).__name__}"
    return SignatureMismatchError(
        f"input {format_path(path)!r}: expected {format_tree(expected)}; found {have}"
    )


def numbers(value: Any, dtype: DType) -> np.ndarray:
    """Returns an array; Python numbers and lists of them become the expected dtype if they fit.

    Raises:
      OverflowError: If a number is out of the range of the dtype.
      TypeError: If it is no number at all.
      ValueError: If lists are ragged.
    """
    array = np.asarray(value)
    if hasattr(value, "dtype") or dtype is DType.UNSPECIFIED:
        return array
    if array.size and array.dtype.kind not in _kinds_that_fit(dtype):
        return array
    # NumPy refuses Python integers that are out of range, but does not know the narrow types.
    cast = np.asarray(value, dtype=dtype.numpy)
    if array.dtype.kind in "iu" and not np.array_equal(cast.astype(array.dtype), array):
        raise OverflowError(f"out of the range of {dtype.value}")
    return cast


def _kinds_that_fit(dtype: DType) -> str:
    if dtype is DType.BOOL:
        return "b"
    if dtype.value.startswith(("int", "uint")):
        return "iu"
    return "iufc" if dtype.value.startswith("complex") else "iuf"
