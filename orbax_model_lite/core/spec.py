"""The leaves of a signature: what one array, or one token, is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import InvalidModelError

Dim: TypeAlias = int | str | None
"""A size, a symbolic expression such as "b" or "2*t + 1", or None where it is unknown."""

Shape: TypeAlias = tuple[Dim, ...] | None
"""Dimensions from major to minor; None where even the rank is unknown."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Shape and element type of one array.

    Attributes:
      shape: Dimensions, see `Shape`; `()` is a scalar.
      dtype: The type that the function's program really takes.
      logical: The type in the author's program where it differs from what NumPy can say:
        "key<fry>" for a typed PRNG key (shape and dtype are then those of the key's data).
      sharding: Serialized `xla.OpSharding`; `b""` is fully replicated, None is unspecified.
      layout: Serialized `xla.LayoutProto`; None is the default layout.
    """

    shape: Shape
    dtype: DType
    logical: str | None = None
    sharding: bytes | None = None
    layout: bytes | None = None

    def __post_init__(self) -> None:
        """Checks that no size is negative and no symbolic expression is empty."""
        for dim in self.shape or ():
            if (isinstance(dim, int) and dim < 0) or dim == "":
                raise InvalidModelError(
                    f"shape {self.shape!r}: expected sizes of zero or more, symbolic expressions "
                    f"or None; found {dim!r}"
                )

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    def __str__(self) -> str:
        """Returns for example "float32 [b, 28, 28]"."""
        name = self.logical or self.dtype.value
        if self.shape is None:
            return f"{name} [...]"
        return f"{name} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@final
@dataclass(frozen=True, slots=True)
class Token:
    """A leaf that orders effects and carries no data."""

    def __str__(self) -> str:
        """Returns "token"."""
        return "token"


Leaf: TypeAlias = Spec | Token


def dim_names(shape: Shape) -> tuple[str, ...]:
    """Returns the symbol names in a shape's expressions, in order of appearance.

    >>> dim_names(("b", 3, "2*t + 1"))
    ('b', 't')
    """
    functions = {"max", "min", "mod", "floordiv"}
    found: dict[str, None] = {}
    for dim in shape or ():
        if isinstance(dim, str):
            for name in _PLAIN_NAME.findall(dim):
                if name not in functions:
                    found.setdefault(name)
    return tuple(found)
