"""Pytrees of every kind made plain (tuple, list, string-keyed dict, None), and back again.

Any node that JAX knows is taken apart through its key paths, so no model library is imported here.
What a node was is recorded beside the plain tree. Specs of the leaves are the matter of `shapes`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import jax
import numpy as np

from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import Path, StringPairs, Tree, format_path
from orbax_model_lite.errors import InvalidModelError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """What stood where a plain container stands now.

    Attributes:
      kind: "namedtuple:Point", "ordereddict", "defaultdict", "dict" (with keys that were not
        strings), "dataclass:State" or "custom:Module".
      children: The author's names of the children: fields of a named tuple, keys of an ordered dict
        in its order; for "dict" the `repr` of the keys in the order of the plain keys.
    """

    kind: str
    children: tuple[str, ...] = ()


Kinds: TypeAlias = Mapping[Path, NodeKind]
"""Nodes that were not plain, by their path in the plain tree; `()` is the root."""

Rebuild: TypeAlias = Callable[[Tree], Any]
"""From a plain tree with the containers that were seen to the author's own objects."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTree:
    """A pytree in plain form.

    Attributes:
      tree: Tuples, lists, string-keyed dicts, None and the leaves as they were.
      kinds: What was not plain before.
      rebuild: The way back, for this tree or one with other leaves:
        `make_plain(t).rebuild(make_plain(t).tree) == t`.
    """

    tree: Tree
    kinds: Kinds
    rebuild: Rebuild


def plain(tree: Any, where: str = "tree") -> tuple[Tree, Kinds]:
    """Returns a pytree in plain form and the kinds of its nodes; see `make_plain`."""
    made = make_plain(tree, where)
    return made.tree, made.kinds


def make_plain(tree: Any, where: str = "tree") -> PlainTree:
    """Returns a pytree in plain form, with the way back to the author's objects.

    Named tuples become tuples; every other node becomes a dict of its children by name, or a list
    where JAX knows no names for them. Dict keys become strings. None and empty containers stay.

    Args:
      tree: Any pytree; leaves may be anything that JAX does not know as a node.
      where: What the tree is, as the beginning of an error message.

    Raises:
      InvalidModelError: If two keys of one node become equal as strings.
    """
    kinds: dict[Path, NodeKind] = {}
    made, rebuild = _Walk(where, kinds).node(tree, ())
    return PlainTree(tree=made, kinds=kinds, rebuild=rebuild or _identity)


def is_leaf(node: Any) -> bool:
    """Returns whether JAX has no way to look inside `node` (None is not a leaf)."""
    if isinstance(node, _LEAF_TYPES):
        return True
    return node is not None and jax.tree_util.all_leaves([node])


_LEAF_TYPES = (
    np.ndarray,
    jax.Array,
    jax.ShapeDtypeStruct,
    np.generic,
    int,
    float,
    complex,
    str,
    bytes,
    Spec,
    Token,
)
_NAMED_KINDS = {collections.OrderedDict: "ordereddict", collections.defaultdict: "defaultdict"}


def _identity(tree: Tree) -> Tree:
    return tree


