"""Names of the files that a save makes: safe on every file system, and never used twice.

A name that the author writes for a file is kept or refused; one that is made from the name of an
object is made safe, and numbered where it is taken. Nothing is read or written here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, final

from orbax_model_lite.core import layout, paths
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

RESERVED: Final = (
    layout.MANIFEST_FILE,
    layout.INTEGRITY_FILE,
    layout.VERSION_FILE,
    layout.LEGACY_VERSION_FILE,
    layout.JOURNAL_FILE,
    layout.UNFINISHED_FILE,
)
"""Files of the format itself; nothing else may have these names."""

_MAX_PART_BYTES = 255
_MAX_STEM_BYTES = 96
_PUNCTUATION = frozenset(" _-.+=@,()[]")
_EXTENSION = re.compile(r"(?!\.)[A-Za-z0-9_.-]{0,32}(?<!\.)")
# Windows has devices of these names in every folder, with any extension.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
)
_NOT_ON_WINDOWS = frozenset('<>:"|?*\\')


@final
class FileNames:
    """The names in use in one folder; those that some file system takes for one count as one."""

    __slots__ = ("_files", "_folders", "_numbers")

    def __init__(self, present: Iterable[str] = ()) -> None:
        """Starts with the files that are in the folder, and with `RESERVED`.

        Args:
          present: Paths relative to the folder, with `/`; a folder ends in `/`.
        """
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._numbers: dict[str, int] = {}
        for path in (*RESERVED, *present):
            if path.endswith("/"):
                self._folders.update((_key(path[:-1]), *_parents(path[:-1])))
            else:
                self._add(path)

    def is_free(self, path: str) -> bool:
        """Whether a new file could have this path."""
        key = _key(path)
        if key in self._files or key in self._folders:
            return False
        return not any(parent in self._files for parent in _parents(path))

    def claim(self, path: str, where: str) -> str:
        """Takes exactly the path that an author asked for.

        Args:
          path: Relative to the bundle, with `/`.
          where: Beginning of a message, for example "supplemental 'orchestration'".

        Raises:
          InvalidModelError: If it is not a safe path of a file, is reserved, or is in use.
        """
        _require_safe(path, where)
        if not self.is_free(path):
            reserved = _key(path) in map(_key, RESERVED)
            found = "a name of the format itself" if reserved else "one that is in use"
            raise InvalidModelError(
                f"{where}: expected the name of a new file; found {path!r}, {found} "
                "(names that differ only in case count as one); choose another name"
            )
        self._add(path)
        return path

    def allot(self, stem: str, ending: str) -> str:
        """Returns a free name that is as near to `stem + ending` as is safe, and takes it.

        Args:
          stem: From an object's name; anything.
          ending: What follows it, extension included; safe already.
        """
        stem = safe_stem(stem)
        first = name = stem + ending
        while not self.is_free(name):
            self._numbers[first] = number = self._numbers.get(first, 1) + 1
            name = f"{stem}-{number}{ending}"
        self._add(name)
        return name

    def _add(self, path: str) -> None:
        self._files.add(_key(path))
        self._folders.update(_parents(path))


def safe_stem(text: str) -> str:
    """Returns the text as the beginning of a file name; most names of objects stay as they are.

    >>> safe_stem("encode v1.2"), safe_stem("a/b"), safe_stem(".."), safe_stem("CON"), safe_stem("")
    ('encode v1.2', 'a_b', '__', '_CON', '_')
    """
    composed = unicodedata.normalize("NFC", text)
    stem = "".join(c if _is_plain(c) else "_" for c in composed)
    stem = stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    if stem[:1] in {".", " ", "-", ""}:
        stem = "_" + stem[1:]
    if stem[-1] in {".", " "}:
        stem = stem[:-1] + "_"
    if stem.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        stem = "_" + stem
    return stem


def require_extension(extension: str, where: str) -> None:
    """Checks the extension that an author asked for.

    Raises:
      InvalidModelError: If it has other than ASCII letters, digits, `_`, `-` and inner dots, or
        more than 32 of them.
    """
    if not _EXTENSION.fullmatch(extension):
        raise InvalidModelError(
            f"{where}: expected an extension without its dot, of at most 32 letters, digits, '_', "
            f"'-' and inner dots; found {extension!r}; write for example 'pb'"
        )


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    return unicodedata.category(character)[0] in "LMN"


def _key(path: str) -> str:
    """Returns what two paths share when some file system takes them for one."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
    return "/".join(part.rstrip(" .") or part for part in folded.split("/"))


def _parents(path: str) -> list[str]:
    parts = _key(path).split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _require_safe(path: str, where: str) -> None:
    try:
        paths.require_relative(path, where)
        path.encode()
    except (InvalidBundleError, UnicodeEncodeError) as e:
        raise InvalidModelError(
            f"{where}: expected a path relative to the bundle, without '..'; found {path!r}; "
            "write for example 'my_file.pb'"
        ) from e
    for part in path.split("/"):
        device = part.partition(".")[0].rstrip(" ").casefold() in _DEVICES
        odd = any(c in _NOT_ON_WINDOWS or not c.isprintable() for c in part)
        if part in {"", "."} or part != part.strip(" ").rstrip(".") or device or odd:
            raise InvalidModelError(
                f"{where}: expected names that every file system takes between the '/'; found "
                f"{part!r} in {path!r}; use letters, digits, '_', '-' and '.'"
            )
        if len(part.encode()) > _MAX_PART_BYTES:
            raise InvalidModelError(
                f"{where}: expected names of at most {_MAX_PART_BYTES} bytes between the '/'; "
                f"found {len(part.encode())} in {path[:60]!r}...; use a shorter name"
            )
