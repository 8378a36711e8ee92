"""Recorded inputs and outputs as pictures: PNG and JPEG as they are, arrays as small PNGs.

A stranger's picture is decoded by the browser, so only the two formats are let through, by their
first bytes, and only of a size that a browser decodes in no time.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final

import numpy as np

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_MOST_BYTES: Final = 1 << 20
_MOST_PIXELS: Final = 1 << 24
_LONGEST_SIDE: Final = 256  # of an array's picture; larger arrays are thinned out
_SHORTEST_SIDE: Final = 8
_CHANNELS: Final = (1, 3, 4)
# JPEG's markers that begin a frame and therefore hold its size.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_uri(payload: bytes) -> str | None:
    """Returns a PNG or JPEG as a data: URI; None for anything else, and for what is too large."""
    if len(payload) > _MOST_BYTES:
        return None
    if payload.startswith(_PNG):
        kind, size = "png", _png_size(payload)
    elif payload.startswith(_JPEG):
        kind, size = "jpeg", _jpeg_size(payload)
    else:
        return None
    if size is None or not 0 < size[0] * size[1] <= _MOST_PIXELS:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(payload).decode()}"


def array_uri(array: np.ndarray) -> str | None:
    """Returns an array as a picture; None if it is not shaped like one.

    Args:
      array: Of uint8 or a floating-point type: [height, width], or with 1, 3 or 4 channels as the
        last or the first dimension. Values in [0, 255], [0, 1] or [-1, 1] are taken as such; others
        are stretched from the smallest to the largest.
    """
    pixels = _pixels(array)
    if pixels is None:
        return None
    step = -(-max(pixels.shape[:2]) // _LONGEST_SIDE)
    return picture_uri(png(_as_bytes(pixels[::step, ::step])))


def png(pixels: np.ndarray) -> bytes:
    """Returns the PNG file of uint8 [height, width, channels] with 1, 3 or 4 channels.

    The format: https://www.w3.org/TR/png-3/
    """
    height, width, channels = pixels.shape
    color_type = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, width * channels)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _PNG + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _pixels(array: np.ndarray) -> np.ndarray | None:
    is_number = array.dtype == np.uint8 or array.dtype.kind == "f" or "float" in array.dtype.name
    if not is_number or array.ndim not in (2, 3):
        return None
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.shape[2] not in _CHANNELS:
        if array.shape[0] not in _CHANNELS:
            return None
        array = np.moveaxis(array, 0, 2)
    short, long = sorted(array.shape[:2])
    return array if short >= _SHORTEST_SIDE and long <= 4 * short else None


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    values = values.clip(-1e30, 1e30)  # so that no difference overflows
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= -1 and high <= 1:
        low, high = -1.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return ((values - low) * (255 / (high - low or 1))).round().astype(np.uint8)


def _png_size(payload: bytes) -> tuple[int, int] | None:
    if len(payload) < 24 or payload[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", payload[16:24])
    return width, height


def _jpeg_size(payload: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(payload) and payload[at] == 0xFF:
        marker, length = payload[at + 1], int.from_bytes(payload[at + 2 : at + 4])
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", payload[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None
