"""Which leaf of a call each part of a document is for; what it becomes there is in `matching`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import format_tree
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, children
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling import leaf_values
from orbax_model_lite.runtime.calling.arrays import ROOT, StoredArray
from orbax_model_lite.runtime.calling.documents import (
    Document,
    JsonValue,
    NamedArrays,
    OneArray,
)
from orbax_model_lite.runtime.calling.names import Names
from orbax_model_lite.runtime.calling.target import Form

_ARRAY_NUMBER: Final = "arr_"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that inputs come from.

    Attributes:
      text: As it was typed, for messages.
      name: Of the input that it is for; None leaves that to what is in it.
      document: What is in it.
    """

    text: str
    name: str | None
    document: Document

    @property
    def where(self) -> str:
        """The beginning of a message about it."""
        return f"input {self.text!r}"


@final
@dataclass(frozen=True, slots=True)
class Given:
    """A part of a source: an array, a value of JSON, or the bytes of a file."""

    where: str
    value: StoredArray | JsonValue | bytes


@final
class Placing:
    """The parts of sources by the leaf that they are for.

    Attributes:
      found: By path; several files may be for one leaf.
    """

    def __init__(self, form: Form) -> None:
        """Begins with nothing.

        Args:
          form: What the call takes.
        """
        self.found: dict[Path, list[Given]] = {}
        self._form = form
        self._names = Names(form)

    def place(self, source: Source) -> None:
        """Adds what is in a source.

        Raises:
          SignatureMismatchError: If a part has no place, or one that is taken.
        """
        where, document = source.where, source.document
        above = None if source.name is None else self._names.find(source.name, where)
        if isinstance(document, NamedArrays):
            for key, array in document.arrays.items():
                path = self._path_of_key(source, key, len(document.arrays))
                self._put(path, Given(where, array))
        elif isinstance(document, JsonValue):
            if above is None:
                self._place_json(document.value, where)
            else:
                self._place_tree(self._names.node(above), document.value, above, where)
        else:
            path = self._only_leaf(where) if above is None else above
            node = self._names.node(path)
            if not _is_leaf(node):
                raise SignatureMismatchError(
                    f"{where}: expected a file with a key for each part of "
                    f"{format_tree(node):.200}; found a single one; save it as .npz or .json"
                )
            is_array = isinstance(document, OneArray)
            value = StoredArray(array=document.array) if is_array else document.content
            self._put(path, Given(where, value))

    def _path_of_key(self, source: Source, key: str, count: int) -> Path:
        """Returns the leaf that a key of an `.npz` file means."""
        where, prefix = source.where, source.name
        if key == ROOT and count == 1:
            path = self._only_leaf(where) if prefix is None else self._names.find(prefix, where)
        elif prefix is None and key.removeprefix(_ARRAY_NUMBER).isdecimal():
            # NumPy's names for arrays that were given by position.
            path = self._names.find(key.removeprefix(_ARRAY_NUMBER), where)
        else:
            path = self._names.find(key if prefix is None else f"{prefix}.{key}", where)
        node = self._names.node(path)
        if not _is_leaf(node):
            raise SignatureMismatchError(
                f"{where}: expected a key for each part of {format_tree(node):.200}; found the "
                f"key {key!r} of an array; name the parts as {self._form.label(path)}.KEY"
            )
        return path

    def _only_leaf(self, where: str) -> Path:
        leaves = self._form.leaves()
        required = [path for path, _ in leaves if not self._form.is_optional(path[0])]
        paths = required or [path for path, _ in leaves]
        if len(paths) != 1:
            raise SignatureMismatchError(
                f"{where}: expected to know which of the {len(paths)} inputs {self._form} it is; "
                "found no name; give it as NAME=FILE"
            )
        return paths[0]

    def _place_json(self, value: Any, where: str) -> None:
        form = self._form
        required = [pair for pair in form.inputs if not form.is_optional(pair[0])]
        if isinstance(value, dict) and not _is_value_of(required, value):
            for key, child in value.items():
                path = self._names.find(key, where)
                self._place_tree(self._names.node(path), child, path, where)
        elif len(required) == 1:
            root, tree = required[0]
            self._place_tree(tree, value, (root,), where)
        elif isinstance(value, list) and len(value) == len(form.args):
            for i, (tree, child) in enumerate(zip(form.args, value, strict=True)):
                self._place_tree(tree, child, (i,), where)
        else:
            raise SignatureMismatchError(
                f"{where}: expected an object with the inputs {form} by name; found "
                f"{value!r:.60}; name each"
            )

    def _place_tree(self, tree: Tree, value: Any, path: Path, where: str) -> None:
        if _is_leaf(tree):
            self._put(path, Given(where, JsonValue(value)))
            return
        below: list[tuple[str | int, Tree, Any]] | None = None
        if isinstance(tree, dict) and isinstance(value, dict) and set(tree) == set(value):
            below = [(key, tree[key], value[key]) for key in tree]
        elif isinstance(tree, (tuple, list)) and isinstance(value, list):
            if len(tree) == len(value):
                below = [(i, *pair) for i, pair in enumerate(zip(tree, value, strict=True))]
        elif tree is None and value is None:
            below = []
        if below is None:
            found = f"keys {', '.join(value)}" if isinstance(value, dict) else repr(value)
            raise SignatureMismatchError(
                f"{where}, {self._form.label(path)!r}: expected {format_tree(tree):.200}; found "
                f"{found:.100}; give the same keys"
            )
        for key, child, part in below:
            self._place_tree(child, part, (*path, key), where)

    def _put(self, path: Path, given: Given) -> None:
        already = self.found.setdefault(path, [])
        values = [one.value for one in (*already, given)]
        if already and not all(isinstance(value, bytes) for value in values):
            raise SignatureMismatchError(
                f"{given.where}: expected {self._form.label(path)!r} once; found it in "
                f"{already[0].where} too; leave one out"
            )
        already.append(given)


def _is_value_of(required: Sequence[tuple[str | int, Tree]], value: dict[str, Any]) -> bool:
    """Whether an object is the single input itself: bytes or a complex number, or all its keys."""
    if len(required) != 1:
        return False
    tree = required[0][1]
    if isinstance(tree, Spec):
        is_bytes = tree.dtype is DType.STRING and set(value) == {leaf_values.BASE64}
        return is_bytes or set(value) == {leaf_values.REAL, leaf_values.IMAG}
    return isinstance(tree, dict) and bool(tree) and set(tree) == set(value)


def _is_leaf(node: Tree) -> bool:
    return node is not None and children(node) is None
