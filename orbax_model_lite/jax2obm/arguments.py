"""Arguments of a call against a signature: bound by name, checked, adapted where nothing is lost.

Checks run while JAX traces (on tracers) and after a call has failed (on values), so a call that
fits costs nothing here. How a module is called is in `engine`.
"""

from __future__ import annotations

import math
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
    children,
    flatten_with_path,
    leaves,
    structure_differences,
)
from orbax_model_lite.errors import InvalidModelError, SignatureMismatchError, UnsupportedError
from orbax_model_lite.jax2obm.jax_trees import input_name
from orbax_model_lite.jax2obm.shapes import from_aval
from orbax_model_lite.jax2obm.trees import make_plain

_MOST_LINES = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a function takes.

    Attributes:
      function_name: For messages.
      signature: Of the function; string pairs are dicts here.
      argument_names: Of the positional arguments, as far as they are known.
    """

    function_name: str
    signature: Signature
    argument_names: tuple[str, ...] = ()
    tree: tuple[tuple[Tree, ...], dict[str, Tree]] = field(init=False)

    def __post_init__(self) -> None:
        """Makes the expected tree (args, kwargs) once."""
        args = tuple(callable_tree(arg) for arg in self.signature.args)
        kwargs = {name: callable_tree(arg) for name, arg in self.signature.kwargs.items()}
        object.__setattr__(self, "tree", (args, kwargs))

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
        """Returns the leaves of a call in flatten order, if they fit.

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
        return leaves(call)

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
    """Returns a signature's tree with string pairs as dicts, which is how JAX can take them."""
    if isinstance(tree, StringPairs):
        return {name: callable_tree(child) for name, child in tree.pairs}
    if isinstance(tree, dict):
        return {name: callable_tree(child) for name, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(callable_tree(child) for child in tree)
    return tree


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


def adapted(expected: Tree, call: Tree) -> tuple[tuple[tuple[Tree, ...], dict[str, Tree]], bool]:
    """Returns a call with Python numbers and lists of them as arrays, and whether any was there.

    Only what keeps its value is converted: a Python float becomes any floating type (rounded as
    NumPy rounds it), an int any type that holds it exactly. Arrays are never cast.

    Args:
      expected: The signature's tree `(args, kwargs)`.
      call: The given one, plain.
    """
    changed = False

    def walk(want: Tree, have: Tree) -> Tree:
        nonlocal changed
        if isinstance(want, Spec):
            made = _converted(want, have)
            changed |= made is not have
            return made
        below = children(want)
        if below is None or type(have) is not type(want):
            return have
        if isinstance(have, dict):
            return {k: walk(want[k], v) if k in want else v for k, v in have.items()}
        if len(have) != len(want):
            return have
        return type(have)(map(walk, want, have))

    return walk(expected, call), changed


_ALLOWED = {"b": "b", "i": "iufc", "f": "fc", "c": "c"}


def _converted(spec: Spec, value: Any) -> Any:
    is_sequence = isinstance(value, (list, tuple))
    is_number = isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)
    if not is_number and not (is_sequence and _is_numbers(value)):
        return value
    if spec.logical or spec.dtype in (DType.FLOAT0, DType.STRING, DType.UNSPECIFIED):
        return value
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return value
    kind = _kind(spec.dtype)
    if array.dtype.kind not in _ALLOWED or kind not in _ALLOWED[array.dtype.kind]:
        return value if array.size else np.zeros(array.shape, spec.dtype.numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(spec.dtype.numpy)
    return made if _is_kept(array, made) else value


def _is_numbers(value: Any) -> bool:
    """Returns whether a nested list holds Python numbers only; anything else may be a tree."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack.extend(item)
        elif not isinstance(item, (bool, int, float, complex)) or isinstance(item, np.generic):
            return False
    return True


def _kind(dtype: DType) -> str:
    for prefix, kind in (("bool", "b"), ("uint", "u"), ("int", "i"), ("complex", "c")):
        if dtype.value.startswith(prefix):
            return kind
    return "f"


def _is_kept(array: np.ndarray, made: np.ndarray) -> bool:
    """Returns whether integers are equal after the cast, and no finite number became infinite."""
    if array.dtype.kind in "bi":
        return all(int(a) == complex(b) for a, b in zip(array.flat, made.flat, strict=True))
    return all(
        not math.isfinite(abs(complex(a))) or math.isfinite(abs(complex(b)))
        for a, b in zip(array.flat, made.flat, strict=True)
    )
