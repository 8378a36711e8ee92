"""Small protobuf records of our own: message -> payload and back, with one error for damage."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data
from orbax_model_lite.errors import InvalidBundleError

_M = TypeVar("_M", bound=Message)


def to_data(message: Message, mime_type: str) -> Data:
    """Returns a record as a payload; equal records give equal bytes."""
    return Data(
        content=message.SerializeToString(deterministic=True),
        mime_type=mime_type,
        version=layout.SUPPLEMENTAL_VERSION,
    )


def parsed(message: _M, payload: bytes, where: str) -> _M:
    """Returns `message`, filled with what a payload holds.

    Args:
      message: An empty message of the record's type.
      payload: Its serialized form.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If the bytes do not parse.
    """
    try:
        message.ParseFromString(payload)
    except DecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected a record of type {type(message).__name__}; found {len(payload)} "
            "bytes that do not parse; the bundle is damaged, copy or save it again"
        ) from e
    return message
