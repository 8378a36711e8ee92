"""The manifest <-> objects, supplementals, devices and paths, in memory and without a framework.

from_proto(to_proto(x)) is x, and to_proto(from_proto(p)) is p, unknown fields included. Files are
read through the function that the caller gives, and placed by the one it gives when writing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from google.protobuf import unknown_fields

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout, lowerings, object_types
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.data_proto import data_from_proto, data_to_proto, empty_payload
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.function import OpaqueFunction, PolymorphicFunction, ShloFunction
from orbax_model_lite.core.function_proto import function_from_proto, function_to_proto
from orbax_model_lite.core.graft import keep_unknown, unknown_bytes
from orbax_model_lite.core.limits import ReadLimits
from orbax_model_lite.core.manifest_reading import Reading, objects_budget, type_nodes_budget
from orbax_model_lite.core.payload import Place, as_it_lies
from orbax_model_lite.core.value import (
    ExternalValue,
    NamedTupleValue,
    Object,
    TupleValue,
    UnknownObject,
)
from orbax_model_lite.core.value_proto import value_from_proto, value_to_proto
from orbax_model_lite.errors import (
    InvalidBundleError,
    InvalidModelError,
    ObmError,
    UnsupportedError,
)

OnError: TypeAlias = Callable[[ObmError], None]
"""Called with what is wrong with one object or supplemental; raises it, or goes on without it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a manifest says.

    Attributes:
      objects: By name, sorted.
      supplementals: Of the bundle as a whole, by name, sorted.
      device_assignment: Devices in the flat order of the mesh; None when the bundle has none.
      frequent_paths: Paths that ranges refer to by index.
      origin: The manifest as it was read, without objects and payloads; carries what this version
        does not know.
    """

    objects: Mapping[str, Object]
    supplementals: Mapping[str, Data]
    device_assignment: tuple[Device, ...] | None
    frequent_paths: tuple[str, ...]
    origin: bytes


def raise_it(error: ObmError) -> None:
    """Raises the error: the `OnError` of a reader that wants all or nothing."""
    raise error


def from_proto(
    proto: manifest_pb2.Manifest,
    read_payload: Callable[[Data, str], bytes],
    *,
    limits: ReadLimits | None = None,
    on_error: OnError = raise_it,
) -> Contents:
    """Returns what a manifest of today's layout says.

    Args:
      proto: The manifest; older layouts are made new by `legacy` before.
      read_payload: Returns the bytes of a payload; called for the few records that belong to the
        manifest itself. Its second argument is the beginning of a message.
      limits: Of what is read; None takes the defaults.
      on_error: What to do about a damaged entry; by default its error is raised.

    Raises:
      InvalidBundleError: If an entry is damaged or a limit is exceeded.
    """
    limits = limits or ReadLimits()
    reading = Reading(
        read_payload=read_payload,
        frequent_paths=tuple(proto.frequent_paths),
        objects=objects_budget(limits),
        type_nodes=type_nodes_budget(limits),
    )
    supplementals = _supplementals_from_proto(proto, on_error)
    objects: dict[str, Object] = {}
    types: object_types.Names = {}
    own = supplementals.get(layout.KEY_LOGICAL_TYPES)
    if own is not None and object_types.is_ours(own):
        with _collected(on_error):
            types = object_types.decode(
                read_payload(own, f"supplemental {layout.KEY_LOGICAL_TYPES!r}")
            )
        del supplementals[layout.KEY_LOGICAL_TYPES]
    for name in sorted(proto.objects):
        with _collected(on_error):
            found = _object_from_proto(proto.objects[name], name, reading)
            names = types[name].types if name in types else ()
            objects[name] = object_types.named(found, names, f"object {name!r}")
    forms = supplementals.get(layout.KEY_LOWERINGS)
    if forms is not None and lowerings.is_ours(forms):
        with _collected(on_error):
            raw = read_payload(forms, f"supplemental {layout.KEY_LOWERINGS!r}")
            objects = lowerings.attached(objects, raw)
        del supplementals[layout.KEY_LOWERINGS]
    return Contents(
        objects=objects,
        supplementals=supplementals,
        device_assignment=_devices_from_proto(proto),
        frequent_paths=reading.frequent_paths,
        origin=_origin(proto),
    )


def to_proto(
    objects: Mapping[str, Object],
    supplementals: Mapping[str, Data] | None = None,
    *,
    device_assignment: Sequence[Device] | None = None,
    frequent_paths: Sequence[str] = (),
    origin: bytes = b"",
    place: Place = as_it_lies,
) -> manifest_pb2.Manifest:
    """Returns the manifest of some objects.

    Args:
      objects: By name.
      supplementals: Of the bundle as a whole, by name; their places are settled.
      device_assignment: Devices in the flat order of the mesh.
      frequent_paths: Paths that ranges refer to by index.
      origin: `Contents.origin` of the manifest that this one replaces, if it does.
      place: Is called once for each payload of each function, in order of names, and returns where
        it is; the default leaves all where they lie.

    Raises:
      InvalidModelError: If the format cannot represent something.
    """
    before = manifest_pb2.Manifest.FromString(origin)
    proto = manifest_pb2.Manifest(frequent_paths=frequent_paths)
    objects, forms = lowerings.detached(objects)
    for name in sorted(objects):
        entry = _object_to_proto(objects[name], name, place, frequent_paths)
        proto.objects[name].CopyFrom(entry)
    own = {
        layout.KEY_LOGICAL_TYPES: object_types.encode(
            objects, _ours(before, layout.KEY_LOGICAL_TYPES, layout.MIME_OBJECT_TYPES)
        ),
        layout.KEY_LOWERINGS: lowerings.encode(
            forms, _ours(before, layout.KEY_LOWERINGS, layout.MIME_LOWERINGS)
        ),
    }
    for key, data in sorted(_all_supplementals(supplementals or {}, own).items()):
        proto.supplemental_info[key].CopyFrom(data_to_proto(data, frequent_paths))
    if device_assignment is not None:
        proto.device_assignment_by_coords.SetInParent()
    for device in device_assignment or ():
        added = proto.device_assignment_by_coords.devices.add(
            id=device.id, core_on_chip=device.core_on_chip
        )
        added.coords.extend(device.coords or ())
    return keep_unknown(before, proto)


def to_bytes(proto: manifest_pb2.Manifest) -> bytes:
    """Returns the content of manifest.pb; the same manifest gives the same bytes."""
    return proto.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _collected(on_error: OnError) -> Iterator[None]:
    try:
        yield
    except ObmError as e:
        on_error(e)


def _supplementals_from_proto(proto: manifest_pb2.Manifest, on_error: OnError) -> dict[str, Data]:
    found: dict[str, Data] = {}
    for key in sorted(proto.supplemental_info):
        with _collected(on_error):
            record = proto.supplemental_info[key]
            found[key] = data_from_proto(record, f"supplemental {key!r}", proto.frequent_paths)
    return found


def _object_from_proto(entry: manifest_pb2.TopLevelObject, name: str, reading: Reading) -> Object:
    try:
        match entry.WhichOneof("case"):
            case "function":
                where = f"function {name!r}"
                return function_from_proto(entry, stem=name, where=where, reading=reading)
            case "value":
                return value_from_proto(entry, where=f"value {name!r}", reading=reading)
            case "poly_fn":
                return _polymorphic_from_proto(entry, name, reading)
    except UnsupportedError:
        return UnknownObject(origin=entry.SerializeToString(deterministic=True))
    if len(unknown_fields.UnknownFieldSet(entry)):
        return UnknownObject(origin=entry.SerializeToString(deterministic=True))
    raise InvalidBundleError(
        f"object {name!r}: expected a function or a value; found nothing set; "
        "the manifest is damaged, save it again"
    )


def _polymorphic_from_proto(
    entry: manifest_pb2.TopLevelObject, name: str, reading: Reading
) -> PolymorphicFunction:
    functions = [
        function_from_proto(
            manifest_pb2.TopLevelObject(function=proto),
            stem=layout.concrete_stem(name, i),
            where=_variant(name, i),
            reading=reading,
        )
        for i, proto in enumerate(entry.poly_fn.concrete_functions)
    ]
    rest = manifest_pb2.TopLevelObject()
    rest.CopyFrom(entry)
    rest.poly_fn.ClearField("concrete_functions")
    origin = rest.SerializeToString(deterministic=True)
    return PolymorphicFunction(functions=tuple(functions), origin=origin)


def _object_to_proto(
    found: Object, name: str, place: Place, frequent_paths: Sequence[str]
) -> manifest_pb2.TopLevelObject:
    match found:
        case UnknownObject():
            return manifest_pb2.TopLevelObject.FromString(found.origin)
        case ExternalValue() | TupleValue() | NamedTupleValue():
            return value_to_proto(found, where=f"value {name!r}", frequent_paths=frequent_paths)
        case PolymorphicFunction():
            entry = manifest_pb2.TopLevelObject()
            entry.poly_fn.SetInParent()
            for i, function in enumerate(found.functions):
                concrete = function_to_proto(
                    function,
                    stem=layout.concrete_stem(name, i),
                    where=_variant(name, i),
                    place=place,
                    frequent_paths=frequent_paths,
                )
                entry.poly_fn.concrete_functions.append(concrete.function)
            return keep_unknown(manifest_pb2.TopLevelObject.FromString(found.origin), entry)
        case ShloFunction() | OpaqueFunction():
            where = f"function {name!r}"
            return function_to_proto(
                found, stem=name, where=where, place=place, frequent_paths=frequent_paths
            )
    raise InvalidModelError(
        f"object {name!r}: expected a function or a value of the format; found a "
        f"{type(found).__name__}; convert it first, for example with `jax2obm.convert`"
    )


def _variant(name: str, index: int) -> str:
    return f"function {name!r}, variant {index}"


def _ours(before: manifest_pb2.Manifest, key: str, mime_type: str) -> bytes:
    """Returns a record of ours in the manifest that is being replaced, b"" where there is none."""
    old = before.supplemental_info.get(key)
    return old.inlined_bytes if old is not None and old.mime_type == mime_type else b""


def _all_supplementals(
    given: Mapping[str, Data], own: Mapping[str, Data | None]
) -> dict[str, Data]:
    """Returns the given supplementals with those records of ours that are needed."""
    needed = {key: data for key, data in own.items() if data is not None}
    for key in needed.keys() & given.keys():
        raise InvalidModelError(
            f"supplemental {key!r}: expected a name that the format does not use itself; found it "
            "among the given ones; rename or remove it"
        )
    return {**given, **needed}


def _devices_from_proto(proto: manifest_pb2.Manifest) -> tuple[Device, ...] | None:
    if not proto.HasField("device_assignment_by_coords"):
        return None
    return tuple(
        Device(
            id=device.id,
            coords=tuple(device.coords) or None,
            core_on_chip=device.core_on_chip if device.HasField("core_on_chip") else None,
        )
        for device in proto.device_assignment_by_coords.devices
    )


def _origin(proto: manifest_pb2.Manifest) -> bytes:
    rest = manifest_pb2.Manifest(frequent_paths=proto.frequent_paths)
    rest.MergeFromString(unknown_bytes(proto))
    if proto.HasField("device_assignment_by_coords"):
        rest.device_assignment_by_coords.CopyFrom(proto.device_assignment_by_coords)
    for key, data in proto.supplemental_info.items():
        rest.supplemental_info[key].CopyFrom(data)
        if key not in (layout.KEY_LOGICAL_TYPES, layout.KEY_LOWERINGS):
            empty_payload(rest.supplemental_info[key])
    return rest.SerializeToString(deterministic=True)
