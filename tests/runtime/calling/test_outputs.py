"""What a call returned, in files: every type comes back, and no half file is left behind."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import SignatureMismatchError, StorageError, UnsupportedError
from orbax_model_lite.runtime.calling import outputs
from orbax_model_lite.runtime.calling.arrays import read_npz
from orbax_model_lite.runtime.calling.outputs import (
    HostTree,
    host_tree,
    json_tree,
    require_output,
    write_npz,
    write_outputs,
)


def host(tree) -> HostTree:
    return HostTree(tree=tree, logical={})


def npz_bytes(found: HostTree) -> bytes:
    stream = io.BytesIO()
    write_npz(stream, found)
    return stream.getvalue()


def test_keys_are_key_paths_and_numpy_reads_them():
    tree = {"a": (np.zeros(2), np.ones(3)), "b": np.int32(7)}
    with np.load(io.BytesIO(npz_bytes(host_tree(tree)))) as found:
        assert {key: found[key].shape for key in found} == {"a.0": (2,), "a.1": (3,), "b": ()}


def test_a_lone_array_has_numpys_own_key():
    with np.load(io.BytesIO(npz_bytes(host(np.ones(2))))) as found:
        assert found.files == ["arr_0"]


NUMBERS = [d for d in DType if d not in (DType.UNSPECIFIED, DType.FLOAT0, DType.STRING)]


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.value)
def test_every_type_of_numbers_comes_back_bit_for_bit(dtype):
    x = np.array([0, 1], np.float32).astype(dtype.numpy).reshape(2, 1)
    back = read_npz(npz_bytes(host({"x": x})), "file")["x"].array
    assert back.dtype == x.dtype
    assert back.tobytes() == x.tobytes()


def test_a_type_that_numpy_lacks_is_said_beside_its_bits():
    x = np.array([1.5, -2], ml_dtypes.bfloat16)
    with np.load(io.BytesIO(npz_bytes(host({"x": x})))) as found:
        assert found["x"].dtype == np.uint16
        assert str(found["dtype:x"]) == "bfloat16"
        np.testing.assert_array_equal(found["x"].view(ml_dtypes.bfloat16), x)


def test_the_kind_of_a_key_is_said_beside_its_words():
    words = np.array([1, 2], np.uint32)
    found = HostTree(tree={"k": words}, logical={("k",): "key<fry>"})
    back = read_npz(npz_bytes(found), "file")["k"]
    assert back.logical == "key<fry>"
    np.testing.assert_array_equal(back.array, words)


@pytest.mark.frameworks
def test_typed_keys_come_to_the_host_as_words():
    import jax

    key = jax.random.key(3)
    found = host_tree({"k": key})
    assert found.logical == {("k",): "key<fry>"}
    np.testing.assert_array_equal(found.tree["k"], jax.random.key_data(key))


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_strings_come_back_byte_for_byte(texts):
    x = np.empty(len(texts), object)
    x[:] = texts
    assert read_npz(npz_bytes(host({"x": x})), "file")["x"].array.tolist() == texts


def test_usual_strings_are_those_of_numpy():
    x = np.array([b"two", b"four"], object)
    with np.load(io.BytesIO(npz_bytes(host({"x": x})))) as found:
        assert found.files == ["x"]
        assert found["x"].tolist() == [b"two", b"four"]


def test_one_long_string_does_not_make_the_others_long():
    x = np.array([b"a" * 1_000_000] + [b"b"] * 999, object)
    content = npz_bytes(host({"x": x}))
    assert len(content) < 2_000_000
    assert read_npz(content, "file")["x"].array.tolist() == x.tolist()


def test_two_outputs_of_one_key_are_refused():
    with pytest.raises(UnsupportedError, match=r"output 'a\.b'.*write \.json"):
        npz_bytes(host({"a.b": np.zeros(1), "a": {"b": np.zeros(1)}}))


def test_control_characters_in_a_key_are_escaped():
    with np.load(io.BytesIO(npz_bytes(host({"a\0b\x1b": np.zeros(1)})))) as found:
        assert found.files == ["a\\x00b\\x1b"]


def test_equal_outputs_give_equal_bytes():
    tree = {"x": np.arange(3.0), "y": np.array([b"a"], object)}
    assert npz_bytes(host(tree)) == npz_bytes(host(tree))


def test_json_is_the_tree_itself():
    tree = {
        "t": (np.array([1.5, np.nan, np.inf]), np.array([2**60])),
        "s": np.array([b"word", b"\xff"], object),
        "c": np.array([1 + 2j], np.complex64),
        "h": np.array([0.5], ml_dtypes.bfloat16),
        "i": np.array([-8], ml_dtypes.int4),
        "n": None,
    }
    assert json_tree(host(tree)) == {
        "t": [[1.5, "NaN", "Infinity"], [2**60]],
        "s": ["word", {"base64": "/w=="}],
        "c": {"real": [1.0], "imag": [2.0]},
        "h": [0.5],
        "i": [-8],
        "n": None,
    }


def test_the_ending_decides_what_is_written(tmp_path):
    write_outputs(str(tmp_path / "x.json"), host({"x": np.arange(2)}))
    assert json.loads((tmp_path / "x.json").read_text()) == {"x": [0, 1]}
    write_outputs(str(tmp_path / "x.npz"), host({"x": np.arange(2)}))
    with np.load(tmp_path / "x.npz") as found:
        assert found["x"].tolist() == [0, 1]


def test_an_older_file_is_replaced_and_a_link_to_it_stays_one(tmp_path):
    (tmp_path / "real.npz").write_bytes(b"old")
    (tmp_path / "link.npz").symlink_to("real.npz")
    write_outputs(str(tmp_path / "link.npz"), host(np.ones(1)))
    assert (tmp_path / "link.npz").is_symlink()
    assert (tmp_path / "real.npz").read_bytes()[:2] == b"PK"


def test_a_device_is_written_to_and_not_replaced():
    before = Path(os.devnull).stat()
    write_outputs(os.devnull, host(np.ones(1)))
    assert Path(os.devnull).stat().st_rdev == before.st_rdev


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    (tmp_path / "x.npz").write_bytes(b"old")

    def fail(stream, _):
        stream.write(b"half")
        raise error

    monkeypatch.setattr(outputs, "write_npz", fail)
    with pytest.raises((KeyboardInterrupt, StorageError)):
        write_outputs(str(tmp_path / "x.npz"), host(np.ones(1)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    assert (tmp_path / "x.npz").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("x.txt", "found '.txt'"),
        ("x", "found 'no ending'"),
        ("nowhere/x.npz", "found no such folder"),
        (".", "found a folder"),
    ],
)
def test_an_output_that_cannot_be_is_told_before_anything_runs(name, found, tmp_path):
    with pytest.raises(SignatureMismatchError, match=found):
        require_output(str(tmp_path / name))
