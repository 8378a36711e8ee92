"""What the manifest's writer asks of whoever places files: one payload, its name, where to put it.

`manifest.to_proto` calls a `Place` for every payload of a function; `save` gives one that writes
files, and the default here leaves everything where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One payload of one function, about to be recorded.

    Attributes:
      stem: Of its file name: the object's name, or `layout.concrete_stem` in a polymorphic one.
      key: Name of the supplemental; None for the function's body.
      data: In memory, or already in a file of the bundle.
      extension: Wished for by the author; None asks to keep it inside the manifest.
      stored: Where exactly these bytes lie in the bundle that they were read from, if they do.
    """

    stem: str
    key: str | None
    data: Data
    extension: str | None
    stored: Data | None = None

    @property
    def file_name(self) -> str:
        """The file that the format has for it, relative to the bundle."""
        extension = self.extension or ""
        if self.key is None:
            return layout.with_extension(self.stem, extension)
        return layout.supplemental_file(self.stem, self.key, extension)


Place: TypeAlias = Callable[[Payload], Data]
"""Puts a payload where it shall be and returns it with its final content: in memory (that is,
inside the manifest) or a `FileRange`."""


def as_it_lies(payload: Payload) -> Data:
    """Returns the payload unmoved: where it was read from, else inside the manifest."""
    return payload.stored or payload.data
