"""A caller's arguments as TensorFlow tensors, checked against a signature; results as NumPy arrays.

Arrays must have the recorded dtype. Python numbers and lists take it, as far as they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import tensorflow as tf

from orbax_model_lite.core.arguments import flatten_up_to, numbers
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature, format_tree
from orbax_model_lite.core.spec import Shape, Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path
from orbax_model_lite.errors import SignatureMismatchError, UnsupportedError
from orbax_model_lite.tf2obm.names import argument_names

_MOST_PROBLEMS = 3


@final
class Arguments:
    """Turns the arguments of calls of one function into flat tensors."""

    def __init__(self, signature: Signature, names: Sequence[str], where: str) -> None:
        """Prepares for a function.

        Args:
          signature: What the function takes.
          names: Of its flat inputs in the SavedModel; a positional argument that is one tensor may
            also be given by its name.
          where: Beginning of a message, for example "function 'pre'".
        """
        self._where = where
        self._signature = signature
        positional = argument_names(signature, names)
        self._positions = {name: i for i, name in enumerate(positional) if name is not None}
        self._slots: list[_Slot] = []
        rest = iter(names)
        for index, tree in enumerate(signature.args):
            self._slots.append(_Slot(index, positional[index] or index, tree, rest))
        for name, tree in sorted(signature.kwargs.items()):
            self._slots.append(_Slot(name, name, tree, rest))

    def tensors(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        defaults: Callable[[], Mapping[str, Any]],
    ) -> list[Any]:
        """Returns one tensor for each flat input.

        Args:
          args: Positional arguments: plain trees of arrays, tensors, numbers, strings or lists.
          kwargs: Keyword arguments.
          defaults: Gives tensors by input name, for arguments that are left out.

        Raises:
          SignatureMismatchError: If trees, shapes or dtypes do not fit; up to three are named.
        """
        problems: list[str] = []
        given = self._given(args, kwargs, problems)
        found: list[Any] = []
        for slot in self._slots:
            if slot.key not in given and slot.names:
                known = defaults()
                found += [known.get(name) for name in slot.names]
                problems += [
                    f"input {name!r}: expected a value; found none"
                    for name in slot.names
                    if name not in known
                ]
            else:
                found += slot.tensors(given.get(slot.key), problems)
        if problems:
            raise self._mismatch(problems)
        return found

    def _given(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], problems: list[str]
    ) -> dict[int | str, Any]:
        """Returns the arguments by position or, for keyword arguments of the signature, by name."""
        given: dict[int | str, Any] = dict(enumerate(args))
        expected = len(self._signature.args)
        if len(args) > expected:
            problems.append(f"expected {expected} positional arguments; found {len(args)}")
        for name, value in kwargs.items():
            key = name if name in self._signature.kwargs else self._positions.get(name)
            if key is None:
                problems.append(f"input {name!r}: expected no input of this name; found one")
            elif key in given:
                problems.append(f"input {name!r}: expected it once; found it twice")
            else:
                given[key] = value
        return given

    def _mismatch(self, problems: list[str]) -> SignatureMismatchError:
        lines = [f"{self._where}, {problem}" for problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            lines[-1] += f"; and {len(problems) - _MOST_PROBLEMS} more"
        arguments = [f"{slot.label}: {format_tree(slot.tree)}" for slot in self._slots]
        lines[-1] += f"; it takes ({', '.join(arguments)})"
        return SignatureMismatchError("\n".join(lines))


@final
class _Slot:
    """One argument of a function."""

    __slots__ = ("key", "label", "leaves", "names", "tree")

    def __init__(self, key: int | str, label: int | str, tree: Tree, names: Any) -> None:
        self.key = key
        self.label = label
        self.tree = tree
        self.leaves: list[tuple[Path, Spec]] = flatten_with_path(tree, (label,))
        self.names = [next(names) for _ in self.leaves]

    def tensors(self, value: Any, problems: list[str]) -> list[Any]:
        values: list[Any] = []
        try:
            flatten_up_to(self.tree, value, (self.label,), values)
        except SignatureMismatchError as e:
            problems.append(str(e))
            return []
        found: list[Any] = []
        for (path, spec), leaf in zip(self.leaves, values, strict=True):
            try:
                found.append(to_tensor(leaf, spec))
            except SignatureMismatchError as e:
                problems.append(f"input {format_path(path)!r}: {e}")
        return found


def to_tensor(value: Any, spec: Spec) -> Any:
    """Returns a value as a tensor of the spec's dtype.

    Args:
      value: A tensor, anything NumPy makes an array of, a number, a string, or nested lists.
      spec: What is expected.

    Raises:
      SignatureMismatchError: If its dtype or shape is another one; the message has no place.
    """
    # The common case first: naming a dtype takes longer than all the rest.
    is_number = isinstance(value, (np.ndarray, np.generic)) and spec.dtype is not DType.STRING
    if is_number and value.dtype == spec.dtype.numpy and _has_shape(spec.shape, value.shape):
        return tf.convert_to_tensor(np.asarray(value))
    if isinstance(value, tf.Tensor):
        shape = None if value.shape.rank is None else tuple(value.shape.as_list())
        _require_fit(spec, value.dtype.name, shape)
        return value
    try:
        array = _text(value) if spec.dtype is DType.STRING else numbers(value, spec.dtype)
        name = DType.from_numpy(array.dtype).value
    except (TypeError, ValueError, OverflowError, UnsupportedError) as e:
        raise SignatureMismatchError(f"expected {spec}; found {value!r:.60}") from e
    _require_fit(spec, name, array.shape)
    return tf.convert_to_tensor(array)


def to_numpy(tensor: Any) -> np.ndarray:
    """Returns a tensor as a NumPy array; numbers are a view that cannot be written to.

    Strings are an object array of bytes.
    """
    return np.asarray(tensor)


def _text(value: Any) -> np.ndarray:
    """Returns bytes or text as an array, not of fixed length if it was not: that cuts NULs."""
    array = np.asarray(value) if hasattr(value, "dtype") else np.array(value, dtype=object)
    if array.dtype.kind == "T":
        array = array.astype(object)
    if array.dtype.kind == "O" and not all(isinstance(x, (bytes, str)) for x in array.flat):
        raise TypeError("an element is neither bytes nor text")
    return array


def _require_fit(spec: Spec, dtype: str, shape: Shape) -> None:
    if spec.dtype.value == dtype and _has_shape(spec.shape, shape):
        return
    have = f"{dtype} [{', '.join(map(str, shape))}]" if shape is not None else f"{dtype} [...]"
    advice = "cast" if spec.dtype.value != dtype else "reshape"
    raise SignatureMismatchError(f"expected {spec}, found {have}; {advice} before the call")


def _has_shape(want: Shape, have: Shape) -> bool:
    if want is None or have is None:
        return True
    if len(want) != len(have):
        return False
    return all(
        not isinstance(w, int) or h is None or w == h for w, h in zip(want, have, strict=True)
    )
