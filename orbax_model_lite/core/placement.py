"""Where each payload of a save goes: into a new file, into the manifest, or stays in its file.

Everything happens in memory; what is wrong with the payloads is collected, not raised, so that the
author hears of all of it at once. `save` writes the files afterwards.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import final

from orbax_model_lite.core import layout, paths
from orbax_model_lite.core.data import Data, FileRange, GlobalSupplemental
from orbax_model_lite.core.file_names import FileNames, require_extension, safe_stem
from orbax_model_lite.core.payload import Payload
from orbax_model_lite.core.references import range_problem
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, StorageError


@final
class Placement:
    """The files that one save will make, as they are decided.

    Attributes:
      files: Content by path relative to the bundle, in the order in which they were placed.
      problems: One message for each payload that cannot be placed.
    """

    __slots__ = ("_modules_in_files", "_names", "_references", "_root", "files", "problems")

    def __init__(self, root: Path, names: FileNames, *, modules_in_files: bool) -> None:
        """Starts without files.

        Args:
          root: The bundle's folder; files that its caller wrote are looked up there.
          names: The names in use in it.
          modules_in_files: Whether StableHLO modules become files or stay in the manifest.
        """
        self.files: dict[str, bytes] = {}
        self.problems: list[str] = []
        self._root = root
        self._names = names
        self._modules_in_files = modules_in_files
        self._references: list[tuple[str, FileRange]] = []

    def place(self, payload: Payload) -> Data:
        """Returns a function's payload in its place; see `payload.Place`."""
        part = "body" if payload.key is None else f"supplemental {payload.key!r}"
        where = f"function {payload.stem!r}, {part}"
        if payload.stored is not None and self._holds(payload.stored, payload.data, where):
            return payload.stored
        content = self._in_memory(payload.data, where)
        if content is None or payload.extension is None:
            return self.refer(payload.data, where)
        is_module = payload.key is None and payload.extension == layout.SHLO_EXTENSION
        if is_module and not self._modules_in_files:
            return payload.data
        try:
            require_extension(payload.extension, where)
        except InvalidModelError as e:
            self.problems.append(str(e))
            return payload.data
        if payload.key is None:
            ending = layout.with_extension("", payload.extension)
        else:
            ending = layout.supplemental_file("", safe_stem(payload.key), payload.extension)
        path = self._names.allot(payload.stem, ending)
        self.files[path] = content
        return payload.data.moved_to(path)

    def place_global(self, key: str, supplemental: GlobalSupplemental | Data) -> Data:
        """Returns a supplemental of the whole bundle in its place."""
        where = f"supplemental {key!r}"
        if isinstance(supplemental, Data):
            supplemental = GlobalSupplemental(supplemental)
        if not isinstance(supplemental, GlobalSupplemental):
            self.problems.append(
                f"{where}: expected a GlobalSupplemental or Data; found "
                f"{type(supplemental).__name__}; wrap it, or give each record a key of its own"
            )
            return Data(content=None)
        content = self._in_memory(supplemental.data, where)
        if content is None or supplemental.save_as is None:
            return self.refer(supplemental.data, where)
        try:
            relative = relative_path(self._root, supplemental.save_as, where)
            path = self._names.claim(relative, where)
        except InvalidModelError as e:
            self.problems.append(str(e))
            return supplemental.data
        self.files[path] = content
        return supplemental.data.moved_to(path)

    def refer(self, data: Data, where: str) -> Data:
        """Returns a payload that stays where it is, with a path that is relative to the bundle."""
        place = data.file
        if place is None:
            return data
        try:
            path = relative_path(self._root, place.path, where)
        except InvalidModelError as e:
            self.problems.append(str(e))
            return data
        if path != place.path:
            place = replace(place, path=path, frequent_index=None)
        self._references.append((where, place))
        return replace(data, content=place)

    def missing(self) -> list[str]:
        """Returns a message for each reference to a file that is not, or not wholly, there."""
        found = [self._missing(where, place) for where, place in self._references]
        return [message for message in found if message is not None]

    def _missing(self, where: str, place: FileRange) -> str | None:
        if place.path in self.files:
            size = len(self.files[place.path])
        else:
            if not os.path.lexists(self._root / place.path):
                return (
                    f"{where}: expected {place.path!r} in {os.fspath(self._root)!r}; "
                    "found nothing; write it there before the save or correct the path"
                )
            try:
                file = paths.resolve(self._root, place.path, where)
            except (InvalidBundleError, StorageError) as e:
                return str(e)
            if file.is_dir():
                return None
            size = file.stat().st_size
        problem = range_problem(place, size)
        return None if problem is None else f"{where}: {problem}"

    def _in_memory(self, data: Data, where: str) -> bytes | None:
        """Returns the bytes of a payload in memory; None for others and for one with a problem."""
        try:
            return data.inline_bytes
        except UnicodeEncodeError:
            self.problems.append(
                f"{where}: expected text that UTF-8 can hold; found an unpaired surrogate; "
                "pass bytes instead"
            )
            return None

    def _holds(self, stored: Data, data: Data, where: str) -> bool:
        """Whether the folder has the bytes of `data` at `stored`, as a copy of a bundle does."""
        place = stored.file
        if place is None:
            return True
        try:
            content = paths.read_file(self._root, place.path, where)
        except (InvalidBundleError, StorageError):
            return False
        whole = place.offset is None and place.size is None
        return whole and content == data.inline_bytes


def relative_path(root: Path, path: str, where: str) -> str:
    """Returns a path that an author gave, relative to the bundle and in its plainest form.

    Args:
      root: The bundle's folder.
      path: Relative to it with `/`, or absolute and inside it. A `/` at the end stays; an absolute
        path of a folder gets one.
      where: Beginning of a message, for example "value 'w'".

    Raises:
      InvalidModelError: If it is outside the bundle, or the bundle itself.
    """
    is_absolute = Path(path).is_absolute()
    relative = _inside(root, path) if is_absolute else path
    if relative is None:
        raise InvalidModelError(
            f"{where}: expected a path inside {os.fspath(root)!r}; found {path!r}; "
            "copy the data into the folder first"
        )
    plain = "/".join(part for part in relative.split("/") if part not in {"", "."})
    try:
        paths.require_relative(plain, where)
    except InvalidBundleError as e:
        raise InvalidModelError(
            f"{where}: expected a file or folder inside {os.fspath(root)!r}; found {path!r}; "
            "give its path relative to that folder, without '..'"
        ) from e
    is_folder = path.endswith("/") or (is_absolute and (root / plain).is_dir())
    return plain + "/" if is_folder else plain


def _inside(root: Path, path: str) -> str | None:
    # As written first: a link inside the folder is a name of its own there.
    for flatten in (os.path.abspath, os.path.realpath):
        full, base = Path(flatten(path)), Path(flatten(root))
        if full.is_relative_to(base):
            return full.relative_to(base).as_posix()
    return None


def present_names(root: Path, files: list[str]) -> list[str]:
    """Returns the files of a folder and its folders, the latter with a `/` at the end."""
    folders = [Path(folder) for folder, _, _ in os.walk(root)][1:]
    return [*files, *(folder.relative_to(root).as_posix() + "/" for folder in folders)]
