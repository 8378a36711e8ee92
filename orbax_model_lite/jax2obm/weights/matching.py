"""Which arrays of the weights belong where: choice by name, and meeting a signature by key path.

Never by position: a checkpoint comes back with lists for tuples and with text for integer keys, so
twelve layers would arrive as 0, 1, 10, 11, 2, ... and give wrong numbers in silence.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import (
    Path,
    Tree,
    children,
    flatten_with_path,
    format_path,
    unflatten,
)
from orbax_model_lite.errors import ObmError, SignatureMismatchError, UnknownNameError

_MOST_NAMED: Final = 100


def choose(paths: Sequence[Path], names: str | Collection[str], where: str) -> set[Path]:
    """Returns the paths that one of the names means.

    Args:
      paths: Of all leaves.
      names: Dotted key paths of leaves or of containers, or shell patterns of them, in which `*`
        stands for any text, dots included. A `~` in a path may be written `_`, as bundles do in
        the data names of a function.
      where: The weights, as the beginning of a message.

    Raises:
      UnknownNameError: If a name means no path.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    by_text: dict[str, set[Path]] = {}
    for path in paths:
        for text in _spellings(path):
            by_text.setdefault(text, set()).add(path)
    chosen: set[Path] = set()
    for name in wanted:
        found = by_text.get(name) or {
            path
            for text, above in by_text.items()
            if fnmatch.fnmatchcase(text, name)
            for path in above
        }
        if not found:
            known = sorted(map(format_path, paths))
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
            raise UnknownNameError(
                f"{where}: no array {name!r}{hint} there are {len(known)}: "
                f"{_listed(known) or 'none'}"
            )
        chosen |= found
    return chosen


def _spellings(path: Path) -> list[str]:
    """Returns the texts that mean a leaf: its path and those of the containers above it."""
    texts = [format_path(path[:depth]) for depth in range(len(path), 0, -1)] or [""]
    return texts + [text.replace("~", "_") for text in texts if "~" in text]


def pruned(tree: Tree, values: Mapping[Path, Any]) -> Tree:
    """Returns the tree with these leaves only.

    Containers that had others only are left out. A tuple or list that loses an element becomes a
    dict by index, so that every leaf keeps its key path.
    """
    kept = _pruned(tree, (), values)
    return None if kept is _LOST else kept


_LOST: Final = object()


def _pruned(node: Tree, path: Path, values: Mapping[Path, Any]) -> Any:
    below = children(node)
    if below is None:
        return None if node is None else values.get(path, _LOST)
    kept = {key: _pruned(child, (*path, key), values) for key, child in below}
    left = {key: child for key, child in kept.items() if child is not _LOST}
    if kept and not left:
        return _LOST
    if isinstance(node, dict):
        return {key: left[key] for key in node if key in left}
    if len(left) == len(kept):
        return type(node)(left.values())
    return {str(key): child for key, child in left.items()}


def match(
    tree: Tree,
    spec_tree: Tree,
    where: str,
    *,
    allow_extra: bool = False,
    error: type[ObmError] = SignatureMismatchError,
) -> Tree:
    """Returns the leaves of `tree` in the containers of `spec_tree`, matched by key path.

    Keys and indices count as the same when they are the same as text. A leaf whose path is written
    as one dotted key (as in SafeTensors files of other tools) is found as well.

    Args:
      tree: Plain tree of arrays, or of specs.
      spec_tree: Plain tree of specs: what is wanted. An unknown or symbolic size fits any.
      where: The weights and what they are for, as the beginning of a message.
      allow_extra: Whether leaves that nothing asks for may be left over.
      error: What to raise.

    Raises:
      SignatureMismatchError: Or `error`, naming all paths that are missing, left over, or have
        another shape or element type.
    """
    found = {tuple(map(str, path)): leaf for path, leaf in flatten_with_path(tree)}
    dotted: dict[str, list[tuple[str, ...]]] = {}
    for key in found:
        dotted.setdefault(".".join(key), []).append(key)
    missing, misfits, values = [], [], []
    for path, spec in flatten_with_path(spec_tree):
        key, text = tuple(map(str, path)), format_path(path)
        same_text = dotted.get(text, [])
        if key not in found and len(same_text) == 1:
            key = same_text[0]
        if key not in found:
            missing.append(text)
            continue
        leaf = found.pop(key)
        dotted[text].remove(key)
        have = spec_of(leaf)
        if not _fits(have, spec):
            misfits.append(f"{text} is {have}, not {spec}")
        values.append(_converted(leaf, have, spec, where))
    extra = [] if allow_extra else [".".join(key) for key in found]
    if missing or misfits or extra:
        problems = {"missing": missing, "left over": extra, "of another kind": misfits}
        told = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise error(
            f"{where}: expected one array for each of {len(flatten_with_path(spec_tree))} key "
            f"paths; found {told}; use the weights that were saved for it"
        )
    return unflatten(spec_tree, values)


def spec_of(leaf: Any) -> Spec:
    """Returns what an array is; typed PRNG keys by their words.

    Raises:
      UnsupportedError: If its element type has no name in the format.
    """
    if isinstance(leaf, Spec):
        return leaf
    # JAX is imported only where there are arrays: headers are matched without it.
    import jax

    from orbax_model_lite.jaxtypes import keys

    if not hasattr(leaf, "dtype"):
        return Spec(shape=(), dtype=DType.from_numpy(jax.numpy.result_type(leaf)))
    if keys.is_key(leaf.dtype):
        shape = (*leaf.shape, *keys.words_of(leaf.dtype))
        return Spec(shape=shape, dtype=DType.UINT32, logical=str(leaf.dtype))
    return Spec(shape=tuple(leaf.shape), dtype=DType.from_numpy(leaf.dtype))


def _fits(have: Spec, want: Spec) -> bool:
    if want.dtype not in (DType.UNSPECIFIED, have.dtype):
        return False
    if None not in (have.logical, want.logical) and have.logical != want.logical:
        return False
    if have.shape is None or want.shape is None:
        return True
    return len(have.shape) == len(want.shape) and all(
        not isinstance(w, int) or w == h for h, w in zip(have.shape, want.shape, strict=True)
    )


def _converted(leaf: Any, have: Spec, want: Spec, where: str) -> Any:
    """Returns keys as words, or words on a device as keys, where the function wants them so."""
    if isinstance(leaf, Spec) or have.logical == want.logical:
        return leaf
    import jax

    from orbax_model_lite.jaxtypes import keys

    if not isinstance(leaf, jax.Array):
        return leaf
    if want.logical is None:
        return jax.random.key_data(leaf)
    return keys.wrap(leaf, want.logical, where) if _fits(have, want) else leaf


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
