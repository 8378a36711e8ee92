"""Protobuf's wire format, one message level at a time, without a schema.

For manifests whose field numbers mean something else than today's schema says, so that parsing
with it would fail or give nonsense. Facts: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from orbax_model_lite.errors import InvalidBundleError

VARINT, FIXED64, LEN, START_GROUP, END_GROUP, FIXED32 = range(6)

_MAX_GROUP_DEPTH = 100


@final
@dataclass(frozen=True, slots=True)
class Field:
    """One field of one message.

    Attributes:
      number: From 1 on.
      wire_type: `VARINT`, `FIXED64`, `LEN`, `START_GROUP` (the whole group) or `FIXED32`.
      data: The content of a `LEN` field; empty for others.
      raw: Tag and value as they stand.
    """

    number: int
    wire_type: int
    data: memoryview
    raw: memoryview

    def has(self, number: int, wire_type: int = LEN) -> bool:
        """Whether this is field `number` in the form of `wire_type`."""
        return self.number == number and self.wire_type == wire_type


def fields(message: bytes | memoryview, where: str) -> Iterator[Field]:
    """Yields the fields of a message in the order in which they stand.

    Args:
      message: Serialized; nothing of it is copied.
      where: Beginning of a message, for example "bundle 'm.obm', manifest".

    Raises:
      InvalidBundleError: If the bytes are not a message; after the fields before the damage.
    """
    view = memoryview(message)
    position = 0
    try:
        while position < len(view):
            start = position
            tag, position = _varint(view, position)
            number, wire_type = tag >> 3, tag & 7
            begin, position = _value(view, position, number, wire_type, 0)
            data = view[begin:position] if wire_type == LEN else _NOTHING
            yield Field(number, wire_type, data, view[start:position])
    except _MalformedError as e:
        raise InvalidBundleError(
            f"{where}: expected protobuf fields; found damage at byte {position} of {len(view)} "
            f"({e}); copy or save it again"
        ) from e


def length_delimited(number: int, data: bytes | memoryview) -> bytes:
    """Returns a serialized field with this content: bytes, text or a message."""
    return b"".join((_encoded(number << 3 | LEN), _encoded(len(data)), data))


def varint(number: int, value: int) -> bytes:
    """Returns a serialized field with a number of zero or more."""
    return _encoded(number << 3 | VARINT) + _encoded(value)


def renumbered(field: Field, number: int) -> bytes:
    """Returns the same field under another number."""
    if field.wire_type == LEN:
        return length_delimited(number, field.data)
    # What follows the tag stays; a tag ends with the first byte that is below 128.
    end = next(i for i, byte in enumerate(field.raw) if byte < 0x80) + 1
    return _encoded(number << 3 | field.wire_type) + field.raw[end:]


_NOTHING = memoryview(b"")


class _MalformedError(ValueError):
    pass


def _value(
    view: memoryview, position: int, number: int, wire_type: int, depth: int
) -> tuple[int, int]:
    """Returns where the content of a field begins and ends."""
    if not 0 < number < 1 << 29:
        raise _MalformedError(f"field number {number}")
    begin = position
    match wire_type:
        case 0:
            end = _varint(view, position)[1]
        case 1:
            end = position + 8
        case 2:
            size, begin = _varint(view, position)
            end = begin + size
        case 3:
            end = _group_end(view, position, number, depth + 1)
        case 5:
            end = position + 4
        case _:
            raise _MalformedError(f"wire type {wire_type}")
    if end > len(view):
        raise _MalformedError(f"field {number} is cut off")
    return begin, end


def _group_end(view: memoryview, position: int, number: int, depth: int) -> int:
    if depth > _MAX_GROUP_DEPTH:
        raise _MalformedError("groups inside each other")
    while True:
        tag, position = _varint(view, position)
        if tag & 7 == END_GROUP:
            if tag >> 3 != number:
                raise _MalformedError(f"group {number} ends as {tag >> 3}")
            return position
        position = _value(view, position, tag >> 3, tag & 7, depth)[1]


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise _MalformedError("a number is cut off")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise _MalformedError("a number of more than ten bytes")


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
