"""Pictures as numbers: which layouts of an input they fit, and what is never done to them."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest

from orbax_model_lite.errors import MissingDependencyError, SignatureMismatchError
from orbax_model_lite.runtime.calling.images import pixels

pytestmark = pytest.mark.frameworks

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOURS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def encoded(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "array", "made"),
    [
        ((3, 4), GRAY, GRAY),
        ((3, 4, 1), GRAY, GRAY[..., None]),
        (("h", "w", 1), GRAY, GRAY[..., None]),
        ((None, None, None), GRAY, GRAY[..., None]),
        ((3, 4, 3), COLOURS, COLOURS),
        (("h", "w", "c"), COLOURS, COLOURS),
        (("b", 3, 4, 3), COLOURS, COLOURS[None]),
        ((1, 3, 4, 1), GRAY, GRAY[None, ..., None]),
        (("b", 3, 28), np.zeros((3, 28), np.uint8), np.zeros((1, 3, 28), np.uint8)),
        ((3, 4, 3), GRAY, np.stack([GRAY] * 3, -1)),
    ],
    ids=str,
)
def test_a_picture_takes_the_form_of_the_input(shape, array, made, spec):
    found = pixels(spec(*shape), encoded(array), "input 'x'")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, made)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_every_usual_format_is_read(kind, spec):
    found = pixels(spec(3, 4), encoded(GRAY, kind), "input 'x'")
    np.testing.assert_array_equal(found, GRAY)


def test_a_jpeg_is_read(spec):
    assert pixels(spec("b", 3, 4, 3), encoded(COLOURS, "JPEG"), "input 'x'").shape == (1, 3, 4, 3)


def test_sixteen_bits_of_gray_stay_sixteen(spec):
    x = np.array([[0, 65535]], np.uint16)
    found = pixels(spec(1, 2, dtype="uint16"), encoded(x), "input 'x'")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, x)


def test_an_opaque_alpha_is_dropped_and_one_is_added_where_it_is_wanted(spec):
    opaque = np.concatenate([COLOURS, np.full((3, 4, 1), 255, np.uint8)], -1)
    np.testing.assert_array_equal(pixels(spec(3, 4, 3), encoded(opaque), "x"), COLOURS)
    np.testing.assert_array_equal(pixels(spec(3, 4, 4), encoded(COLOURS), "x"), opaque)


def test_gray_in_three_channels_is_gray(spec):
    found = pixels(spec(3, 4), encoded(np.stack([GRAY] * 3, -1)), "x")
    np.testing.assert_array_equal(found, GRAY)


def test_a_palette_is_resolved(spec):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(COLOURS).quantize(256).save(stream, "PNG")
    assert pixels(spec(3, 4, 3), stream.getvalue(), "x").shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("shape", "array", "found"),
    [
        ((3, 5), GRAY, "a picture of 3 x 4 (height x width); resize it first"),
        (("b", 28, 28, 1), GRAY, "a picture of 3 x 4 (height x width); resize it first"),
        ((3, 4), COLOURS, "a picture in colours; convert it first"),
        (
            (3, 4, 3),
            np.concatenate([COLOURS, COLOURS[..., :1]], -1),
            "a picture that is transparent in places; convert it first",
        ),
        ((2, 4), GRAY, "a picture of 3 x 4"),
        ((4,), GRAY, "taken for a picture only where the input is [height, width, channels]"),
        (("b", 3, 28, 28), GRAY, "taken for a picture only where the input is [height, width"),
        ((8, 3, 4, 1), GRAY, "taken for a picture only where the input is [height, width"),
    ],
    ids=str,
)
def test_nothing_is_resized_or_lost_in_silence(shape, array, found, spec):
    with pytest.raises(SignatureMismatchError) as caught:
        pixels(spec(*shape), encoded(array), "input 'x'")
    assert str(caught.value).startswith(f"input 'x': expected {spec(*shape)}; found ")
    assert found in str(caught.value)


def claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


HOSTILE = {
    "half a picture": claiming(50, 50),
    "no picture": b"#!/bin/sh\nexit 1\n",
    "nothing": b"",
    "a program in PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a bomb": claiming(60_000, 60_000),
    "a larger bomb": claiming(2**31 - 1, 2**31 - 1),
    "noise after the head": b"\x89PNG\r\n\x1a\n" + b"\xff" * 200,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_refused(name, spec):
    with pytest.raises(SignatureMismatchError, match="a file that is no picture"):
        pixels(spec("h", "w", 1), HOSTILE[name], "input 'x'")


def test_a_size_that_differs_is_told_before_anything_is_decoded(spec):
    with pytest.raises(SignatureMismatchError, match="a picture of 1000 x 1000"):
        pixels(spec(28, 28), claiming(1000, 1000), "input 'x'")


def test_without_pillow_the_line_that_installs_it_is_told(spec, monkeypatch):
    content = encoded(GRAY)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"needs pillow.*pip install pillow"):
        pixels(spec(3, 4), content, "input 'x'")
