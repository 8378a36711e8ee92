"""Functions <-> their entries in the manifest: StableHLO and opaque ones.

What the manifest keeps in supplementals of its own (`jax_info`, `logical_types`) is taken from and
put into the signature here, so that nobody else sees those records.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from google.protobuf import unknown_fields

from orbax_model_lite._proto import bundle_info_pb2, manifest_pb2
from orbax_model_lite.core import jax_info, layout, logical_types
from orbax_model_lite.core.data import Data, FunctionSupplemental
from orbax_model_lite.core.data_proto import data_from_proto, data_to_proto, empty_payload
from orbax_model_lite.core.function import (
    ConcreteFunction,
    JaxInfo,
    OpaqueFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.graft import keep_unknown
from orbax_model_lite.core.manifest_reading import Reading
from orbax_model_lite.core.payload import Payload, Place
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.signature_proto import signature_from_proto, signature_to_proto
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError

_OWN_KEYS = (layout.KEY_JAX_INFO, layout.KEY_LOGICAL_TYPES)


def function_from_proto(
    entry: manifest_pb2.TopLevelObject, *, stem: str, where: str, reading: Reading
) -> ConcreteFunction:
    """Returns the function that an entry describes.

    Args:
      entry: With its `function` set.
      stem: Of the names of its files, see `layout.concrete_stem`.
      where: Beginning of a message, for example "function 'f'".
      reading: How to get at the records in supplementals.

    Raises:
      InvalidBundleError: If it is damaged, or one of the records is.
      UnsupportedError: If its body, or a node of its signature, is of an unknown kind.
    """
    reading.objects.spend(where)
    proto = entry.function
    signature = signature_from_proto(proto.signature, where, reading.type_nodes)
    common = {
        "data_names": tuple(proto.data_names),
        "visibility": _visibility(proto.visibility),
        "gradient_function_name": (
            proto.gradient_function_name if proto.HasField("gradient_function_name") else None
        ),
        "origin": _origin(entry),
    }
    match proto.body.WhichOneof("case"):
        case "stable_hlo_body":
            body = proto.body.stable_hlo_body
            return _shlo_from_proto(
                body, signature, common, stem=stem, where=where, reading=reading
            )
        case "other":
            data = data_from_proto(proto.body.other, where, reading.frequent_paths)
            extension = _extension(data, stem)
            return OpaqueFunction(signature=signature, body=data, extension=extension, **common)
    if len(unknown_fields.UnknownFieldSet(proto.body)):
        raise UnsupportedError(
            f"{where}: expected a StableHLO or opaque body; found a kind that this version does "
            "not know; upgrade orbax_model_lite"
        )
    raise InvalidBundleError(
        f"{where}: expected a body; found none; the manifest is damaged, save it again"
    )


def function_to_proto(
    function: ConcreteFunction,
    *,
    stem: str,
    where: str,
    place: Place,
    frequent_paths: Sequence[str],
) -> manifest_pb2.TopLevelObject:
    """Returns the entry of a function; what it was read from and is unknown to us is kept.

    Args:
      function: The function.
      stem: Of the names of its files.
      where: Beginning of a message.
      place: Is asked where each payload shall be.
      frequent_paths: The manifest's table of paths.

    Raises:
      InvalidModelError: If the format cannot represent it.
    """
    proto = manifest_pb2.Function(
        signature=signature_to_proto(function.signature, where),
        data_names=function.data_names,
        visibility=manifest_pb2.Visibility.Name(function.visibility),
        gradient_function_name=function.gradient_function_name,
    )
    entry = manifest_pb2.TopLevelObject(function=proto)
    body = entry.function.body
    origin = manifest_pb2.TopLevelObject.FromString(function.origin)
    if isinstance(function, ShloFunction):
        extension = layout.SHLO_EXTENSION
        payload = Payload(stem=stem, key=None, data=function.module, extension=extension)
        further = _supplementals(function, origin, stem, where, frequent_paths)
        placed = {p.key: data_to_proto(place(p), frequent_paths) for p in (payload, *further)}
        body.stable_hlo_body.CopyFrom(_shlo_to_proto(function, placed))
    else:
        require_unrefined(function.signature, where)
        extension = function.extension
        payload = Payload(stem=stem, key=None, data=function.body, extension=extension)
        body.other.CopyFrom(data_to_proto(place(payload), frequent_paths))
    return keep_unknown(origin, entry)


def require_unrefined(signature: Signature, where: str) -> None:
    """Checks that a signature without `jax_specific_info` needs none.

    Raises:
      InvalidModelError: If a leaf has a symbolic dimension or is float0.
    """
    for side, tree in (("input", signature.inputs), ("output", signature.outputs)):
        for path, leaf in flatten_with_path(tree):
            if jax_info.is_refined(leaf):
                raise InvalidModelError(
                    f"{where}, {side} {format_path(path)!r}: expected sizes or unknown dimensions, "
                    f"because only StableHLO functions record symbolic ones and float0; found "
                    f"{leaf}; put None for the dimension"
                )


def _shlo_from_proto(
    body: manifest_pb2.StableHloFunctionBody,
    signature: Signature,
    common: dict,
    *,
    stem: str,
    where: str,
    reading: Reading,
) -> ShloFunction:
    info: JaxInfo | None = None
    supplementals: dict[str, FunctionSupplemental] = {}
    for key in sorted(body.supplemental_info):
        place = f"{where}, supplemental {key!r}"
        data = data_from_proto(body.supplemental_info[key], place, reading.frequent_paths)
        match key, _known_mime_type(data, key):
            case layout.KEY_JAX_INFO, layout.MIME_JAX_INFO:
                raw = reading.read_payload(data, place)
                info, signature = jax_info.decode(raw, signature, where)
            case layout.KEY_LOGICAL_TYPES, layout.MIME_LOGICAL_TYPES:
                names = logical_types.parse(reading.read_payload(data, place), place)
                signature = logical_types.decode(names, signature, where)
            case _:
                extension = _extension(data, stem, key)
                supplementals[key] = FunctionSupplemental(data=data, extension=extension)
    return ShloFunction(
        signature=signature,
        module=data_from_proto(body.stable_hlo, f"{where}, module", reading.frequent_paths),
        calling_convention_version=body.calling_convention_version,
        platforms=tuple(body.lowering_platforms),
        kept_inputs=tuple(body.module_kept_var_idx),
        jax=info,
        supplementals=supplementals,
        **common,
    )


def _shlo_to_proto(
    function: ShloFunction, placed: Mapping[str | None, manifest_pb2.UnstructuredData]
) -> manifest_pb2.StableHloFunctionBody:
    """Returns a body; `placed` has the records of its payloads by key, the module's under None."""
    module = placed[None]
    return manifest_pb2.StableHloFunctionBody(
        stable_hlo=module if module.ByteSize() else None,
        calling_convention_version=function.calling_convention_version,
        lowering_platforms=function.platforms,
        module_kept_var_idx=function.kept_inputs,
        supplemental_info={key: data for key, data in placed.items() if key is not None},
    )


