"""Manifests of before 2025-09-05: recognised by their wire data and rewritten in today's numbers.

Which changes there were is told in docs/format.md. Names of layouts are dates from which on they
were written. Nothing is parsed with today's schema before it is rewritten, because that could fail
or misread; what could be of two layouts is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite.core import layout, wire
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

CURRENT: Final = "2025-09"
"""Today's, from 2025-09-05 on."""
FIRST_MARKED: Final = "2025-09-04"
"""Has today's version marker, but the numbers of before."""
MAPPED: Final = "2025-05"
"""Has `manifest_version.txt`."""
OLDEST: Final = "2025-01"
"""Has no marker at all; supplementals may be single records instead of maps."""

_OLD_FUNCTION_MIME_TYPE = "tf_function_def"


@final
@dataclass(slots=True)
class _Evidence:
    """Places in a manifest that only one of the two numberings can have written."""

    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def recognise(raw: bytes, where: str, *, has_marker: bool, has_old_marker: bool) -> str | None:
    """Returns the layout of a manifest; None when it is unmarked and of no old layout.

    Args:
      raw: The manifest file.
      where: Beginning of a message, for example "bundle 'm.obm', manifest".
      has_marker: Whether the bundle has `orbax_model_version.txt`.
      has_old_marker: Whether it has `manifest_version.txt`.

    Raises:
      InvalidBundleError: If the bytes are damaged.
      UnsupportedError: If one part is as in an old layout and another as in today's.
    """
    is_unmarked = not has_marker and not has_old_marker
    found = _Evidence()
    _examine_manifest(raw, where, found, has_marker=has_marker)
    if is_unmarked:
        _examine_mime_types(raw, where, found)
        if not found.old or found.new:
            return None
    if found.new and (found.old or not has_marker):
        old = found.old[0] if found.old else f"'{layout.LEGACY_VERSION_FILE}' is there"
        raise UnsupportedError(
            f"{where}: expected the field numbers of one layout; found those of before 2025-09-05 "
            f"({old}) beside those of since then ({found.new[0]}); save it again with one writer"
        )
    if has_marker:
        return FIRST_MARKED if found.old else CURRENT
    return MAPPED if has_old_marker else OLDEST


def _examine_manifest(raw: bytes, where: str, found: _Evidence, *, has_marker: bool) -> None:
    for name, entry in _objects(raw, where):
        for item in wire.fields(entry, where):
            if item.has(1):
                _examine_function(item.data, f"function {name!r}", where, found)
            elif item.has(3) or item.has(30):
                side = found.new if item.number == 3 else found.old
                side.append(f"polymorphic function {name!r} is in field {item.number}")
                for part in wire.fields(item.data, where):
                    if part.has(1):
                        _examine_function(part.data, f"function {name!r}", where, found)
    for item in wire.fields(raw, where):
        if item.has(3) and has_marker:  # before, a device mesh stood here
            found.new.append("devices are in field 3")
        elif item.has(4) and _is_device_assignment(item.data, where):
            found.old.append("devices are in field 4")
        elif item.has(5):
            found.old.append("frequent paths are in field 5")


def _examine_function(data: memoryview, name: str, where: str, found: _Evidence) -> None:
    for item in wire.fields(data, where):
        if item.has(3, wire.VARINT):
            found.old.append(f"the visibility of {name} is in field 3")
        elif item.has(4):
            found.old.append(f"the gradient function of {name} is in field 4")
        elif item.has(4, wire.VARINT):
            found.new.append(f"the visibility of {name} is in field 4")
        elif item.has(3):
            found.new.append(f"the data names of {name} are in field 3")


def _is_device_assignment(data: memoryview, where: str) -> bool:
    """Whether bytes are a record of devices rather than a path, which begins with no newline."""
    if bytes(data[:1]) != b"\n":
        return False
    try:
        devices = list(wire.fields(data, where))
        numbers = {part.number for item in devices for part in wire.fields(item.data, where)}
    except InvalidBundleError:
        return False
    return all(item.has(1) for item in devices) and numbers <= {1, 2, 3}


def _examine_mime_types(raw: bytes, where: str, found: _Evidence) -> None:
    """Finds spellings of before and after 2025-09-04; then the marker came as well."""
    for name, entry in _objects(raw, where):
        for path in _PAYLOAD_PATHS:
            for data in _below(entry, path, where):
                mime_type = bytes(data).decode("utf-8", "replace")
                text = f"object {name!r} has MIME type {mime_type!r}"
                if layout.is_old_mime_type(mime_type) or mime_type == _OLD_FUNCTION_MIME_TYPE:
                    found.old.append(text)
                elif layout.is_new_mime_type(mime_type):
                    found.new.append(text)


# Field numbers from an object's entry to the MIME type of its body or data.
_PAYLOAD_PATHS = (
    (1, 2, 1, 1, 4),
    (1, 2, 2, 4),
    (30, 1, 2, 1, 1, 4),
    (30, 1, 2, 2, 4),
    (2, 1, 2, 4),
)


def _below(data: memoryview, path: tuple[int, ...], where: str) -> Iterator[memoryview]:
    if not path:
        yield data
        return
    for item in wire.fields(data, where):
        if item.has(path[0]):
            yield from _below(item.data, path[1:], where)


def _objects(raw: bytes, where: str) -> Iterator[tuple[str, memoryview]]:
    for item in wire.fields(raw, where):
        if item.has(1):
            parts = list(wire.fields(item.data, where))
            name = b"".join(bytes(p.data) for p in parts if p.has(1)).decode("utf-8", "replace")
            yield from ((name, part.data) for part in parts if part.has(2))
