"""The tree of somebody else's checkpoint, put together from the entries of its `_METADATA` file.

Orbax keeps one entry per leaf: the keys that lead to it and the kind of value. Tuples come back as
lists and integer keys as text, because that is all that the entries tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

from orbax_model_lite.core.tree import Path, Tree, format_path
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.jax2obm.weights.stored import StoredArray

_SEQUENCE_KEY: Final = 1
_EMPTY: Final = {"None": None, "NamedTuple": None, "Dict": dict, "List": list, "Tuple": tuple}
_TEXT: Final = "string"
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_MAX_DEPTH: Final = 200


_Entry: TypeAlias = tuple[tuple[str, ...], tuple[int, ...], dict[str, Any]]


@final
@dataclass(slots=True)
class _Node:
    is_sequence: bool
    children: dict[str, Any] = field(default_factory=dict)


def nested_tree(entries: Iterable[Any], where: str) -> Tree:
    """Returns dicts, lists, None and StoredArrays from the entries, parsed JSON of a stranger.

    Raises:
      InvalidBundleError: If an entry is damaged, or two contradict each other.
    """
    parsed = [_parse(entry, where) for entry in entries]
    if not parsed:
        raise damaged(where, "no array at all")
    root = _Node(is_sequence=False)
    # Deeper entries first: an empty container that was filled by a later save has both.
    for keys, kinds, value in sorted(parsed, key=lambda entry: -len(entry[0])):
        node = root
        for depth, key in enumerate(keys):
            is_sequence = kinds[depth] == _SEQUENCE_KEY
            if node.children and node.is_sequence != is_sequence:
                raise damaged(where, f"{format_path(keys)!r:.200} both in a list and in a dict")
            node.is_sequence = is_sequence
            if depth == len(keys) - 1:
                _put(node, key, keys, value, where)
            else:
                node = node.children.setdefault(key, _Node(is_sequence=False))
                if not isinstance(node, _Node):
                    raise damaged(where, f"values at and below {format_path(keys)!r:.200}")
    if len(parsed) == 1 and not parsed[0][0]:
        return _leaf(parsed[0][2], (), "")
    return _build(root, (), "")


def _put(node: _Node, key: str, keys: tuple[str, ...], value: dict[str, Any], where: str) -> None:
    if key not in node.children:
        node.children[key] = value
    elif value["value_type"] not in _EMPTY:
        raise damaged(where, f"{format_path(keys)!r:.200} more than once")


def _parse(entry: Any, where: str) -> _Entry:
    match entry:
        case {"key_metadata": list(steps), "value_metadata": {"value_type": str()} as value}:
            keys = [step["key"] for step in steps if _is_step(step)]
            if len(keys) == len(steps) <= _MAX_DEPTH:
                return tuple(keys), tuple(step.get("key_type", 0) for step in steps), value
    raise damaged(where, f"an entry {entry!r:.80}")


def _is_step(step: Any) -> bool:
    return isinstance(step, dict) and isinstance(step.get("key"), str)


def _build(node: Any, path: Path, name: str) -> Tree:
    if not isinstance(node, _Node):
        return _leaf(node, path, name)
    children = node.children
    by_index = {int(key): key for key in children if _INDEX.fullmatch(key)}
    if node.is_sequence and sorted(by_index) == list(range(len(children))):
        return [
            _build(children[by_index[i]], (*path, i), _joined(name, by_index[i], path))
            for i in range(len(children))
        ]
    return {
        key: _build(child, (*path, key), _joined(name, key, path))
        for key, child in sorted(children.items())
    }


def _joined(name: str, key: str, path: Path) -> str:
    return f"{name}.{key}" if path else key


def _leaf(value: dict[str, Any], path: Path, name: str) -> Tree:
    kind = value["value_type"]
    if kind in _EMPTY:
        empty = _EMPTY[kind]
        return None if empty is None else empty()
    problem = None
    if kind == _TEXT:
        problem = "text"
    elif value.get("skip_deserialize"):
        problem = f"a value of kind {kind!r} that is not stored as an array"
    return StoredArray(path=path, name=name, problem=problem)


def damaged(where: str, found: str) -> InvalidBundleError:
    """Returns the error for a checkpoint whose files contradict themselves."""
    return InvalidBundleError(
        f"{where}: expected a complete Orbax checkpoint; found {found}; "
        "copy it again from its source, or save it again"
    )
