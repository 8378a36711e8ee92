"""Specs of arrays: the author's leaves and shorthand, JAX's ShapeDtypeStruct, and core's Spec.

Symbolic dimensions of one call live in one `DimScope`. Trees are the matter of `trees`.

Shorthand is `dtype [dims]` or bare dims of float32: "b, 28, 28, 1", "int32[b, t]", "key<fry>[]",
"bfloat16 [2*t + 1]", "float32[]". Dims are sizes, JAX's dimension expressions, or "?".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, final

import jax
import jax.export

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Dim, Spec
from orbax_model_lite.errors import InvalidModelError, UnsupportedError
from orbax_model_lite.jaxtypes import keys

_SHORTHAND = re.compile(r"\s*(?P<dtype>[A-Za-z][\w<>]*)?\s*\[(?P<dims>.*)\]\s*", re.DOTALL)
_SHORT_DTYPES = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"int{bits}" for sign in ("i", "s", "si") for bits in (4, 8, 16, 32, 64)},
    **{f"{sign}{bits}": f"uint{bits}" for sign in ("u", "ui") for bits in (4, 8, 16, 32, 64)},
    "bf16": "bfloat16",
    "c64": "complex64",
    "c128": "complex128",
    "i1": "bool",
}
_DTYPE_NAMES = {*_SHORT_DTYPES, *(dtype.value for dtype in DType)}


@final
class DimScope:
    """The one scope of the symbolic dimensions of a call.

    Args:
      constraints: As JAX spells them: "b >= 1", "t <= 8", "mod(t, 8) == 0".
      scope: A scope to go on with; `constraints` must then be its own.

    Raises:
      InvalidModelError: If a constraint cannot be parsed or contradicts another.
    """

    def __init__(
        self,
        constraints: Sequence[str] = (),
        scope: jax.export.SymbolicScope | None = None,
    ) -> None:
        """Makes the scope and parses the constraints."""
        self.constraints = tuple(constraints)
        if scope is None:
            scope = _new_scope(self.constraints)
        self.jax_scope = scope
        self._unknown = 0

    def shape(self, dims: Iterable[Dim], where: str) -> tuple[Any, ...]:
        """Returns a JAX shape; each unknown dimension (None) becomes a symbol of its own.

        Raises:
          InvalidModelError: If an expression cannot be parsed.
        """
        names = [self._fresh() if dim is None else dim for dim in dims]
        if all(isinstance(name, int) for name in names):
            return tuple(names)
        text = ", ".join(map(str, names))
        try:
            return tuple(jax.export.symbolic_shape(text, scope=self.jax_scope))
        except (ValueError, TypeError) as e:
            raise InvalidModelError(
                f"{where}: expected sizes or dimension expressions such as 'b' or '2*t + 1'; "
                f"found {text!r} ({_first_line(e)}); correct the expression"
            ) from e

    def _fresh(self) -> str:
        self._unknown += 1
        return f"_d{self._unknown - 1}"


def _new_scope(constraints: tuple[str, ...]) -> jax.export.SymbolicScope:
    for constraint in constraints:
        try:
            jax.export.SymbolicScope((constraint,))
        except ValueError as e:
            raise InvalidModelError(
                f"constraint {constraint!r}: expected one of the forms 'b >= 1', 't <= 8' and "
                f"'mod(t, 8) == 0'; found {_first_line(e)}; correct it"
            ) from e
    try:
        return jax.export.SymbolicScope(constraints)
    except ValueError as e:
        raise InvalidModelError(
            f"constraints {', '.join(constraints)}: expected constraints that can hold together; "
            f"found {_first_line(e)}; drop one"
        ) from e


def scope_constraints(scope: jax.export.SymbolicScope) -> tuple[str, ...]:
    """Returns the constraints of a JAX scope as they were written."""
    # The scope has no public list of them; its text form has one per line after this heading.
    _, _, listed = str(scope).partition(" with constraints:")
    return tuple(line.strip() for line in listed.splitlines() if line.strip())


def symbolic_scope(shape: Iterable[Any]) -> jax.export.SymbolicScope | None:
    """Returns the scope of a JAX shape's first symbolic dimension, if it has one."""
    for dim in shape:
        if jax.export.is_symbolic_dim(dim):
            return dim.scope
    return None