def _supplementals(
    function: ShloFunction,
    origin: manifest_pb2.TopLevelObject,
    stem: str,
    where: str,
    frequent_paths: Sequence[str],
) -> list[Payload]:
    """Returns the payloads of all supplementals, those of our own records included."""
    before = origin.function.body.stable_hlo_body.supplemental_info
    found: dict[str, Payload] = {
        key: Payload(stem=stem, key=key, data=s.data, extension=s.extension)
        for key, s in function.supplementals.items()
    }
    own = []
    raw = jax_info.encode(function.jax, function.signature, where)
    if raw is not None:
        unchanged = function.jax is not None and raw == function.jax.origin
        old = before.get(layout.KEY_JAX_INFO)
        own.append(_jax_payload(raw, old, stem, frequent_paths, unchanged=unchanged))
    names = logical_types.encode(function.signature)
    if not logical_types.is_empty(names):
        own.append(_logical_payload(names, before, stem))
    for payload in own:
        if payload.key in found:
            raise InvalidModelError(
                f"{where}, supplemental {payload.key!r}: expected a name that the format does not "
                "use itself; found a record beside the one that is made from the function; rename "
                "or remove it"
            )
        found[payload.key or ""] = payload
    return [found[key] for key in sorted(found)]


def _jax_payload(
    raw: bytes,
    old: manifest_pb2.UnstructuredData | None,
    stem: str,
    frequent_paths: Sequence[str],
    *,
    unchanged: bool,
) -> Payload:
    data = Data(content=raw, mime_type=layout.MIME_JAX_INFO, version=layout.SUPPLEMENTAL_VERSION)
    stored, extension = None, layout.PROTO_EXTENSION
    if unchanged and old is not None:
        with contextlib.suppress(InvalidBundleError):  # the table of paths is another one now
            stored = data_from_proto(old, stem, frequent_paths)
        if stored is not None and stored.file is None:
            stored = data = replace(stored, content=raw)
    return Payload(
        stem=stem, key=layout.KEY_JAX_INFO, data=data, extension=extension, stored=stored
    )


def _logical_payload(names: bundle_info_pb2.LogicalTypes, before, stem: str) -> Payload:
    old = before.get(layout.KEY_LOGICAL_TYPES)
    if old is not None:
        keep_unknown(logical_types.parse(old.inlined_bytes, layout.KEY_LOGICAL_TYPES), names)
    data = Data(
        content=names.SerializeToString(deterministic=True),
        mime_type=layout.MIME_LOGICAL_TYPES,
        version=layout.SUPPLEMENTAL_VERSION,
    )
    return Payload(stem=stem, key=layout.KEY_LOGICAL_TYPES, data=data, extension=None)


def _known_mime_type(data: Data, key: str) -> str:
    """Returns the canonical MIME type; one of our keys without a type has the usual one."""
    if not data.mime_type and key == layout.KEY_JAX_INFO:
        return layout.MIME_JAX_INFO
    return layout.canonical_mime_type(data.mime_type)


def _extension(data: Data, stem: str, key: str | None = None) -> str | None:
    """Returns the extension of a payload's file as an author would have asked for it."""
    if data.file is None:
        return None
    bare = stem if key is None else layout.supplemental_file(stem, key, "")
    if data.file.path == bare:
        return ""
    return pathlib.PurePosixPath(data.file.path).suffix.removeprefix(".")


def _visibility(number: int) -> Visibility:
    known = {v.value for v in Visibility}
    return Visibility(number) if number in known else Visibility.PRIVATE


def _origin(entry: manifest_pb2.TopLevelObject) -> bytes:
    """Returns an entry as it was read but without the payloads, which the function holds."""
    copy = manifest_pb2.TopLevelObject()
    copy.CopyFrom(entry)
    body = copy.function.body
    places = [body.other] if body.HasField("other") else []
    if body.HasField("stable_hlo_body"):
        shlo = body.stable_hlo_body
        places = [d for key, d in shlo.supplemental_info.items() if key not in _OWN_KEYS]
        places.append(shlo.stable_hlo)
    for data in places:
        empty_payload(data)
    return copy.SerializeToString(deterministic=True)
