"""Carries what this version does not know from a message that was read to one being written.

Generic over protobuf messages and their public API; knows nothing of bundles. With it a newer
writer's fields, oneof cases and enum values survive a read-modify-write by an older reader.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import unknown_fields
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
# Told by the value: protobuf 5 and 7 share no attribute of the descriptor that says "repeated".
_SINGULAR = (Message, str, bytes, int, float)


def keep_unknown(source: M, target: M) -> M:
    """Adds to `target`, freshly built, everything in `source` that the schema does not know.

    Places correspond when they are the same field, and the same case of a oneof; elements of a
    repeated field by index when there are equally many, entries of a map by key. An unknown enum
    number goes where the target has 0. A message that the target lacks is copied when the source
    has nothing known in it. Where the target sets a oneof that the source left unset, the unknown
    fields beside it are dropped, because one of them may have been the case that is replaced.

    Args:
      source: What was read.
      target: What is being written; changed in place. Same type as `source`.

    Returns:
      `target`.
    """
    if _is_same(source, target):
        return target
    if not _fills_a_oneof(source, target):
        target.MergeFromString(unknown_bytes(source))
    for field, value in source.ListFields():
        _keep_in_field(field, value, target)
    return target


def unknown_bytes(proto: Message) -> bytes:
    """Returns the unknown fields of one message, not of those inside it, as wire data."""
    if not len(unknown_fields.UnknownFieldSet(proto)):
        return b""
    copy = type(proto)()
    copy.CopyFrom(proto)
    for field, _ in proto.ListFields():
        copy.ClearField(field.name)
    return copy.SerializeToString(deterministic=True)


def _is_same(source: Message, target: Message) -> bool:
    """Whether two messages have the same bytes, unknown fields included; most pairs do."""
    if source.ByteSize() != target.ByteSize():
        return False
    return source.SerializeToString(deterministic=True) == target.SerializeToString(
        deterministic=True
    )


def _fills_a_oneof(source: Message, target: Message) -> bool:
    return any(
        target.WhichOneof(name) is not None and source.WhichOneof(name) is None
        for name, oneof in source.DESCRIPTOR.oneofs_by_name.items()
        # `optional` fields are oneofs of their own, named with an underscore.
        if not name.startswith("_") or len(oneof.fields) > 1
    )


def _keep_in_field(field: FieldDescriptor, value: Any, target: Message) -> None:
    name = field.name
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        _keep_in_map(entry.fields_by_name["value"], value, getattr(target, name))
    elif not isinstance(value, _SINGULAR):
        _keep_in_repeated(field, value, getattr(target, name))
    elif isinstance(value, Message):
        if target.HasField(name):
            keep_unknown(value, getattr(target, name))
        elif not value.ListFields() and _is_free(field, target):
            getattr(target, name).CopyFrom(value)
    elif _is_unknown_number(field, value) and getattr(target, name) == 0:
        setattr(target, name, value)


def _keep_in_map(field: FieldDescriptor, source: Any, target: Any) -> None:
    for key in source:
        if key not in target:
            continue
        if field.message_type is not None:
            keep_unknown(source[key], target[key])
        elif _is_unknown_number(field, source[key]) and target[key] == 0:
            target[key] = source[key]


def _keep_in_repeated(field: FieldDescriptor, source: Any, target: Any) -> None:
    if len(source) != len(target):
        return
    for i, value in enumerate(source):
        if field.message_type is not None:
            keep_unknown(value, target[i])
        elif _is_unknown_number(field, value) and target[i] == 0:
            target[i] = value


def _is_free(field: FieldDescriptor, target: Message) -> bool:
    oneof = field.containing_oneof
    return oneof is None or target.WhichOneof(oneof.name) is None


def _is_unknown_number(field: FieldDescriptor, value: Any) -> bool:
    return field.enum_type is not None and value not in field.enum_type.values_by_number
