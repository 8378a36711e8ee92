"""Pictures: which bytes and arrays are shown as one, and that it says what the array says."""

from __future__ import annotations

import base64
import io

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from orbax_model_lite.inspection.page.images import array_uri, picture_uri, png


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def decoded(uri: str | None) -> np.ndarray:
    assert uri is not None
    head, _, content = uri.partition(",")
    assert head in {"data:image/png;base64", "data:image/jpeg;base64"}
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_another_reader_of_png_sees_the_same_pixels(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, channels), np.uint8)
    read = np.asarray(Image.open(io.BytesIO(png(pixels))))
    assert np.array_equal(read.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_shown_with_its_own_bytes(kind):
    payload = encoded(Image.new("RGB", (20, 10), "red"), kind)
    uri = picture_uri(payload)
    assert uri is not None
    assert base64.b64decode(uri.partition(",")[2]) == payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"GIF89a" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"no header of a picture here",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\xff\xd8\xff" + bytes(100),
    ],
    ids=["nothing", "gif", "svg", "a beginning", "no header", "jpeg's beginning", "no frame"],
)
def test_other_bytes_are_no_picture(payload):
    assert picture_uri(payload) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_is_small_on_disk_and_huge_in_memory_is_not_shown(kind):
    payload = encoded(Image.new("L", (5000, 5000)), kind)
    assert len(payload) < 1 << 20
    assert picture_uri(payload) is None


def test_a_large_picture_is_not_shown():
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    assert picture_uri(png(noise)) is None


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-3.0, 12.0)], ids=str
)
def test_floats_are_stretched_over_the_greys(low, high):
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    grey = decoded(array_uri(values))
    assert (grey.min(), grey.max()) == (0, 255)
    assert np.array_equal(grey.ravel(), np.sort(grey.ravel()))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_floating_point_type_is_shown(dtype):
    assert decoded(array_uri(np.ones((8, 8, 3), dtype))).shape == (8, 8, 3)


def test_channels_may_come_first():
    pixels = np.zeros((3, 16, 20), np.uint8)
    pixels[0] = 255
    assert decoded(array_uri(pixels))[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float64).max])
def test_values_that_are_no_colour_do_no_harm(value):
    values = np.full((8, 8), 0.5)
    values[0, 0] = value
    assert decoded(array_uri(values)).shape == (8, 8)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10,), np.float32),
        np.zeros((4, 4), np.float32),
        np.zeros((8, 100), np.float32),
        np.zeros((16, 16), np.int32),
        np.zeros((16, 16, 16), np.uint8),
        np.zeros((0, 16), np.uint8),
    ],
    ids=["a row", "tiny", "a strip", "integers", "many channels", "empty"],
)
def test_arrays_of_another_form_are_no_picture(array):
    assert array_uri(array) is None


def test_a_large_array_is_thinned_out():
    assert decoded(array_uri(np.zeros((1000, 900), np.uint8))).shape == (250, 225)
