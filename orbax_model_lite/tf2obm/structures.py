"""TensorFlow's nested structures as plain trees, with the keys that lead to each leaf.

`tf.nest` knows named tuples, attrs classes, mappings of every kind and objects with their own
protocol; a bundle knows tuple, list, dict with string keys and None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import tensorflow as tf

from orbax_model_lite.core.tree import Tree
from orbax_model_lite.errors import InvalidModelError


@final
@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a structure.

    Attributes:
      value: The leaf itself; never None.
      position: Its place in the order of `tf.nest.flatten`.
      keys: What leads to it: a dict's key, a field's name, `output_<i>` for an element.
    """

    value: Any
    position: int
    keys: tuple[str, ...]

    def __str__(self) -> str:
        """Returns the keys joined with dots."""
        return ".".join(self.keys)


def plain_structure(structure: Any, where: str) -> Tree:
    """Returns the plain tree of a structure, each leaf a `Leaf`; None stays None.

    Named tuples and objects with a flatten protocol become tuples, attrs objects and mappings
    become dicts with their keys as strings.

    Args:
      structure: What `tf.nest` takes.
      where: Beginning of a message.

    Raises:
      InvalidModelError: If the keys of one mapping cannot be sorted.
    """
    try:
        values = tf.nest.flatten(structure)
    except TypeError as e:
        raise InvalidModelError(
            f"{where}: expected the keys of each mapping to be of one type; found keys that cannot "
            "be sorted; use strings"
        ) from e
    numbered = tf.nest.pack_sequence_as(structure, range(len(values)))
    return _plain(numbered, values, ())


def _plain(node: Any, values: list[Any], keys: tuple[str, ...]) -> Tree:
    if isinstance(node, int):
        value = values[node]
        return None if value is None else Leaf(value, node, keys)

    def below(child: Any, key: str) -> Tree:
        return _plain(child, values, (*keys, key))

    if isinstance(node, Mapping):
        return {str(key): below(child, str(key)) for key, child in node.items()}
    if hasattr(type(node), "__attrs_attrs__"):
        names = [field.name for field in type(node).__attrs_attrs__]
        return {name: below(getattr(node, name), name) for name in names}
    if fields := getattr(node, "_fields", None):
        return tuple(below(child, key) for key, child in zip(fields, node, strict=True))
    if flatten := getattr(node, "__tf_flatten__", None):
        node = tuple(flatten()[1])
    children = [below(child, f"output_{i}") for i, child in enumerate(node)]
    return tuple(children) if isinstance(node, tuple) else children
