"""Values of a bundle: weights kept elsewhere, and tuples of other objects."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.function import Function
from orbax_model_lite.core.tree import Tree


class LoaderType(enum.IntEnum):
    """Which loader the author asked for; the manifest's numbers."""

    DEFAULT = 0
    LEMMING = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalValue:
    """Weights (or any data) that lie in a file or folder of the bundle.

    Attributes:
      data: Where they lie, and their MIME type.
      type: Tree of specs, when the bundle records one.
      loader_type: The loader that the author asked for.
      origin: The manifest entry it was read from.
    """

    data: Data
    type: Tree = None
    loader_type: LoaderType = LoaderType.DEFAULT
    origin: bytes = field(default=b"", compare=False, repr=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TupleValue:
    """A tuple of other objects, by name."""

    elements: tuple[str, ...]
    origin: bytes = field(default=b"", compare=False, repr=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTupleValue:
    """Named references to other objects: (name, object name) pairs in order."""

    elements: tuple[tuple[str, str], ...]
    origin: bytes = field(default=b"", compare=False, repr=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownObject:
    """An object of a kind that this version does not know; kept as it was read."""

    origin: bytes = field(repr=False)


Value: TypeAlias = ExternalValue | TupleValue | NamedTupleValue
Object: TypeAlias = Function | Value | UnknownObject

_SHORT_MIME_TYPES = {
    "orbax_checkpoint": layout.MIME_ORBAX_CHECKPOINT,
    "tensorflow_saved_model": layout.MIME_SAVED_MODEL,
    "safetensors": layout.MIME_SAFETENSORS,
}


def convert_path_to_value(path: str, mime_type: str) -> ExternalValue:
    """Returns the value for weights at `path`.

    Args:
      path: Relative to the bundle, or absolute and inside it.
      mime_type: A MIME type, or the short name "orbax_checkpoint" or "safetensors".
    """
    full = _SHORT_MIME_TYPES.get(mime_type, mime_type)
    return ExternalValue(data=Data(content=FileRange(path=path), mime_type=full))
