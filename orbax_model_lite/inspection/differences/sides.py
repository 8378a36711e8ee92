"""One of the two bundles: what is read from it, with errors that say which of the two it is."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.digests import FileDigest, digest_files, scan
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.errors import InvalidBundleError, ObmError


@final
class Side:
    """The bundle before, or the one after."""

    def __init__(self, label: str, bundle: Bundle | str | os.PathLike[str]) -> None:
        """Reads the bundle if it has not been read.

        Args:
          label: "before" or "after".
          bundle: A folder, or what was read from it.
        """
        self.label = label
        self._sorted_names: list[str] | None = None
        with self.errors():
            self.bundle = bundle if isinstance(bundle, Bundle) else read(bundle)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Lets errors of the block say which bundle they are about."""
        try:
            yield
        except ObmError as e:
            if str(e).startswith(f"{self.label}: "):
                raise
            # Each of our classes takes the message alone.
            raise type(e)(f"{self.label}: {e}") from e

    def read_bytes(self, data: Data) -> bytes:
        """Returns the bytes of a payload, see `Bundle.read_bytes`."""
        with self.errors():
            return self.bundle.read_bytes(data)

    def supplemental(self, key: str) -> bytes | None:
        """Returns the bytes of a record of the whole bundle; None where it has none."""
        data = self.bundle.supplementals.get(key)
        return None if data is None else self.read_bytes(data)

    def digest(self, data: Data) -> str:
        """Returns the SHA-256 of a payload, as recorded if it is; for a folder, of its files."""
        place = data.file
        if place is not None and place.offset is None and place.size is None:
            with self.errors():
                is_folder = self.bundle.resolve(data).is_dir()
                recorded = None if is_folder else self.bundle.digest(place.path)
            if is_folder:
                files = self.files(data, f"folder {place.path!r}")
                content = b"".join(n.encode() + f.sha256 for n, f in sorted(files.items()))
                return hashlib.sha256(content).hexdigest()
            if recorded is not None:
                self._require_as_recorded(place.path, recorded)
                return recorded.sha256.hex()
        if data.content is None:
            return ""
        return hashlib.sha256(self.read_bytes(data)).hexdigest()

    def recorded_files(self, path: str, where: str) -> Mapping[str, FileDigest] | None:
        """Returns the recorded digests of a file ("") or of the files in a folder; None if none.

        Args:
          path: Relative to the bundle.
          where: The beginning of a message.

        Raises:
          InvalidBundleError: If one of the files is not there, or has another size.
        """
        plain = PurePosixPath(path).as_posix()
        inside = f"{plain}/"
        digests = self.bundle.digests or {}
        if self._sorted_names is None:
            # There may be as many values as files: not all names are looked through for each.
            self._sorted_names = sorted(digests)
        found = {"": digests[plain]} if plain in digests else {}
        for i in range(bisect.bisect_left(self._sorted_names, inside), len(self._sorted_names)):
            name = self._sorted_names[i]
            if not name.startswith(inside):
                break
            found[name.removeprefix(inside)] = digests[name]
        for name, recorded in found.items():
            self._require_as_recorded(inside + name if name else plain, recorded, where)
        return found or None

    @property
    def has_recorded_files(self) -> bool:
        """Whether every file that has a recorded digest is there in its recorded size."""
        try:
            for path, recorded in (self.bundle.digests or {}).items():
                self._require_as_recorded(path, recorded)
        except ObmError:
            return False
        return True

    def _require_as_recorded(self, path: str, recorded: FileDigest, where: str = "") -> None:
        """Checks what can be told without reading; a digest is compared in its place after that."""
        file = self.bundle.path / path
        with self.errors(), storage_errors("reading", file):
            if not file.is_file():
                raise InvalidBundleError(
                    f"{where}file {path!r}: expected by the record of digests; found nothing; "
                    "fetch the bundle again"
                )
            size = file.stat().st_size
            if size != recorded.size_bytes:
                raise InvalidBundleError(
                    f"{where}file {path!r}: expected {recorded.size_bytes} bytes as recorded; "
                    f"found {size}; fetch the bundle again"
                )

    def files(self, data: Data, where: str) -> Mapping[str, FileDigest]:
        """Returns the digests of a file ("") or of the files in a folder; recorded or computed."""
        with self.errors():
            path = self.bundle.resolve(data, where=where)
            assert data.file is not None
            recorded = self.recorded_files(data.file.path, f"{where}: ")
            if recorded is not None:
                return recorded
            with storage_errors("reading", path):
                if not path.is_dir():
                    return {"": digest_files(path.parent, [path.name])[path.name]}
                names, problems = scan(path)
                if problems:
                    raise InvalidBundleError(
                        f"{where}: expected regular files only; found {problems[0][0]!r}, "
                        f"{problems[0][1]}; fetch the bundle again"
                    )
                return digest_files(path, names)
