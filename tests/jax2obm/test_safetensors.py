"""SafeTensors files: readable by the library, and its files by us; hostile headers are refused."""

from __future__ import annotations

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.flax
import safetensors.numpy

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.errors import InvalidBundleError, StorageError, UnsupportedError
from orbax_model_lite.jax2obm.weights import load_weights, save_weights, weights_spec
from orbax_model_lite.jax2obm.weights.stored import RECORD_KEY

pytestmark = pytest.mark.frameworks

A = np.arange(6, dtype=np.float32).reshape(2, 3)
LACKING = ("int2", "int4", "uint2", "uint4", "float4_e2m1fn", "float8_e3m4", "float8_e4m3")
LACKING += ("float8_e4m3b11fnuz", "complex128")


def write(path, header, data=b"", *, length=None):
    """Writes a file with any header, JSON or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def entry(begin, end, *, dtype="F32", shape=None):
    return {
        "dtype": dtype,
        "shape": [(end - begin) // 4] if shape is None else shape,
        "data_offsets": [begin, end],
    }


def test_the_library_reads_what_we_write(tmp_path):
    tree = {"a": {"b": A}, "c": [np.int8(3), np.zeros((0, 2), np.float64)]}
    save_weights(tmp_path / "w", tree, format="safetensors")
    found = safetensors.numpy.load_file(tmp_path / "w")
    assert sorted(found) == ["a.b", "c.0", "c.1"]
    assert np.array_equal(found["a.b"], A)


@pytest.mark.parametrize(
    "dtype",
    [d for d in DType if d.value not in (*LACKING, "unspecified", "float0", "string")],
    ids=lambda dtype: dtype.value,
)
def test_element_types_of_the_format_are_stored_as_they_are(tmp_path, dtype):
    save_weights(tmp_path / "w", {"a": np.ones(4, dtype.numpy)}, format="safetensors")
    with safetensors.safe_open(tmp_path / "w", framework="np") as file:
        assert file.get_slice("a").get_shape() == [4]
        assert file.get_slice("a").get_dtype() != "U8" or dtype is DType.UINT8


@pytest.mark.parametrize("name", LACKING)
def test_element_types_that_the_format_lacks_are_stored_as_bytes(tmp_path, name):
    save_weights(tmp_path / "w", {"a": np.ones(4, DType(name).numpy)}, format="safetensors")
    with safetensors.safe_open(tmp_path / "w", framework="np") as file:
        assert file.get_slice("a").get_dtype() == "U8"
        assert json.loads(file.metadata()[RECORD_KEY])["tree"]["dict"]["a"]["dtype"] == name


def test_a_file_of_the_library_is_one_flat_dict(tmp_path):
    safetensors.flax.save_file({"x.y": jnp.ones(2, jnp.bfloat16), "z": A}, tmp_path / "w")
    found = load_weights(tmp_path / "w", to="host")
    assert found["x.y"].dtype.name == "bfloat16"
    assert np.array_equal(found["z"], A)


def test_arrays_on_the_host_are_read_only_views_that_outlive_the_load(tmp_path):
    save_weights(tmp_path / "w", {"a": A}, format="safetensors")
    found = load_weights(tmp_path / "w", to="host")["a"]
    assert not found.flags.owndata
    assert not found.flags.writeable
    (tmp_path / "w").unlink()
    assert np.array_equal(found, A)


def test_arrays_on_devices_do_not_change_with_the_file(tmp_path):
    save_weights(tmp_path / "w", {"a": np.zeros(4096, np.float32)}, format="safetensors")
    found = load_weights(tmp_path / "w")["a"]
    with (tmp_path / "w").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    assert not np.asarray(found).any()


def test_arrays_begin_at_multiples_of_64_bytes_and_of_their_elements(tmp_path):
    tree = {"a": np.ones(3, np.int8), "b": np.ones(5, np.float64), "c": np.ones(3, np.float16)}
    save_weights(tmp_path / "w", tree, format="safetensors")
    raw = (tmp_path / "w").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert (8 + length) % 64 == 0
    assert [header[name]["data_offsets"][0] for name in "bca"] == [0, 40, 46]


def test_types_with_several_elements_to_a_byte_are_refused_by_name(tmp_path):
    header = {"p": entry(0, 2, dtype="F4", shape=[4]), "a": entry(2, 6)}
    path = write(tmp_path / "w", header, bytes(6))
    with pytest.raises(UnsupportedError, match=r"F4.* at 'p'"):
        load_weights(path)
    assert load_weights(path, names="a", to="host")["a"].shape == (1,)


DEEP = b'{"a":' * 100_000
HOSTILE = {
    "an empty file": (b"", None),
    "no header": (b"\0" * 7, None),
    "a header longer than the file": ((b"{}", b""), 100),
    "a header of 2**63 bytes": ((b"{}", b""), 1 << 63),
    "a header that is not JSON": ((b"{", b""), None),
    "a header that is not UTF-8": ((b'{"\xff": 1}', b""), None),
    "a header that is a list": ((b"[]", b""), None),
    "a header that is too deep": ((DEEP, b""), None),
    "a number of 10000 digits": ((b'{"a": ' + b"9" * 10_000 + b"}", b""), None),
    "a key twice": ((b'{"a": 1, "a": 2}', b""), None),
    "metadata that is not text": (({"__metadata__": {"a": 1}}, b""), None),
    "bytes behind the arrays": (({"a": entry(0, 4)}, bytes(5)), None),
    "fewer bytes than the arrays need": (({"a": entry(0, 8)}, bytes(4)), None),
    "an array of another size than its bytes": (({"a": entry(0, 4, shape=[2])}, bytes(4)), None),
    "a size that overflows 64 bits": (({"a": entry(0, 4, shape=[1 << 62, 8])}, bytes(4)), None),
    "a negative size": (({"a": entry(0, 4, shape=[-1, -1])}, bytes(4)), None),
    "a size that is no integer": (({"a": entry(0, 4, shape=[1.0])}, bytes(4)), None),
    "a size that is a boolean": (({"a": entry(0, 4, shape=[True])}, bytes(4)), None),
    "offsets that go backwards": (({"a": entry(4, 0, shape=[1])}, bytes(4)), None),
    "negative offsets": (({"a": entry(-4, 0, shape=[1])}, bytes(4)), None),
    "overlapping arrays": (({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), None),
    "an array twice": (({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)), None),
    "a gap between arrays": (({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), None),
    "a gap before the arrays": (({"a": entry(4, 8)}, bytes(8)), None),
    "an unknown element type": (({"a": entry(0, 4, dtype="X32")}, bytes(4)), None),
    "an entry without offsets": (({"a": {"dtype": "F32", "shape": []}}, b""), None),
    "too many dimensions": (({"a": entry(0, 4, shape=[1] * 65)}, bytes(4)), None),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("read", [load_weights, weights_spec])
def test_a_damaged_or_hostile_file_is_refused(tmp_path, kind, read):
    content, length = HOSTILE[kind]
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(path, *content, length=length)
    with pytest.raises(InvalidBundleError, match=r"w\.safetensors.*expected .*; found .*; "):
        read(path)


RECORD_OF_A = {"dict": {"a": {"dtype": "float32", "shape": [1], "name": "a"}}}


@pytest.mark.parametrize(
    "record",
    [
        pytest.param("{", id="not JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"version": 2, "tree": null}', id="a newer version"),
        pytest.param("[" * 100_000, id="too deep for the parser"),
        pytest.param('{"version": 1, "tree": ' + '{"list":[' * 300 + "]}" * 300 + "}", id="deep"),
        pytest.param({"dict": {"a": {"dtype": "float32", "shape": [2], "name": "a"}}}, id="shape"),
        pytest.param({"dict": {"a": {"dtype": "int32", "shape": [1], "name": "a"}}}, id="type"),
        pytest.param({"dict": {"a": {"dtype": "nope", "shape": [1], "name": "a"}}}, id="no type"),
        pytest.param({"dict": {"a": {"dtype": "float32", "shape": [1], "name": "b"}}}, id="name"),
        pytest.param({"dict": {"a": {"dtype": "float32", "shape": [-1], "name": "a"}}}, id="size"),
        pytest.param({"dict": {"a": {"dtype": "float32", "shape": [1]}}}, id="not stored"),
        pytest.param({"dict": {"a": 1}}, id="a number"),
        pytest.param({"list": [RECORD_OF_A["dict"]["a"]] * 2}, id="one array for two leaves"),
        pytest.param({"dict": {}}, id="an array too many in the file"),
    ],
)
def test_a_record_that_contradicts_the_file_is_refused(tmp_path, record):
    text = record if isinstance(record, str) else json.dumps({"version": 1, "tree": record})
    header = {"__metadata__": {RECORD_KEY: text}, "a": entry(0, 4)}
    with pytest.raises(InvalidBundleError, match=r"save it again|save the weights again"):
        load_weights(write(tmp_path / "w", header, bytes(4)))


def test_a_good_record_is_accepted(tmp_path):
    record = json.dumps({"version": 1, "tree": RECORD_OF_A})
    header = {"__metadata__": {RECORD_KEY: record}, "a": entry(0, 4)}
    assert load_weights(write(tmp_path / "w", header, bytes(4)), to="host")["a"].shape == (1,)


def test_a_save_that_the_file_system_refuses_leaves_nothing(tmp_path, fresh_python):
    code = """
        import resource, signal, sys
        import numpy as np
        from orbax_model_lite.errors import StorageError
        from orbax_model_lite.jax2obm.weights import save_weights
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            save_weights(sys.argv[1], {"a": np.ones(1 << 20)}, format="safetensors")
        except StorageError as e:
            print(e)
    """
    message = fresh_python(code, tmp_path / "w")
    assert "writing" in message
    assert list(tmp_path.iterdir()) == []


def test_a_save_into_a_missing_folder_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        save_weights(tmp_path / "missing" / "w", {"a": A}, format="safetensors")