class _Walk:
    """One pass over a tree. A rebuild of None means that the plain form is the original."""

    def __init__(self, where: str, kinds: dict[Path, NodeKind]) -> None:
        self.where = where
        self.kinds = kinds

    def node(self, node: Any, path: Path) -> tuple[Tree, Rebuild | None]:
        kind = type(node)
        if node is None or kind is StringPairs or isinstance(node, _LEAF_TYPES):
            return node, None
        if kind is tuple or kind is list:
            return self.sequence(node, kind, path)
        if kind is dict:
            return self.mapping(node, path)
        children, structure = jax.tree_util.tree_flatten_with_path(
            node, is_leaf=lambda below: below is not node
        )
        if len(children) == 1 and children[0][1] is node:
            return node, None
        return self.custom(node, children, structure, path)

    def sequence(self, node: Iterable[Any], kind: type, path: Path) -> tuple[Tree, Rebuild | None]:
        below = [self.node(child, (*path, i)) for i, child in enumerate(node)]
        made = kind(child for child, _ in below)
        rebuilds = [rebuild for _, rebuild in below]
        if not any(rebuilds):
            return made, None
        return made, lambda tree: kind(map(_apply, rebuilds, tree))

    def mapping(self, node: dict[Any, Any], path: Path) -> tuple[Tree, Rebuild | None]:
        keys = self.string_keys(list(node), path)
        below = {text: self.node(node[key], (*path, text)) for text, key in keys.items()}
        made = {text: child for text, (child, _) in below.items()}
        has_other_keys = any(not isinstance(key, str) for key in node)
        if has_other_keys:
            names = tuple(repr(keys[text]) for text in sorted(keys))
            self.kinds[path] = NodeKind(kind="dict", children=names)
        elif not any(rebuild for _, rebuild in below.values()):
            return made, None
        return made, lambda tree: {
            key: _apply(below[text][1], tree[text]) for text, key in keys.items()
        }

    def custom(
        self, node: Any, children: list[Any], structure: Any, path: Path
    ) -> tuple[Tree, Rebuild]:
        names = [_key_name(keys[-1]) for keys, _ in children]
        self.kinds[path] = NodeKind(kind=_kind_of(node), children=_author_names(node, names))
        if _is_indexed(node, names):
            kind = tuple if isinstance(node, tuple) else list
            below = [self.node(child, (*path, i)) for i, (_, child) in enumerate(children)]
            rebuilds = [rebuild for _, rebuild in below]
            return kind(child for child, _ in below), lambda tree: structure.unflatten(
                map(_apply, rebuilds, tree)
            )
        keys = self.string_keys(names, path)
        named = {
            text: self.node(child, (*path, text))
            for text, (_, child) in zip(keys, children, strict=True)
        }
        return {
            text: child for text, (child, _) in named.items()
        }, lambda tree: structure.unflatten(
            [_apply(rebuild, tree[text]) for text, (_, rebuild) in named.items()]
        )

    def string_keys(self, keys: list[Any], path: Path) -> dict[str, Any]:
        """Returns the keys by their text, in the same order."""
        by_text: dict[str, Any] = {}
        for key in keys:
            text = str(key)
            if text in by_text:
                at = f" at {format_path(path)!r}" if path else ""
                raise InvalidModelError(
                    f"{self.where}{at}: expected keys that differ as text; found two keys that "
                    f"become equal as strings, {by_text[text]!r} and {key!r}; rename one"
                )
            by_text[text] = key
        return by_text


def _apply(rebuild: Rebuild | None, tree: Tree) -> Any:
    return tree if rebuild is None else rebuild(tree)


def _key_name(key: Any) -> Any:
    match key:
        case jax.tree_util.SequenceKey(idx=index):
            return index
        case jax.tree_util.FlattenedIndexKey(key=index):
            return index
        case jax.tree_util.GetAttrKey(name=name):
            return name
        case jax.tree_util.DictKey(key=name):
            return name
    # A library may have key classes of its own; their text form is a suffix such as ".kernel".
    return str(key).strip(".[]'\"")


def _is_indexed(node: Any, names: list[Any]) -> bool:
    if isinstance(node, tuple):
        return True
    if not names:
        return not (isinstance(node, Mapping) or dataclasses.is_dataclass(node))
    return names == list(range(len(names))) and not isinstance(node, Mapping)


def _kind_of(node: Any) -> str:
    kind = type(node)
    if kind in _NAMED_KINDS:
        return _NAMED_KINDS[kind]
    if isinstance(node, tuple) and hasattr(kind, "_fields"):
        return f"namedtuple:{kind.__name__}"
    if dataclasses.is_dataclass(kind):
        return f"dataclass:{kind.__name__}"
    return f"custom:{kind.__name__}"


def _author_names(node: Any, names: list[Any]) -> tuple[str, ...]:
    fields = getattr(node, "_fields", None) if isinstance(node, tuple) else None
    return tuple(str(name) for name in (fields or names))
