"""Protobuf's wire format without a schema, against protobuf itself."""

from __future__ import annotations

import pytest
from google.protobuf import empty_pb2, unknown_fields
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import wire
from orbax_model_lite.errors import InvalidBundleError

numbers = st.integers(1, 2**29 - 1)
fields = st.one_of(
    st.builds(wire.varint, numbers, st.integers(0, 2**64 - 1)),
    st.builds(wire.length_delimited, numbers, st.binary(max_size=300)),
)
messages = st.lists(fields, max_size=6).map(b"".join)


@given(messages)
def test_the_fields_of_a_message_make_it_up(message):
    assert b"".join(field.raw for field in wire.fields(message, "m")) == message


@given(messages)
def test_fields_are_those_that_protobuf_sees(message):
    known = empty_pb2.Empty.FromString(message)
    seen = unknown_fields.UnknownFieldSet(known)
    found = list(wire.fields(message, "m"))
    assert [(f.number, f.wire_type) for f in found] == [(f.field_number, f.wire_type) for f in seen]
    contents = [bytes(f.data) for f in found if f.wire_type == wire.LEN]
    assert contents == [f.data for f in seen if f.wire_type == wire.LEN]


@given(messages, numbers)
def test_a_renumbered_field_has_the_same_value(message, number):
    for field in wire.fields(message, "m"):
        (again,) = wire.fields(wire.renumbered(field, number), "m")
        assert (again.number, again.wire_type) == (number, field.wire_type)
        (back,) = wire.fields(wire.renumbered(again, field.number), "m")
        assert back.raw == field.raw


@given(st.binary(max_size=60))
def test_bytes_are_refused_where_protobuf_refuses_them(message):
    try:
        list(wire.fields(message, "m"))
    except InvalidBundleError as e:
        # Some versions of protobuf let a field number of 0 pass.
        if "field number 0" not in str(e):
            with pytest.raises(DecodeError):
                empty_pb2.Empty.FromString(message)
    else:
        empty_pb2.Empty.FromString(message)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"\x0a\x05abc", "field 1 is cut off"),
        (b"\x08", "a number is cut off"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
        (b"\x09\x00", "field 1 is cut off"),
        (b"\x0d\x00", "field 1 is cut off"),
        (b"\x00\x00", "field number 0"),
        (b"\x0e", "wire type 6"),
        (b"\x0c", "wire type 4"),
        (b"\x0b", "cut off"),
        (b"\x0b\x14", "group 1 ends as 2"),
        (b"\x0b" * 1000, "groups inside each other"),
    ],
)
def test_damage_is_named_with_its_place(message, reason):
    with pytest.raises(InvalidBundleError, match=f"bundle 'm': .*damage at byte .*{reason}"):
        list(wire.fields(message, "bundle 'm'"))


@pytest.mark.parametrize(
    ("message", "wire_type"),
    [
        (b"\x09" + bytes(8), wire.FIXED64),
        (b"\x0d" + bytes(4), wire.FIXED32),
        (b"\x0b\x10\x05\x1b\x1c\x0c", wire.START_GROUP),
    ],
    ids=["fixed64", "fixed32", "group"],
)
def test_fields_of_rare_types_are_carried_whole(message, wire_type):
    (field,) = wire.fields(message, "m")
    assert (field.number, field.wire_type, bytes(field.raw)) == (1, wire_type, message)
    assert not field.has(1)


def test_nothing_is_read_beyond_a_field_that_was_asked_for():
    first = next(wire.fields(b"\x08\x01\xff", "m"))
    assert first.has(1, wire.VARINT)
