"""Values <-> their entries in the manifest: external ones, tuples and named tuples of objects."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import unknown_fields

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core.data_proto import data_from_proto, data_to_proto, empty_payload
from orbax_model_lite.core.function_proto import require_unrefined
from orbax_model_lite.core.graft import keep_unknown
from orbax_model_lite.core.manifest_reading import Reading
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.signature_proto import tree_from_proto, tree_to_proto
from orbax_model_lite.core.value import (
    ExternalValue,
    LoaderType,
    NamedTupleValue,
    TupleValue,
    Value,
)
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError


def value_from_proto(entry: manifest_pb2.TopLevelObject, *, where: str, reading: Reading) -> Value:
    """Returns the value that an entry describes.

    Args:
      entry: With its `value` set.
      where: Beginning of a message, for example "value 'w'".
      reading: The limits.

    Raises:
      InvalidBundleError: If it is damaged.
      UnsupportedError: If it, or a node of its type, is of an unknown kind.
    """
    reading.objects.spend(where)
    proto = entry.value
    match proto.WhichOneof("case"):
        case "external":
            return _external_from_proto(entry, where, reading)
        case "tuple":
            origin = entry.SerializeToString(deterministic=True)
            return TupleValue(elements=tuple(proto.tuple.elements), origin=origin)
        case "named_tuple":
            origin = entry.SerializeToString(deterministic=True)
            pairs = tuple([(pair.name, pair.value) for pair in proto.named_tuple.elements])
            return NamedTupleValue(elements=pairs, origin=origin)
    if len(unknown_fields.UnknownFieldSet(proto)):
        raise UnsupportedError(
            f"{where}: expected an external value or a tuple; found a kind that this version does "
            "not know; upgrade orbax_model_lite"
        )
    raise InvalidBundleError(
        f"{where}: expected a value; found nothing set; the manifest is damaged, save it again"
    )


def value_to_proto(
    value: Value, *, where: str, frequent_paths: Sequence[str]
) -> manifest_pb2.TopLevelObject:
    """Returns the entry of a value; what it was read from and is unknown to us is kept.

    Raises:
      InvalidModelError: If the format cannot represent its type.
    """
    entry = manifest_pb2.TopLevelObject()
    origin = manifest_pb2.TopLevelObject.FromString(value.origin)
    match value:
        case ExternalValue():
            proto = entry.value.external
            loader = manifest_pb2.LoaderType.Name(value.loader_type)
            data = data_to_proto(value.data, frequent_paths)
            proto.CopyFrom(manifest_pb2.ExternalValue(loader_type=loader))
            if data.ByteSize():
                proto.data.CopyFrom(data)
            if value.type is not None:
                require_unrefined(Signature(inputs=None, outputs=value.type), where)
                proto.type.CopyFrom(tree_to_proto(value.type, f"{where}, type"))
            elif origin.value.external.type.HasField("none"):
                proto.type.none.SetInParent()
        case TupleValue():
            entry.value.tuple.elements.extend(value.elements)
            entry.value.tuple.SetInParent()
        case NamedTupleValue():
            entry.value.named_tuple.SetInParent()
            for name, target in value.elements:
                entry.value.named_tuple.elements.add(name=name, value=target)
    return keep_unknown(origin, entry)


def _external_from_proto(
    entry: manifest_pb2.TopLevelObject, where: str, reading: Reading
) -> ExternalValue:
    proto = entry.value.external
    tree = None
    if proto.HasField("type"):
        tree = tree_from_proto(proto.type, f"{where}, type", reading.type_nodes)
    known = {loader.value for loader in LoaderType}
    return ExternalValue(
        data=data_from_proto(proto.data, where, reading.frequent_paths),
        type=tree,
        loader_type=LoaderType(proto.loader_type if proto.loader_type in known else 0),
        origin=_origin(entry),
    )


def _origin(entry: manifest_pb2.TopLevelObject) -> bytes:
    """Returns an entry as it was read but without a payload, which the value holds."""
    copy = manifest_pb2.TopLevelObject()
    copy.CopyFrom(entry)
    empty_payload(copy.value.external.data)
    return copy.SerializeToString(deterministic=True)
