"""Plain trees: tuple, list, dict with string keys, None and leaves.

Signatures, weights and call arguments all have this form. The flatten order is JAX's: children in
order, dicts by sorted key, None without leaves; so leaf i here is leaf i of the traced function.
No framework's own nodes are known here; those rooms make their trees plain first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, final

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the root to a leaf."""

Tree: TypeAlias = Any
"""A leaf, or a tuple, list, StringPairs or string-keyed dict of trees, or None."""


@final
@dataclass(frozen=True, slots=True)
class StringPairs:
    """An ordered mapping that may repeat a key (the manifest's `string_type_pairs`)."""

    pairs: tuple[tuple[str, Tree], ...] = ()


def children(tree: Tree) -> list[tuple[str | int, Tree]] | None:
    """Returns the keyed children of a container in flatten order; None for a leaf or None."""
    if isinstance(tree, (tuple, list)):
        return list(enumerate(tree))
    if isinstance(tree, dict):
        return [(key, tree[key]) for key in sorted(tree)]
    if isinstance(tree, StringPairs):
        return list(tree.pairs)
    return None


def flatten_with_path(tree: Tree, prefix: Path = ()) -> list[tuple[Path, Any]]:
    """Returns (path, leaf) for every leaf, in flatten order; None has no leaf."""
    found: list[tuple[Path, Any]] = []
    stack: list[tuple[Path, Tree]] = [(prefix, tree)]
    while stack:
        path, node = stack.pop()
        below = children(node)
        if below is not None:
            stack.extend(((*path, key), child) for key, child in reversed(below))
        elif node is not None:
            found.append((path, node))
    return found


def leaves(tree: Tree) -> list[Any]:
    """Returns the leaves in flatten order."""
    # Without the paths, which take most of the time in a tree of a hundred thousand leaves.
    found: list[Any] = []
    stack: list[Tree] = [tree]
    while stack:
        node = stack.pop()
        below = children(node)
        if below is not None:
            stack.extend([child for _, child in reversed(below)])
        elif node is not None:
            found.append(node)
    return found


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Returns the same containers with `function` applied to every leaf."""
    return unflatten(tree, map(function, leaves(tree)))


def unflatten(structure: Tree, new_leaves: Iterable[Any]) -> Tree:
    """Returns the containers of `structure` with its leaves replaced, in flatten order.

    Raises:
      ValueError: If there are more or fewer new leaves than the structure has.
    """
    source = iter(new_leaves)
    try:
        built = _build(structure, source)
    except StopIteration as e:
        raise ValueError(f"fewer leaves than the {len(leaves(structure))} of the tree") from e
    if next(source, _END) is not _END:
        raise ValueError(f"more leaves than the {len(leaves(structure))} of the tree")
    return built


_END = object()


def _build(node: Tree, source: Iterator[Any]) -> Tree:
    if node is None:
        return None
    if isinstance(node, (tuple, list)):
        # A generator would turn StopIteration into RuntimeError.
        built = [_build(child, source) for child in node]
        return tuple(built) if isinstance(node, tuple) else built
    if isinstance(node, dict):
        by_key = {key: _build(node[key], source) for key in sorted(node)}
        return {key: by_key[key] for key in node}
    if isinstance(node, StringPairs):
        return StringPairs(tuple([(key, _build(child, source)) for key, child in node.pairs]))
    return next(source)


def format_path(path: Path) -> str:
    """Returns a path as text for messages and data names, joined with dots.

    >>> format_path((0, "params", "kernel"))
    '0.params.kernel'
    """
    return ".".join(str(part) for part in path)


def structure_differences(expected: Tree, found: Tree, prefix: Path = ()) -> list[str]:
    """Returns one line for each place where two trees differ in their containers.

    Each line has the path, what was expected there and what was found; leaves are not compared.
    """
    differences: list[str] = []
    stack: list[tuple[Path, Tree, Tree]] = [(prefix, expected, found)]
    while stack:
        path, want, have = stack.pop()
        want_children, have_children = children(want), children(have)
        if _kind(want) != _kind(have):
            where = format_path(path) or "the root"
            differences.append(f"{where}: expected {_describe(want)}, found {_describe(have)}")
            continue
        if want_children is None or have_children is None:
            continue
        want_by, have_by = dict(want_children), dict(have_children)
        for key, wanted in want_by.items():
            where = format_path((*path, key))
            if key not in have_by:
                differences.append(f"{where}: expected {_describe(wanted)}, found nothing")
            else:
                stack.append(((*path, key), wanted, have_by[key]))
        for key, had in have_by.items():
            if key not in want_by:
                where = format_path((*path, key))
                differences.append(f"{where}: expected nothing, found {_describe(had)}")
    return differences


def _kind(node: Tree) -> str:
    for kind in (tuple, list, dict, StringPairs):
        if isinstance(node, kind):
            return kind.__name__
    return "None" if node is None else "leaf"


def _describe(node: Tree) -> str:
    below = children(node)
    if below is None:
        return "None" if node is None else str(node) if _is_short(node) else "an array"
    keys = f" with keys {', '.join(map(str, sorted(node)))}" if isinstance(node, dict) else ""
    return f"a {_kind(node)} of {len(below)}{keys}"


def _is_short(leaf: Any) -> bool:
    return type(leaf).__module__.startswith("orbax_model_lite")
