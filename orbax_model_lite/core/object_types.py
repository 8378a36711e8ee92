"""Logical types of the objects whose entries have no place for them: opaque functions and values.

They are in one record for the whole bundle, which nobody sees in memory; see `logical_types`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from orbax_model_lite._proto.bundle_info_pb2 import LogicalTypes, ObjectTypes
from orbax_model_lite.core import layout, logical_types, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import OpaqueFunction, PolymorphicFunction
from orbax_model_lite.core.graft import keep_unknown
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.value import ExternalValue, Object
from orbax_model_lite.errors import InvalidBundleError

Names: TypeAlias = Mapping[str, ObjectTypes.Variants]


def is_ours(data: Data | None) -> bool:
    """Whether a supplemental of the bundle is this record."""
    return data is not None and data.mime_type == layout.MIME_OBJECT_TYPES


def decode(raw: bytes) -> Names:
    """Returns the logical types by object.

    Raises:
      InvalidBundleError: If the record does not parse.
    """
    where = f"supplemental {layout.KEY_LOGICAL_TYPES!r}"
    return records.parsed(ObjectTypes(), raw, where).objects


def encode(objects: Mapping[str, Object], before: bytes = b"") -> Data | None:
    """Returns the record for some objects; None when none of them needs it.

    Args:
      objects: By name.
      before: The record that was read, whose unknown fields are kept.
    """
    record = ObjectTypes()
    for name, found in objects.items():
        variants = _variants(found)
        if not all(map(logical_types.is_empty, variants)):
            record.objects[name].types.extend(variants)
    if not record.objects:
        return None
    keep_unknown(ObjectTypes.FromString(before), record)
    return Data(
        content=record.SerializeToString(deterministic=True),
        mime_type=layout.MIME_OBJECT_TYPES,
        version=layout.SUPPLEMENTAL_VERSION,
    )


def named(found: Object, types: Sequence[LogicalTypes], where: str) -> Object:
    """Returns an object with its logical types put into its signature.

    Raises:
      InvalidBundleError: If the record does not fit the object.
    """
    if not types:
        return found
    match found:
        case PolymorphicFunction() if len(types) == len(found.functions):
            pairs = zip(found.functions, types, strict=True)
            functions = [_named(function, [names], where) for function, names in pairs]
            return replace(found, functions=tuple(functions))
        case OpaqueFunction() if len(types) == 1:
            return replace(found, signature=logical_types.decode(types[0], found.signature, where))
        case ExternalValue() if len(types) == 1:
            tree = Signature(inputs=None, outputs=found.type)
            return replace(found, type=logical_types.decode(types[0], tree, where).outputs)
    raise InvalidBundleError(
        f"{where}: expected logical types for an opaque function or a value; found "
        f"{len(types)} for a {type(found).__name__}; the bundle is damaged, save it again"
    )


def _named(function, types: Sequence[LogicalTypes], where: str):
    # A StableHLO function beside opaque ones keeps its own record.
    if logical_types.is_empty(types[0]):
        return function
    return named(function, types, where)


def _variants(found: Object) -> list[LogicalTypes]:
    match found:
        case PolymorphicFunction():
            return [_variants(f)[0] if _variants(f) else LogicalTypes() for f in found.functions]
        case OpaqueFunction():
            return [logical_types.encode(found.signature)]
        case ExternalValue():
            return [logical_types.encode(Signature(inputs=None, outputs=found.type))]
    return []