def parse_shorthand(text: str, where: str) -> Spec:
    """Returns the spec that a shorthand string stands for.

    Args:
      text: See the head of this module; "float32[]" is a scalar.
      where: What it describes, as the beginning of an error message.

    Raises:
      InvalidModelError: If the text has another form or names an unknown dtype.
    """
    matched = _SHORTHAND.fullmatch(text)
    dtype = (matched["dtype"] if matched else None) or "float32"
    inner = matched["dims"] if matched else text
    pieces = [piece.strip() for piece in _split(inner)] if inner.strip() else []
    # A bare dtype would otherwise be taken for a dimension of that name.
    refused = {"", "...", "_", *_DTYPE_NAMES} if matched is None else {"", "...", "_"}
    if (matched is None and not pieces) or refused & set(pieces) or set(inner) & set("[]"):
        raise InvalidModelError(
            f"{where}: expected shorthand such as 'b, 28, 28, 1' or 'int32[b, t]'; "
            f"found {text!r}; write 'float32[]' for a scalar"
        )
    dims = tuple(int(p) if p.isdecimal() else None if p == "?" else p for p in pieces)
    if dtype.startswith("key<"):
        return Spec(
            shape=(*dims, *keys.words_shape(dtype, where)), dtype=DType.UINT32, logical=dtype
        )
    return Spec(shape=dims, dtype=_dtype_named(dtype, text, where))


def _dtype_named(name: str, text: str, where: str) -> DType:
    try:
        found = DType(_SHORT_DTYPES.get(name, name))
    except ValueError as e:
        raise InvalidModelError(
            f"{where}: expected a dtype such as float32, bfloat16 or int32; "
            f"found {name!r} in {text!r}; correct the name"
        ) from e
    return found


def _split(text: str) -> list[str]:
    """Returns the parts between top-level commas: "max(b, 2), 3" has two."""
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    # One trailing comma is the usual way to write a tuple of one.
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def to_struct(spec: Spec, scope: DimScope, where: str) -> jax.ShapeDtypeStruct:
    """Returns what JAX traces for a spec: typed keys as keys, symbolic dimensions in `scope`.

    Raises:
      InvalidModelError: If the rank is unknown or a dimension cannot be parsed.
      UnsupportedError: If JAX has no such type (strings, unspecified).
    """
    if spec.shape is None:
        raise InvalidModelError(
            f"{where}: expected a known rank; found {spec}; JAX compiles for known ranks only, so "
            "give every dimension, unknown ones by name"
        )
    if spec.dtype in (DType.STRING, DType.UNSPECIFIED):
        raise UnsupportedError(
            f"{where}: expected a type that JAX can compute with; found {spec}; "
            "handle strings in a TensorFlow processor"
        )
    shape = scope.shape(spec.shape, where)
    if spec.logical is None:
        return jax.ShapeDtypeStruct(shape, spec.dtype.numpy)
    dtype = keys.key_dtype(spec.logical, where)
    return jax.ShapeDtypeStruct(shape[: -len(keys.words_of(dtype))], dtype)


def from_aval(aval: Any, where: str) -> Spec:
    """Returns the spec of a JAX abstract value or ShapeDtypeStruct, without sharding or layout.

    A typed key becomes its words with the key's name as `logical`.

    Raises:
      UnsupportedError: If the format has no name for the dtype.
    """
    dims = tuple(dim if isinstance(dim, int) else str(dim) for dim in aval.shape)
    if keys.is_key(aval.dtype):
        return Spec(
            shape=(*dims, *keys.words_of(aval.dtype)),
            dtype=DType.UINT32,
            logical=str(aval.dtype),
        )
    try:
        return Spec(shape=dims, dtype=DType.from_numpy(aval.dtype))
    except (UnsupportedError, TypeError) as e:
        raise UnsupportedError(
            f"{where}: expected an array of numbers, booleans or PRNG keys; "
            f"found dtype {aval.dtype}; cast it first"
        ) from e


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
