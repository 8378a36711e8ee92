"""Files of inputs: what kind each is, and those that are damaged or made to do harm."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling import arrays
from orbax_model_lite.runtime.calling.documents import (
    FileBytes,
    JsonValue,
    NamedArrays,
    OneArray,
    read_document,
    read_value,
)


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def npz(**entries: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **entries)
    return stream.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(16)


def stdin(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def test_an_npy_file_is_one_array(tmp_path):
    x = np.arange(6, dtype=np.int16).reshape(2, 3)
    (tmp_path / "x.npy").write_bytes(npy(x))
    found = read_document(str(tmp_path / "x.npy"))
    assert isinstance(found, OneArray)
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, x)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(2.5),
        np.zeros((0, 4), np.float32),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
    ],
    ids=["columns first", "big-endian", "scalar", "empty", "bool", "complex"],
)
def test_every_plain_array_is_read_as_numpy_reads_it(array):
    found = read_document("-", stdin(npy(array)))
    assert isinstance(found, OneArray)
    assert found.array.shape == array.shape
    assert found.array.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found.array, array)


def test_strings_of_an_npy_file_are_bytes():
    found = read_document("-", stdin(npy(np.array(["ä", "b"]))))
    assert isinstance(found, OneArray)
    assert found.array.tolist() == ["ä".encode(), b"b"]


def test_an_npz_file_is_arrays_by_key():
    found = read_document("-", stdin(npz(a=np.zeros(2), b=np.ones(3, np.int8))))
    assert isinstance(found, NamedArrays)
    assert {key: stored.array.dtype.name for key, stored in found.arrays.items()} == {
        "a": "float64",
        "b": "int8",
    }


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"x": [1, 2.5]}', {"x": [1, 2.5]}),
        (b" \n[true]", [True]),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"-1.5e3\n", -1500.0),
        (b"null", None),
        (b'"text"', "text"),
    ],
    ids=["object", "list", "byte order mark", "number", "null", "string"],
)
def test_json_on_standard_input_is_seen_by_its_first_bytes(content, value):
    assert read_document("-", stdin(content)) == JsonValue(value)


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n...", b"plain words", b"12 apples", b"", b"\xff\xd8\xff\xe0"],
    ids=["png", "text", "text that begins as a number", "nothing", "jpeg"],
)
def test_what_is_nothing_else_is_its_bytes(content):
    assert read_document("-", stdin(content)) == FileBytes(content)


def test_a_name_decides_before_the_content(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"[1, 2]")
    assert read_document(str(tmp_path / "x.txt")) == FileBytes(b"[1, 2]")


def test_a_file_without_an_ending_is_seen_by_its_first_bytes(tmp_path):
    (tmp_path / "63").write_bytes(b"[1, 2]")
    assert read_document(str(tmp_path / "63")) == JsonValue([1, 2])


def deep() -> bytes:
    return b"[" * 100_000 + b"]" * 100_000


HOSTILE = {
    "pickle in .npy": (".npy", npy(np.array([{}], object), allow_pickle=True), "Python objects"),
    "pickle in .npz": (
        ".npz",
        zipped(("x.npy", npy(np.array([{}], object), allow_pickle=True))),
        "Python objects",
    ),
    "records": (".npy", npy(np.zeros(2, [("a", "<f4")])), "records"),
    "a header that claims terabytes": (".npy", claiming((2**40,)), "16 bytes for float32"),
    "a header with a product that overflows": (".npy", claiming((2**62, 2**62)), "16 bytes for"),
    "a header with a negative size": (".npy", claiming((-1, -4)), "16 bytes for"),
    "a header that claims a tera of empty strings": (
        ".npy",
        claiming((2**40,), "|S0")[:-16],
        "1099511627776 strings of no bytes",
    ),
    "a header that is code": (
        ".npy",
        b"\x93NUMPY\x01\x00\x76\x00" + b"__import__('os').abort()".ljust(117) + b"\n",
        "expected an .npy file",
    ),
    "a header too deep": (
        ".npy",
        b"\x93NUMPY\x01\x00\xf0\x1f" + b"(" * 8175 + b"\n",
        "expected an .npy file",
    ),
    "half an .npy": (".npy", npy(np.zeros(100))[:200], "bytes for float64"),
    "more than is said": (".npy", npy(np.zeros(2)) + b"more", "20 bytes for float64"),
    "no .npy at all": (".npy", b"[1, 2]", "expected an .npy file"),
    "half an .npz": (".npz", npz(x=np.zeros(100))[:300], "expected an .npz file"),
    "no .npz at all": (".npz", b"not a zip", "expected an .npz file"),
    "a key twice": (
        ".npz",
        zipped(("x.npy", npy(np.zeros(1))), ("x", npy(np.ones(1)))),
        "a key twice",
    ),
    "a type that is none": (
        ".npz",
        npz(**{"x": np.zeros(1, np.uint8), "dtype:x": np.array("float9")}),
        "float9",
    ),
    "a type of another width": (
        ".npz",
        npz(**{"x": np.zeros(1, np.uint8), "dtype:x": np.array("bfloat16")}),
        "uint8 where bfloat16 is said to be",
    ),
    "a type of nothing": (".npz", npz(**{"dtype:x": np.array("int4")}), "without an array"),
    "lengths beyond the text": (
        ".npz",
        npz(
            **{
                "x": np.zeros(4, np.uint8),
                "dtype:x": np.array("string"),
                "lengths:x": np.array([2**40, 4 - 2**40]),
            }
        ),
        "strings of other lengths",
    ),
    "JSON that ends early": (".json", b'{"x": [1,', "expected JSON"),
    "JSON with a key twice": (".json", b'{"x": 1, "x": 2}', "a key twice"),
    "JSON that is no text": (".json", b"\xff\xfe\x00", "expected JSON"),
    "JSON too deep": (".json", deep(), "expected JSON"),
    "JSON with a number too long": (".json", b"1" * 5000, "expected JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_or_hostile_file_is_refused_with_its_name(name, tmp_path):
    suffix, content, found = HOSTILE[name]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(SignatureMismatchError) as caught:
        read_document(str(path))
    message = str(caught.value)
    assert message.startswith(f"input file {str(path)!r}: expected ")
    assert found in message
    assert len(message) < 600


def test_a_bomb_is_refused_by_what_its_directory_says(monkeypatch, tmp_path):
    monkeypatch.setattr(arrays, "MAX_BYTES", 10_000)
    (tmp_path / "x.npz").write_bytes(zipped(("x.npy", npy(np.zeros(100_000)))))
    assert (tmp_path / "x.npz").stat().st_size < 10_000
    with pytest.raises(SignatureMismatchError, match="800128 bytes unpacked, more than 10000"):
        read_document(str(tmp_path / "x.npz"))


def test_a_file_beyond_the_limit_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", 10)
    stream = stdin(bytes(1000))
    with pytest.raises(SignatureMismatchError, match="at most 10 bytes"):
        read_document("-", stream)
    assert stream.tell() == 11


@pytest.mark.parametrize("name", ["nowhere.npy", ".", "x\0y"])
def test_what_cannot_be_opened_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SignatureMismatchError, match="expected a file that can be read"):
        read_document(name)


def test_a_value_without_quotes_is_told_about_them():
    with pytest.raises(SignatureMismatchError, match="strings stand in quotes"):
        read_value("mine", "value 'ids=mine'")
    assert read_value(json.dumps("mine"), "value") == JsonValue("mine")


@pytest.mark.parametrize("text", ["[1.5, 1e400]", "-2.5e999"])
def test_a_number_beyond_float64_is_no_infinity(text):
    with pytest.raises(SignatureMismatchError, match=r"e\d+, which is out of the range of float64"):
        read_value(text, "value 'x'")
