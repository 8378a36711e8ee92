"""Payloads: bytes or text kept in memory or inside the manifest, or a range of a file.

What a payload means is told by its MIME type and version; who writes and reads the files is in
`save` and `paths`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from orbax_model_lite.errors import InvalidModelError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """A file or folder of the bundle, or a part of a file.

    Attributes:
      path: Relative to the bundle, with `/`; a folder ends in `/` by habit. Absolute paths are
        accepted from a caller and become relative when they lie inside the target.
      offset: First byte; negative counts from the end; None is the beginning.
      size: Length in bytes; None is up to the end.
      frequent_index: Position in the manifest's table of frequent paths, where it came from there.
    """

    path: str
    offset: int | None = None
    size: int | None = None
    frequent_index: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One payload with its type.

    Attributes:
      content: The payload itself, or where it lies; None when the manifest gives neither.
      mime_type: What it is, for example "application/x.mlir-stablehlo".
      version: The version of that format, for example "1.0".
    """

    content: bytes | str | FileRange | None
    mime_type: str | None = None
    version: str | None = None

    @property
    def file(self) -> FileRange | None:
        """Where it lies, when it is in a file."""
        return self.content if isinstance(self.content, FileRange) else None

    @property
    def inline_bytes(self) -> bytes | None:
        """The payload as bytes (text as UTF-8) when it is not in a file."""
        if isinstance(self.content, str):
            return self.content.encode()
        return self.content if isinstance(self.content, bytes) else None

    def moved_to(self, path: str) -> Data:
        """Returns the same typed payload, now in the file at `path`.

        An absent MIME type or version becomes "", as the format has it for written payloads.
        """
        return replace(
            self,
            content=FileRange(path=path),
            mime_type=self.mime_type or "",
            version=self.version or "",
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSupplemental:
    """Additional information about one function.

    Attributes:
      data: The payload.
      extension: Extension of the file it is written to (without the dot, "" for none); None keeps
        it inside the manifest.
    """

    data: Data
    extension: str | None = None


@final
@dataclass(frozen=True, slots=True)
class GlobalSupplemental:
    """Additional information about the whole bundle.

    Attributes:
      data: The payload.
      save_as: File inside the bundle to write it to; None keeps it inside the manifest.
    """

    data: Data
    save_as: str | None = None

    def __post_init__(self) -> None:
        """Checks that only a payload in memory is asked to be written."""
        if self.save_as is not None and not isinstance(self.data.content, bytes | str):
            raise InvalidModelError(
                f"supplemental to be saved as {self.save_as!r}: expected bytes or text in memory; "
                f"found {self.data.content!r}; pass None as save_as for data that is in a file"
            )
