"""Arguments of a call against a signature: bound by name, checked, and put in the module's order.

Checks run while JAX traces (on tracers) and after a call has failed (on values), so a call that
fits costs nothing here. Python numbers are the matter of `adapting`, calling a module of `bound`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import jax
import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import (
    Path,
    StringPairs,
    Tree,
    flatten_with_path,
    leaves,
    structure_differences,
    unflatten,
)
from orbax_model_lite.errors import InvalidModelError, SignatureMismatchError, UnsupportedError
from orbax_model_lite.jaxtypes.jax_trees import input_name
from orbax_model_lite.jaxtypes.shapes import from_aval
from orbax_model_lite.jaxtypes.trees import make_plain

_MOST_LINES = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a function takes.

    Attributes:
      function_name: For messages.
      signature: Of the function; string pairs are dicts here.
      argument_names: Of the positional arguments, as far as they are known.
      tree: What a call looks like: `(args, kwargs)` of specs.
      order: For each leaf of a call, the position of the module's argument.
    """

    function_name: str
    signature: Signature
    argument_names: tuple[str, ...] = ()
    tree: tuple[tuple[Tree, ...], dict[str, Tree]] = field(init=False)
    order: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Makes the expected tree (args, kwargs) once."""
        given = (self.signature.args, self.signature.kwargs)
        object.__setattr__(self, "tree", callable_tree(given))
        object.__setattr__(self, "order", callable_order(given))

    def bound(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
        """Returns a call as plain trees, arguments given by name put in their positions.

        Raises:
          SignatureMismatchError: If two keys of a node become equal as strings.
        """
        try:
            given, named = make_plain((tuple(args), dict(kwargs))).tree
        except InvalidModelError as e:
            raise SignatureMismatchError(f"function {self.function_name!r}, {e}") from e
        missing = self.argument_names[len(given) : len(self.tree[0])]
        for name in missing:
            if not name or name not in named or name in self.tree[1]:
                break
            given = (*given, named.pop(name))
        return given, named

    def require(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Returns the leaves of a call in the module's order, if they fit.

        Raises:
          SignatureMismatchError: If they do not; names each path, what was expected and found.
        """
        call = self.bound(args, kwargs)
        problems = self.problems(call)
        if problems:
            shown = problems[:_MOST_LINES]
            if len(problems) > _MOST_LINES:
                shown[-1] += f" (and {len(problems) - _MOST_LINES} more)"
            raise SignatureMismatchError("\n".join(shown))
        return in_order(leaves(call), self.order)

    def problems(self, call: tuple[tuple[Tree, ...], dict[str, Tree]]) -> list[str]:
        """Returns one message for each place where a call differs from the signature."""
        found = structure_differences(self.tree, call)
        if found:
            return [self._structural(line) for line in found]
        symbols: dict[str, tuple[int, str]] = {}
        expected = flatten_with_path(self.tree)
        lines = []
        for (path, spec), leaf in zip(expected, leaves(call), strict=True):
            name = self.name_of(path)
            problem = _leaf_problem(spec, leaf, symbols, name)
            if problem:
                lines.append(f"function {self.function_name!r}, input {name!r}: {problem}")
        return lines

    def name_of(self, path: Path) -> str:
        """Returns the author's name of an input leaf."""
        return input_name(path, self.argument_names)

    def _structural(self, line: str) -> str:
        where, _, rest = line.partition(": ")
        side, *parts = where.split(".")
        if not side.isdecimal() or not parts:
            count = f"{len(self.tree[0])} positional and {len(self.tree[1])} keyword arguments"
            return f"function {self.function_name!r}: expected {count}; {line}"
        path: Path = (int(side), int(parts[0]) if side == "0" else parts[0], *parts[1:])
        return (
            f"function {self.function_name!r}, input {self.name_of(path)!r}: {rest}; "
            "pass the tree of the signature"
        )


def callable_tree(tree: Tree) -> Tree:
    """Returns a signature's tree with string pairs as dicts, which is how JAX can take them.

    Raises:
      UnsupportedError: If string pairs repeat a key.
    """
    if isinstance(tree, StringPairs):
        names = [name for name, _ in tree.pairs]
        if len(set(names)) < len(names):
            raise UnsupportedError(
                f"signature: expected string pairs with keys of their own; found {names}; "
                "convert the function again with a list"
            )
        return {name: callable_tree(child) for name, child in tree.pairs}
    if isinstance(tree, dict):
        return {name: callable_tree(child) for name, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(callable_tree(child) for child in tree)
    return tree


def callable_order(tree: Tree) -> tuple[int, ...]:
    """Returns the position in a signature's tree of each leaf of its `callable_tree`.

    They differ where string pairs are not sorted: a dict's leaves come by sorted key.
    """
    return tuple(leaves(callable_tree(unflatten(tree, range(len(leaves(tree)))))))


def in_order(found: Sequence[Any], order: Sequence[int]) -> list[Any]:
    """Returns leaves with the i-th one moved to position `order[i]`."""
    by_position = dict(zip(order, found, strict=True))
    return [by_position[i] for i in range(len(order))]


def _leaf_problem(
    spec: Any, leaf: Any, symbols: dict[str, tuple[int, str]], name: str
) -> str | None:
    if not isinstance(spec, Spec):
        return f"expected {spec}, found {_describe(leaf)}; tokens cannot be passed"
    found = _spec_of(leaf)
    if found is None:
        return f"expected {spec}, found {_describe(leaf)}; pass an array of that type"
    if not _has_type(spec, found):
        return f"expected {spec}, found {found}; {_type_hint(spec, found)}"
    shape = spec.shape
    # A key that is given as its words has their dimensions.
    if shape is None or found.shape is None or len(shape) != len(found.shape):
        return f"expected {spec}, found {found}; pass an array of that rank"
    for dim, size in zip(shape, found.shape, strict=True):
        if isinstance(dim, int) and dim != size:
            return f"expected {spec}, found {found}; pass an array of that shape"
        if isinstance(dim, str) and dim.isidentifier() and isinstance(size, int):
            known, where = symbols.setdefault(dim, (size, name))
            if known != size:
                return (
                    f"expected {spec} with {dim} = {known} as in {where!r}, found {found}; "
                    "pass arrays of one size"
                )
    return None


def _has_type(spec: Spec, found: Spec) -> bool:
    if spec.dtype is DType.FLOAT0:
        return found.dtype in (DType.FLOAT0, DType.BOOL)
    same_key = found.logical is None or found.logical == spec.logical
    return spec.dtype is found.dtype and same_key


def _type_hint(spec: Spec, found: Spec) -> str:
    if spec.logical and found.logical:
        return f"make the key with the generator of {spec.logical}"
    if found.logical:
        return "pass jax.random.key_data(key)"
    if spec.dtype.is_64_bit and not jax.config.read("jax_enable_x64"):
        return "cast before the call, under jax.enable_x64(True) for a JAX array"
    return "cast before the call"


def _spec_of(leaf: Any) -> Spec | None:
    if isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic):
        try:
            leaf = jax.typeof(leaf)
        except OverflowError:
            return None
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return None
    try:
        found = from_aval(leaf, "argument")
    except UnsupportedError:
        return None
    return None if found.dtype is DType.STRING else found


def _describe(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", None)
    if dtype is not None:
        return f"{dtype} {list(leaf.shape)}"
    text = repr(leaf)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(leaf).__name__})"
