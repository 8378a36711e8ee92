"""What this version does not know survives being read and written again."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator

import pytest
from google.protobuf import unknown_fields
from google.protobuf.message import Message

from orbax_model_lite._proto import jax_supplemental_pb2, manifest_pb2, type_pb2
from orbax_model_lite.core import manifest
from orbax_model_lite.core.files import read_payload
from orbax_model_lite.core.graft import keep_unknown, unknown_bytes
from orbax_model_lite.core.value import UnknownObject

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"
MODERN = sorted(p.parent for p in CORPUS.glob("*/model/orbax_model_version.txt"))
NEW_FIELD = 1999


def messages_in(proto: Message) -> Iterator[Message]:
    """Gives a message and all that are set inside it."""
    yield proto
    for field, value in proto.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key in sorted(value):
                    yield from messages_in(value[key])
        elif isinstance(value, Message):
            yield from messages_in(value)
        else:
            for item in value:
                yield from messages_in(item)


def add_unknown_fields(proto: Message) -> int:
    """Adds a field of another number and value to every message, and returns how many."""
    found = list(messages_in(proto))
    for count, message in enumerate(found, start=1):
        message.MergeFromString(_varint(NEW_FIELD << 3) + _varint(count))
    return len(found)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def rewritten(proto: manifest_pb2.Manifest, root: pathlib.Path) -> manifest_pb2.Manifest:
    contents = manifest.from_proto(proto, lambda data, where: read_payload(root, {}, data, where))
    return manifest.to_proto(
        contents.objects,
        contents.supplementals,
        device_assignment=contents.device_assignment,
        frequent_paths=contents.frequent_paths,
        origin=contents.origin,
    )


@pytest.mark.parametrize("root", MODERN, ids=lambda root: root.parent.name)
def test_unknown_fields_of_every_message_of_a_manifest_survive(root):
    proto = manifest_pb2.Manifest.FromString((root / "manifest.pb").read_bytes())
    assert add_unknown_fields(proto) > 5
    again = rewritten(proto, root)
    assert manifest.to_bytes(again) == manifest.to_bytes(proto)


@pytest.mark.parametrize("root", MODERN, ids=lambda root: root.parent.name)
def test_unknown_fields_survive_when_every_payload_moves(root):
    proto = manifest_pb2.Manifest.FromString((root / "manifest.pb").read_bytes())
    add_unknown_fields(proto)
    contents = manifest.from_proto(proto, lambda data, where: read_payload(root, {}, data, where))
    again = manifest.to_proto(
        contents.objects,
        contents.supplementals,
        device_assignment=contents.device_assignment,
        origin=contents.origin,
        place=lambda payload: payload.data.moved_to(payload.file_name),
    )
    # The record of a file's place exists only where there was one before.
    lost = sum(m.DESCRIPTOR.name == "FileSystemLocation" for m in messages_in(proto))
    count = sum(bool(unknown_bytes(m)) for m in messages_in(again))
    assert count >= sum(1 for _ in messages_in(proto)) - lost


def message_types() -> list[type[Message]]:
    files = (manifest_pb2.DESCRIPTOR, type_pb2.DESCRIPTOR)
    found = itertools.chain.from_iterable(f.message_types_by_name for f in files)
    modules = (manifest_pb2, type_pb2)
    return [getattr(m, name) for name in found for m in modules if hasattr(m, name)]


def test_the_corpus_and_the_objects_below_have_every_message_of_the_schema():
    seen: set[str] = set()
    for root in MODERN:
        proto = manifest_pb2.Manifest.FromString((root / "manifest.pb").read_bytes())
        seen |= {message.DESCRIPTOR.name for message in messages_in(proto)}
    seen |= {message.DESCRIPTOR.name for message in messages_in(rare_manifest())}
    wanted = {message.DESCRIPTOR.name for message in message_types()}
    assert wanted - seen == {"CompileOptionsProtoMap"}  # a payload, not part of a manifest


def rare_manifest() -> manifest_pb2.Manifest:
    """Returns a manifest with the messages that the corpus has none of."""
    proto = manifest_pb2.Manifest()
    proto.objects["t"].value.tuple.elements.append("v")
    proto.objects["n"].value.named_tuple.elements.add(name="a", value="v")
    value = proto.objects["v"].value.external
    value.data.file_system_location.string_path = "w/"
    value.type.string_type_pairs.elements.add(fst="k").snd.leaf.token_type.SetInParent()
    proto.objects["p"].poly_fn.SetInParent()
    return proto


def test_unknown_fields_of_rare_messages_survive(tmp_path):
    proto = rare_manifest()
    add_unknown_fields(proto)
    assert manifest.to_bytes(rewritten(proto, tmp_path)) == manifest.to_bytes(proto)


def field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def f32_function() -> manifest_pb2.TopLevelObject:
    path = CORPUS / "simple_f32" / "model" / "manifest.pb"
    return manifest_pb2.Manifest.FromString(path.read_bytes()).objects["f"]


UNKNOWN_CASES = {
    "object": lambda o: (o.ClearField("function"), o),
    "value": lambda o: (o.ClearField("function"), o.value),
    "body": lambda o: (o.function.body.ClearField("stable_hlo_body"), o.function.body),
    "type": lambda o: (o.function.signature.ClearField("input"), o.function.signature.input),
    "leaf": lambda o: (
        o.function.signature.output.leaf.ClearField("tensor_type"),
        o.function.signature.output.leaf,
    ),
}


@pytest.mark.parametrize("case", UNKNOWN_CASES)
def test_an_object_with_an_unknown_case_is_kept_byte_for_byte(case, tmp_path):
    proto = manifest_pb2.Manifest()
    proto.objects["f"].CopyFrom(f32_function())
    _, place = UNKNOWN_CASES[case](proto.objects["f"])
    place.MergeFromString(field(77, b"something newer"))
    contents = manifest.from_proto(proto, lambda data, where: b"")
    assert isinstance(contents.objects["f"], UnknownObject)
    entry = proto.objects["f"].SerializeToString(deterministic=True)
    assert contents.objects["f"].origin == entry
    assert manifest.to_bytes(rewritten(proto, tmp_path)) == manifest.to_bytes(proto)


@pytest.mark.parametrize("place", ["data", "location"])
def test_an_unknown_kind_of_payload_survives(place, tmp_path):
    proto = manifest_pb2.Manifest()
    data = proto.objects["v"].value.external.data
    if place == "location":
        data.file_system_location.SetInParent()
        data = data.file_system_location
    data.MergeFromString(field(77, b"something newer"))
    assert manifest.to_bytes(rewritten(proto, tmp_path)) == manifest.to_bytes(proto)


def test_an_unknown_kind_of_payload_goes_when_the_author_replaces_it():
    proto = manifest_pb2.UnstructuredData.FromString(field(77, b"something newer"))
    target = manifest_pb2.UnstructuredData(inlined_bytes=b"mine")
    assert keep_unknown(proto, target) == manifest_pb2.UnstructuredData(inlined_bytes=b"mine")


@pytest.mark.parametrize("name", ["visibility", "loader_type", "dtype"])
def test_unknown_enum_numbers_survive(name):
    proto = manifest_pb2.Manifest()
    entry = proto.objects["f"]
    entry.CopyFrom(f32_function())
    if name == "visibility":
        entry.function.MergeFromString(_varint(4 << 3) + _varint(9))
    elif name == "dtype":
        output = entry.function.signature.output.leaf.tensor_type
        output.MergeFromString(_varint(2 << 3) + _varint(61))
    else:
        entry.value.external.MergeFromString(_varint(3 << 3) + _varint(9))
    assert manifest.to_bytes(
        rewritten(proto, CORPUS / "simple_f32" / "model")
    ) == manifest.to_bytes(proto)


def test_a_known_enum_number_takes_the_place_of_an_unknown_one():
    source = manifest_pb2.Function.FromString(_varint(4 << 3) + _varint(9))
    target = manifest_pb2.Function(visibility="PUBLIC")
    assert keep_unknown(source, target).visibility == manifest_pb2.PUBLIC


def test_lists_of_other_lengths_keep_nothing_of_their_elements():
    source = type_pb2.Tuple(elements=[type_pb2.Type(), type_pb2.Type()])
    add_unknown_fields(source)
    target = type_pb2.Tuple(elements=[type_pb2.Type()])
    kept = [
        len(unknown_fields.UnknownFieldSet(m)) for m in messages_in(keep_unknown(source, target))
    ]
    assert kept == [1, 0]


def test_entries_of_a_map_are_matched_by_key():
    source, target = type_pb2.Dict(), type_pb2.Dict()
    for key in ("a", "gone"):
        source.string_to_type[key].none.SetInParent()
    for key in ("a", "new"):
        target.string_to_type[key].none.SetInParent()
    add_unknown_fields(source)
    keep_unknown(source, target)
    assert unknown_bytes(target.string_to_type["a"].none)
    assert not unknown_bytes(target.string_to_type["new"].none)
    assert set(target.string_to_type) == {"a", "new"}


def test_another_case_of_a_oneof_keeps_nothing_of_the_first():
    source = type_pb2.Type(tuple=type_pb2.Tuple())
    source.tuple.MergeFromString(field(NEW_FIELD, b"x"))
    target = keep_unknown(source, type_pb2.Type(list=type_pb2.List()))
    assert target == type_pb2.Type(list=type_pb2.List())


def test_unknown_fields_of_the_record_for_jax_survive_a_change_of_what_is_known():
    refinement = jax_supplemental_pb2.Function(name="f", nr_devices=1)
    refinement.disabled_checks.add().platform.SetInParent()
    add_unknown_fields(refinement)
    changed = jax_supplemental_pb2.Function(name="g", nr_devices=2)
    changed.disabled_checks.add().platform.SetInParent()
    keep_unknown(refinement, changed)
    assert [unknown_bytes(m) for m in messages_in(changed)] == [
        unknown_bytes(m) for m in messages_in(refinement)
    ]


def test_the_file_of_an_unchanged_record_stays_where_it_is():
    root = CORPUS / "symbolic_shapes" / "model"
    proto = manifest_pb2.Manifest.FromString((root / "manifest.pb").read_bytes())
    body = rewritten(proto, root).objects["f_bt"].function.body.stable_hlo_body
    place = body.supplemental_info["jax_specific_info"].file_system_location.string_path
    assert place == "f_bt_jax_specific_info_supplemental.pb"
