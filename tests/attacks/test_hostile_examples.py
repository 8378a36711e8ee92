"""Recorded examples of strangers: archives made to exhaust memory, or to confuse their reader."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import examples as examples_module
from orbax_model_lite.core.examples import Example, example_bytes, read_example
from orbax_model_lite.errors import InvalidBundleError

RECORD = bundle_info_pb2.Example(path="examples/0.npz", function_name="f")
TREE = {"dict": {"args": {"tuple": [0]}, "kwargs": {"dict": {}}, "outputs": None}}


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    """Returns an array of bytes that claims a shape and has nothing behind its header."""
    buffer = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def archive(index: object, **members: bytes) -> bytes:
    """Returns an example's file with this index (JSON, or its text) and these members."""
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("index.npy", npy(np.frombuffer(text, np.uint8)))
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def with_bytes(content: bytes, places: list[tuple[bytes, int]], value: int) -> bytes:
    """Returns an archive with one byte changed behind each of some signatures."""
    changed = bytearray(content)
    for signature, offset in places:
        at = changed.find(signature)
        while at >= 0:
            changed[at + offset] = value
            at = changed.find(signature, at + 4)
    return bytes(changed)


def require_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidBundleError, match=rf"'examples/0\.npz'.*{reason}"):
        read_example(content, RECORD)


def test_an_array_that_claims_more_than_any_memory_is_refused():
    index = {"tree": TREE, "types": ["uint8"]}
    require_refused(archive(index, **{"0": header((2**50,))}), "allocate")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(examples_module, "_MAX_UNPACKED_BYTES", 2**20)
    bomb = archive({"tree": TREE, "types": ["uint8"]}, **{"0": npy(np.zeros(2**21, np.uint8))})
    assert len(bomb) < 2**14
    require_refused(bomb, "unpacked")


def test_an_index_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(examples_module, "_MAX_INDEX_BYTES", 100)
    index = {"tree": TREE, "types": ["uint8"] * 100}
    require_refused(archive(index), "an index of")


def test_strings_whose_lengths_go_back_and_forth_are_refused():
    lengths = np.tile(np.array([1000, -1000], np.int64), 500)
    index = {"tree": TREE, "types": ["string"]}
    members = {"0": npy(np.zeros(1000, np.uint8)), "0.lengths": npy(lengths)}
    require_refused(archive(index, **members), "lengths")


def test_a_tree_that_is_nested_without_end_is_refused():
    nested = b'{"types": [], "tree": ' + b'{"tuple": [' * 100_000 + b"]}" * 100_000 + b"}"
    require_refused(archive(nested), "recursion")


@pytest.mark.parametrize(
    "tree",
    [
        {"dict": {"args": {"tuple": [-1]}, "kwargs": {"dict": {}}, "outputs": None}},
        {"dict": {"args": {"tuple": [1]}, "kwargs": {"dict": {}}, "outputs": None}},
        {"dict": {"args": {"tuple": ["x"]}, "kwargs": {"dict": {}}, "outputs": None}},
        {"dict": {"args": {"tuple": [0]}, "kwargs": {"tuple": [0]}, "outputs": None}},
        {"dict": {"args": {"tuple": [0]}}},
        {"list": [0]},
    ],
    ids=["negative", "past-the-end", "text", "kwargs-of-another-kind", "incomplete", "no-call"],
)
def test_a_tree_that_is_not_one_of_a_call_is_refused(tree):
    index = {"tree": tree, "types": ["uint8"]}
    require_refused(archive(index, **{"0": npy(np.zeros(2, np.uint8))}), "damaged")


def test_an_archive_with_a_password_is_refused():
    content = archive({"tree": TREE, "types": ["uint8"]}, **{"0": npy(np.zeros(2, np.uint8))})
    flags = [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)]
    require_refused(with_bytes(content, flags, 1), "encrypted")


def test_an_archive_with_an_unknown_compression_is_refused():
    content = archive({"tree": TREE, "types": ["uint8"]}, **{"0": npy(np.zeros(2, np.uint8))})
    methods = [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)]
    require_refused(with_bytes(content, methods, 99), "compression")


@pytest.mark.filterwarnings("ignore:.*:SyntaxWarning")
def test_no_damage_of_one_byte_gives_another_error_than_ours():
    arrays = np.arange(200, dtype=np.float32)
    content = example_bytes(
        Example(target="f", is_pipeline=False, args=(arrays,), kwargs={}, outputs=arrays)
    )
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        try:
            read_example(bytes(changed), RECORD)
        except InvalidBundleError:
            continue
