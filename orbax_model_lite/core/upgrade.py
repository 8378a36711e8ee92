"""A manifest of before 2025-09-05, rewritten field by field in today's numbers and shapes.

Works on wire data; `legacy` decides whether it is needed. Nothing is left out: what no longer has
a place (a device mesh) becomes a supplemental of the bundle.
"""

from __future__ import annotations

from orbax_model_lite.core import layout, wire
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

_SINGLE_KEYS = {
    layout.MIME_JAX_INFO: layout.KEY_JAX_INFO,
    layout.MIME_COMPILE_OPTIONS: layout.KEY_COMPILE_OPTIONS,
    layout.MIME_PIPELINES: layout.KEY_ORCHESTRATION,
    layout.MIME_SIMPLE_ORCHESTRATION: layout.KEY_ORCHESTRATION,
    layout.MIME_SAVED_MODEL: layout.KEY_SAVED_MODEL,
}
# The name of a single supplemental whose MIME type says nothing: that of its field.
_UNNAMED = "supplemental_info"
_PUBLIC = 1


def upgraded(raw: bytes, where: str, *, absent_is_public: bool) -> bytes:
    """Returns the manifest in today's layout.

    Args:
      raw: In the numbers of before 2025-09-05.
      where: Beginning of a message, for example "bundle 'm.obm', manifest".
      absent_is_public: Whether a function without visibility is public. Until 2025-06-30 authors
        could not choose, and the writers that wrote any visibility wrote public.

    Raises:
      InvalidBundleError: If the bytes are damaged.
      UnsupportedError: If a supplemental could be of two layouts.
    """
    parts: list[bytes | memoryview] = []
    mesh: list[memoryview] = []
    for item in wire.fields(raw, where):
        if item.has(1):
            parts.append(_object(item, where, absent_is_public=absent_is_public))
        elif item.has(2):
            parts.append(_global_supplemental(item, where))
        elif item.has(3):
            mesh.append(item.data)
        elif item.has(4):
            parts.append(wire.renumbered(item, 3))
        elif item.has(5):
            parts.append(wire.renumbered(item, 4))
        else:
            parts.append(item.raw)
    if mesh:
        parts.append(_device_mesh(b"".join(mesh)))
    return b"".join(parts)


def _object(entry: wire.Field, where: str, *, absent_is_public: bool) -> bytes:
    def function(data: memoryview) -> bytes:
        return _function(data, where, absent_is_public=absent_is_public)

    parts: list[bytes | memoryview] = []
    for item in wire.fields(entry.data, where):
        if not item.has(2):
            parts.append(item.raw)
            continue
        below: list[bytes | memoryview] = []
        for case in wire.fields(item.data, where):
            if case.has(1):
                below.append(wire.length_delimited(1, function(case.data)))
            elif case.has(30):
                variants = [
                    wire.length_delimited(1, function(v.data)) if v.has(1) else v.raw
                    for v in wire.fields(case.data, where)
                ]
                below.append(wire.length_delimited(3, b"".join(variants)))
            else:
                below.append(case.raw)
        parts.append(wire.length_delimited(2, b"".join(below)))
    return wire.length_delimited(1, b"".join(parts))


def _function(data: memoryview, where: str, *, absent_is_public: bool) -> bytes:
    parts: list[bytes | memoryview] = []
    has_visibility = False
    for item in wire.fields(data, where):
        if item.has(2):
            parts.append(wire.length_delimited(2, _body(item.data, where)))
        elif item.has(3, wire.VARINT):
            has_visibility = True
            parts.append(wire.renumbered(item, 4))
        elif item.has(4):
            parts.append(wire.renumbered(item, 5))
        elif item.has(5):
            parts.append(wire.renumbered(item, 3))
        else:
            parts.append(item.raw)
    if absent_is_public and not has_visibility:
        parts.append(wire.varint(4, _PUBLIC))
    return b"".join(parts)


def _body(data: memoryview, where: str) -> bytes:
    parts: list[bytes | memoryview] = []
    for item in wire.fields(data, where):
        if item.has(1):
            below = [
                _function_supplemental(part, where) if part.has(5) else part.raw
                for part in wire.fields(item.data, where)
            ]
            parts.append(wire.length_delimited(1, b"".join(below)))
        else:
            parts.append(item.raw)
    return b"".join(parts)


def _function_supplemental(item: wire.Field, where: str) -> bytes:
    """Returns map entries for a field that was, until 2025-05-12, a single payload."""
    numbers = {part.number for part in wire.fields(item.data, where)}
    if numbers == {1, 2}:
        return bytes(item.raw)
    if not numbers:
        return b""
    if numbers >= {3} or numbers & {4, 5} or (numbers == {1} and _is_location(item.data, where)):
        return _entry(5, _single_key(item.data, where, layout.KEY_JAX_INFO), item.data)
    raise _ambiguous(where, "a function's supplemental", numbers)


def _global_supplemental(item: wire.Field, where: str) -> bytes:
    """Returns map entries for a field that was, until 2025-04-30, one message with two cases."""
    parts = list(wire.fields(item.data, where))
    numbers = {part.number for part in parts}
    if numbers == {1, 2}:
        return bytes(item.raw)
    if not numbers:
        return b""
    if numbers == {1}:
        payload = b"".join(part.data for part in parts)
        return _entry(2, _single_key(memoryview(payload), where, _UNNAMED), payload)
    entries = [entry for part in parts if part.has(2) for entry in wire.fields(part.data, where)]
    if numbers == {2} and all(_is_map_entry(entry, where) for entry in entries):
        return b"".join(wire.renumbered(entry, 2) for entry in entries)
    raise _ambiguous(where, "the bundle's supplementals", numbers)


def _is_map_entry(entry: wire.Field, where: str) -> bool:
    return entry.has(1) and {part.number for part in wire.fields(entry.data, where)} == {1, 2}


def _is_location(payload: memoryview, where: str) -> bool:
    """Whether a payload of field 1 alone has a file location there, which a map key is not."""
    try:
        below = [p for item in wire.fields(payload, where) for p in wire.fields(item.data, where)]
    except InvalidBundleError:
        return False
    kinds = ((1, wire.LEN), (2, wire.VARINT), (3, wire.VARINT), (4, wire.VARINT))
    return all((part.number, part.wire_type) in kinds for part in below)


def _single_key(payload: memoryview, where: str, without_type: str) -> str:
    types = [item.data for item in wire.fields(payload, where) if item.has(4)]
    if not types:
        return without_type
    mime_type = layout.canonical_mime_type(bytes(types[-1]).decode("utf-8", "replace"))
    return _SINGLE_KEYS.get(mime_type, _UNNAMED)


def _device_mesh(content: bytes) -> bytes:
    payload = (
        wire.length_delimited(3, content),
        wire.length_delimited(4, layout.MIME_DEVICE_MESH.encode()),
        wire.length_delimited(5, layout.SUPPLEMENTAL_VERSION.encode()),
    )
    return _entry(2, layout.KEY_DEVICE_MESH, b"".join(payload))


def _entry(number: int, key: str, payload: bytes | memoryview) -> bytes:
    parts = (wire.length_delimited(1, key.encode()), wire.length_delimited(2, payload))
    return wire.length_delimited(number, b"".join(parts))


def _ambiguous(where: str, what: str, numbers: set[int]) -> UnsupportedError:
    listed = ", ".join(map(str, sorted(numbers)))
    return UnsupportedError(
        f"{where}: expected {what} in the shape of before or of after May 2025; found fields "
        f"{listed}, which could be either; save it again with the program that wrote it"
    )
