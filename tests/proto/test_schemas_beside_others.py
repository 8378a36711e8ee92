"""The schemas in a process with TensorFlow's and Orbax's, and compared with TensorFlow's own."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor as descriptors
from google.protobuf import descriptor_pool

from orbax_model_lite._proto import saved_model_pb2, sharding_pb2

pytestmark = pytest.mark.frameworks

LOAD_ALL = """
    import importlib, pathlib, sys
    def ours():
        for path in sorted(pathlib.Path(sys.argv[2]).glob("*_pb2.py")):
            importlib.import_module("orbax_model_lite._proto." + path.stem)
    def others():
        import tensorflow
        from tensorflow.compiler.xla import xla_data_pb2
        from tensorflow.core.protobuf import saved_model_pb2
        import orbax.checkpoint
    for load in (ours, others) if sys.argv[1] == "ours first" else (others, ours):
        load()
    from google.protobuf import descriptor_pool
    pool = descriptor_pool.Default()
    for name in ("xla.OpSharding", "orbax_model_lite.sharding.OpSharding"):
        print(pool.FindMessageTypeByName(name).full_name)
"""


@pytest.mark.parametrize("order", ["ours first", "others first"])
def test_they_load_beside_those_of_tensorflow_and_orbax(order, fresh_python, pytestconfig):
    printed = fresh_python(LOAD_ALL, order, pytestconfig.rootpath / "orbax_model_lite/_proto")
    assert printed.split() == ["xla.OpSharding", "orbax_model_lite.sharding.OpSharding"]


def messages(file) -> list[descriptors.Descriptor]:
    """Returns all message descriptors of `file`, nested ones included."""
    found, todo = [], list(file.message_types_by_name.values())
    while todo:
        message = todo.pop()
        found.append(message)
        todo.extend(message.nested_types)
    return sorted(found, key=lambda message: message.full_name)


def shape_of(field: descriptors.FieldDescriptor) -> tuple[object, ...]:
    """Returns what decides how a field lies on the wire."""
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else None
    return (field.number, field.type, field.is_repeated, kind.name if kind else None, oneof)


THEIR_NAMES = {
    "ObjectReference": "TrackableObjectGraph.TrackableObject.ObjectReference",
    "SlotVariableReference": "TrackableObjectGraph.TrackableObject.SlotVariableReference",
}


def theirs(message: descriptors.Descriptor, package: str) -> descriptors.Descriptor:
    """Returns the descriptor that `message` of ours is a copy of."""
    # These register every message that the schemas restate.
    import tensorflow as tf  # noqa: F401
    from tensorflow.compiler.xla import xla_data_pb2  # noqa: F401
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: F401

    name = message.full_name.removeprefix(message.file.package + ".")
    return descriptor_pool.Default().FindMessageTypeByName(
        f"{package}.{THEIR_NAMES.get(name, name)}"
    )


COPIES = [
    pytest.param(message, package, id=message.full_name.removeprefix("orbax_model_lite."))
    for package, module in [("tensorflow", saved_model_pb2), ("xla", sharding_pb2)]
    for message in messages(module.DESCRIPTOR)
]


@pytest.mark.parametrize(("message", "package"), COPIES)
def test_every_field_lies_on_the_wire_as_in_tensorflow(message, package):
    original = theirs(message, package)
    ours = {field.name: shape_of(field) for field in message.fields}
    assert ours == {name: shape_of(original.fields_by_name[name]) for name in ours}


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        pytest.param(sharding_pb2.OpSharding.Type.DESCRIPTOR, "OpSharding.Type", id="type"),
        pytest.param(
            sharding_pb2.OpSharding.ShardGroupType.DESCRIPTOR,
            "OpSharding.ShardGroupType",
            id="group",
        ),
    ],
)
def test_sharding_enums_have_the_values_of_xla(ours, name):
    theirs(sharding_pb2.OpSharding.DESCRIPTOR, "xla")
    original = descriptor_pool.Default().FindEnumTypeByName(f"xla.{name}")
    assert {v.name: v.number for v in ours.values} == {v.name: v.number for v in original.values}


def test_dtypes_have_the_values_of_tensorflow():
    from tensorflow.core.framework import types_pb2

    original = {name: number for name, number in types_pb2.DataType.items() if number < 100}
    assert dict(saved_model_pb2.DataType.items()) == original
