"""The version marker: three lines that say where the manifest is and that the save finished."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

MAX_BYTES = 64 * 1024

_NUMBERS = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFile:
    """What a marker says.

    Attributes:
      manifest_file_path: The manifest's file, relative to the bundle.
      version: Of the format.
      mime_type: Of the manifest.
    """

    manifest_file_path: str = layout.MANIFEST_FILE
    version: str = layout.FORMAT_VERSION
    mime_type: str = layout.MIME_MANIFEST


_KEYS = ("manifest_file_path", "version", "mime_type")


def to_bytes(info: VersionFile | None = None) -> bytes:
    """Returns the content of a marker: three lines in a fixed order, each one ended.

    Args:
      info: What to say; None is what every bundle of ours says.

    Raises:
      ValueError: If a value cannot stand between quotes on one line.
    """
    info = info or VersionFile()
    lines = [(key, getattr(info, key)) for key in _KEYS]
    for key, value in lines:
        if not value or '"' in value or value.splitlines() != [value]:
            raise ValueError(f"{key}: expected text on one line without quotes; found {value!r}")
    return "".join(f'{key}: "{value}"\n' for key, value in lines).encode()


def from_bytes(content: bytes, where: str) -> VersionFile:
    """Returns what a marker says, whatever version it names.

    Lines may come in any order and end in any way; of a repeated key the last counts.

    Args:
      content: All bytes of the file.
      where: Beginning of a message, for example "bundle 'm.obm', 'orbax_model_version.txt'".

    Raises:
      InvalidBundleError: If a line is not `key: "value"` with one of the three keys, or a key is
        missing or empty.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected text; found bytes that are not UTF-8; save the bundle again"
        ) from e
    values: dict[str, str] = {}
    for line in filter(None, map(str.strip, re.split(r"[\r\n]", text))):
        key, value = _entry(line, where)
        values[key] = value
    for key in _KEYS:
        if not values.get(key):
            raise InvalidBundleError(
                f"{where}: expected a value for {key!r}; found "
                f"{'an empty one' if key in values else 'none'}; save the bundle again"
            )
    return VersionFile(**values)


def require_supported(info: VersionFile, bundle: str) -> None:
    """Checks that this version can read what a marker announces.

    Args:
      info: The marker.
      bundle: Beginning of a message, for example "bundle 'm.obm'".

    Raises:
      UnsupportedError: If the format is of another version, or the manifest of another type.
    """
    require_version(info.version, bundle)
    if info.mime_type != layout.MIME_MANIFEST:
        raise UnsupportedError(
            f"{bundle}: expected a manifest of type {layout.MIME_MANIFEST!r}; found "
            f"{info.mime_type!r}; read it with the program that wrote it"
        )


def require_version(version: str, bundle: str) -> None:
    """Checks the version of a manifest.

    Raises:
      UnsupportedError: If it is not the one that this reader knows.
    """
    ours = layout.FORMAT_VERSION
    if version == ours:
        return
    if _NUMBERS.fullmatch(version) and _parts(version) > _parts(ours):
        raise UnsupportedError(
            f"{bundle}: manifest version {version!r} is newer than this reader ({ours!r}); "
            "upgrade orbax_model_lite"
        )
    raise UnsupportedError(
        f"{bundle}: expected manifest version {ours!r}; found {version!r}, which no known writer "
        "gives; save it again"
    )


def _entry(line: str, where: str) -> tuple[str, str]:
    key, colon, value = line.partition(":")
    key, value = key.strip(), value.strip()
    if key not in _KEYS or not colon:
        raise InvalidBundleError(
            f"{where}: expected lines with the keys {', '.join(_KEYS)}; found {line[:80]!r}; "
            "remove the line or save the bundle again"
        )
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        raise InvalidBundleError(
            f"{where}: expected the value of {key!r} between double quotes; found {value[:80]!r}; "
            "save the bundle again"
        )
    return key, value[1:-1]


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
