"""A bundle that was read: its description in memory, its payloads on request.

Made by `read`; it imports no framework and runs nothing.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from orbax_model_lite import _lazy
from orbax_model_lite.core import files, integrity, paths
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.function import (
    Function,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.value import (
    ExternalValue,
    NamedTupleValue,
    Object,
    TupleValue,
    Value,
)
from orbax_model_lite.errors import InvalidBundleError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a folder says it holds.

    Attributes:
      path: The folder, as it was given to `read`.
      objects: Functions and values by name, sorted.
      supplementals: Further records of the bundle as a whole, by name, sorted.
      device_assignment: Devices in the flat order of the mesh; None when the bundle has none.
      layout: When bundles of its form on disk were first written, for example "2025-09"; see
        `legacy`.
      frequent_paths: Paths that ranges refer to by index.
      digests: Recorded size and SHA-256 of each file by path; None when the bundle has no record.
      origin: What the manifest has beyond all this; a writer that replaces it passes it on.
    """

    path: pathlib.Path
    objects: Mapping[str, Object]
    supplementals: Mapping[str, Data]
    device_assignment: tuple[Device, ...] | None
    layout: str
    frequent_paths: tuple[str, ...]
    digests: Mapping[str, FileDigest] | None = field(default=None, repr=False)
    origin: bytes = field(default=b"", compare=False, repr=False)

    @property
    def functions(self) -> dict[str, Function]:
        """The objects that are functions, by name."""
        kinds = (ShloFunction, OpaqueFunction, PolymorphicFunction)
        return {name: o for name, o in self.objects.items() if isinstance(o, kinds)}

    @property
    def values(self) -> dict[str, Value]:
        """The objects that are values, by name."""
        kinds = (ExternalValue, TupleValue, NamedTupleValue)
        return {name: o for name, o in self.objects.items() if isinstance(o, kinds)}

    @property
    def content_hash(self) -> str | None:
        """SHA-256 of the record of digests, in hexadecimal; None when there is no record.

        Raises:
          StorageError: If it cannot be read.
        """
        return integrity.content_hash(self.path)

    def resolve(self, place: Data | FileRange | str, *, where: str | None = None) -> pathlib.Path:
        """Returns the file or folder of the bundle that a payload or path means.

        Args:
          place: A payload that is in a file, or a path relative to the bundle.
          where: Beginning of a message, for example "weights 'w'"; None names the bundle.

        Raises:
          InvalidBundleError: If the payload is in no file; or the path is absolute, leads out of
            the bundle or nowhere, or is neither a regular file nor a folder.
          StorageError: If the file system does not let us look.
        """
        where = where or self._where
        found = place.file if isinstance(place, Data) else place
        if found is None:
            raise InvalidBundleError(
                f"{where}: expected a payload in a file or folder; found one inside the manifest; "
                "the bundle is damaged, save it again"
            )
        path = found.path if isinstance(found, FileRange) else found
        return paths.resolve(self.path, path, where)

    def read_bytes(self, data: Data | FileRange, *, where: str | None = None) -> bytes:
        """Returns the bytes of a payload, after its digest was checked if one is recorded.

        Args:
          data: The payload, or its place.
          where: Beginning of a message, for example "function 'f'"; None names the bundle.

        Raises:
          InvalidBundleError: If it is not there, not what the digest says, or outside the bundle.
          StorageError: If the file system refuses.
        """
        payload = Data(content=data) if isinstance(data, FileRange) else data
        return files.read_payload(self.path, self.digests or {}, payload, where or self._where)

    def digest(self, path: str) -> FileDigest | None:
        """Returns the recorded size and SHA-256 of a file; None when none is recorded.

        Raises:
          InvalidBundleError: If the path is not one of this bundle, see `resolve`.
          StorageError: If the file system does not let us look.
        """
        return files.recorded(self.path, self.digests or {}, path, self.resolve(path))

    def __repr__(self) -> str:
        """Returns for example "<Bundle 'digits.obm': 3 functions, 1 value, layout 2025-09>"."""
        counts = [(len(self.functions), "function"), (len(self.values), "value")]
        known = sum(count for count, _ in counts)
        counts.append((len(self.objects) - known, "unknown object"))
        parts = [f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts if count]
        return f"<Bundle {self.path.name!r}: {', '.join([*parts, f'layout {self.layout}'])}>"

    def _repr_html_(self) -> str:
        """Returns what `obm show` prints, with signatures as trees, for a notebook."""
        return _lazy.load("orbax_model_lite.inspection.page.notebook:bundle_html")(self)

    @property
    def _where(self) -> str:
        return f"bundle {os.fspath(self.path)!r}"
