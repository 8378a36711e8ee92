"""The manifest as text or JSON values, in today's layout, with long payloads cut short."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.message import Message

from orbax_model_lite.core import manifest
from orbax_model_lite.core.bundle import Bundle

_MOST_INLINE_BYTES = 1024


def manifest_text(bundle: Bundle) -> str:
    """Returns the manifest in protobuf's text format.

    A payload of more than 1 KiB stands as its size and SHA-256. Older layouts are shown as they
    would be written today.
    """
    return text_format.MessageToString(_shortened(bundle), as_utf8=True)


def manifest_values(bundle: Bundle) -> Any:
    """Returns the manifest as JSON values, shortened as `manifest_text` does."""
    return json_format.MessageToDict(_shortened(bundle), preserving_proto_field_name=True)


def _shortened(bundle: Bundle) -> Message:
    proto = manifest.to_proto(
        bundle.objects,
        bundle.supplementals,
        device_assignment=bundle.device_assignment,
        frequent_paths=bundle.frequent_paths,
        origin=bundle.origin,
    )
    for data in list(_payloads(proto)):
        content = data.inlined_bytes
        if len(content) > _MOST_INLINE_BYTES:
            digest = hashlib.sha256(content).hexdigest()
            data.inlined_string = f"<{len(content)} bytes, SHA-256 {digest}>"
    return proto


def _payloads(message: Message) -> Iterator[Any]:
    stack = [message]
    while stack:
        node = stack.pop()
        if node.DESCRIPTOR.name == "UnstructuredData":
            yield node
            continue
        for field, value in node.ListFields():
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                if field.message_type.fields_by_name["value"].message_type is not None:
                    stack.extend(value.values())
            elif isinstance(value, Message):
                stack.append(value)
            else:
                stack.extend(value)
