"""Checkpoints that are damaged, or made to read what lies outside of them: refused, by path."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts

from orbax_model_lite.errors import InvalidBundleError, StorageError, UnsupportedError
from orbax_model_lite.jax2obm.weights import load_weights, save_weights, weights_names, weights_spec
from orbax_model_lite.jax2obm.weights.stored import RECORD_KEY

pytestmark = pytest.mark.frameworks

A = np.arange(4, dtype=np.float32)
TREE = {"a": A, "b": {"c": A + 1}}
FOUR_PARTS = r"checkpoint '.*': expected .*; .*; "


@pytest.fixture(params=["ours", "orbax", "orbax without ocdbt"])
def checkpoint(request, tmp_path):
    """Returns a healthy checkpoint, to be damaged."""
    path = tmp_path / "inside" / "c"
    path.parent.mkdir()
    if request.param == "ours":
        save_weights(path, TREE)
        return path
    with ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(use_ocdbt=request.param == "orbax")
    ) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(TREE))
    return path


@pytest.fixture
def by_files(tmp_path):
    """Returns a healthy checkpoint with a folder per array."""
    path = tmp_path / "inside" / "f"
    path.parent.mkdir(exist_ok=True)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(TREE))
    return path


def edit_metadata(path, change):
    """Rewrites `_METADATA` with its parsed JSON changed in place."""
    metadata = json.loads((path / "_METADATA").read_text())
    change(metadata)
    (path / "_METADATA").write_text(json.dumps(metadata))


def data_files(path):
    """Returns the files that hold arrays."""
    parts = ("d", "a", "b.c")
    return [
        f for f in path.rglob("*") if f.is_file() and set(f.relative_to(path).parts) & set(parts)
    ]


@pytest.mark.parametrize("length", [0, 1, 20])
def test_cut_off_data_is_refused(checkpoint, length):
    for file in data_files(checkpoint):
        file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InvalidBundleError, match=FOUR_PARTS):
        load_weights(checkpoint)


def test_missing_data_is_refused(checkpoint):
    for file in data_files(checkpoint):
        file.unlink()
    with pytest.raises(InvalidBundleError, match="array 'a'"):
        load_weights(checkpoint)


@pytest.mark.parametrize("to", ["host", "device"])
def test_a_chunk_that_is_missing_is_not_read_as_zeros(by_files, to):
    (by_files / "a" / "0").unlink()
    with pytest.raises(InvalidBundleError, match="array 'a'"):
        load_weights(by_files, to=to)


def test_garbage_instead_of_data_is_refused(checkpoint):
    for file in data_files(checkpoint):
        file.write_bytes(os.urandom(len(file.read_bytes())))
    with pytest.raises(InvalidBundleError, match=FOUR_PARTS):
        load_weights(checkpoint)


@pytest.mark.parametrize("read", [load_weights, weights_spec, weights_names])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no tree"),
        pytest.param(b'{"tree_metadata": {}}', id="an empty tree"),
        pytest.param(b'{"tree_metadata": {"x": 1}}', id="an entry that is a number"),
        pytest.param(
            b'{"tree_metadata": {"x": {"key_metadata": [], "value_metadata": {}}}}', id="k"
        ),
        pytest.param(b'{"tree_metadata": ' + b'{"a":' * 100_000, id="too deep"),
    ],
)
def test_damaged_metadata_is_refused(checkpoint, content, read):
    (checkpoint / "_METADATA").write_bytes(content)
    with pytest.raises(InvalidBundleError, match=FOUR_PARTS):
        read(checkpoint)


def test_metadata_of_before_2023_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "checkpoint").write_bytes(b"\x80")
    with pytest.raises(InvalidBundleError, match="found checkpoint"):
        load_weights(tmp_path / "c")


@pytest.mark.parametrize("kind", ["value below a value", "list and dict", "too deep"])
def test_entries_that_contradict_each_other_are_refused(by_files, kind):
    def add(metadata):
        key = {"key": "a", "key_type": 2}
        more = {"value below a value": 2, "list and dict": 1, "too deep": 2}[kind]
        first = {"key": "b", "key_type": 2} if kind == "list and dict" else key
        count = 300 if kind == "too deep" else 1
        keys = [first, *[{"key": "0", "key_type": more}] * count]
        value = {"value_type": "np.ndarray", "skip_deserialize": False}
        metadata["tree_metadata"]["x"] = {"key_metadata": keys, "value_metadata": value}

    edit_metadata(by_files, add)
    with pytest.raises(InvalidBundleError, match=FOUR_PARTS):
        load_weights(by_files)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"shape": [5]}, id="another shape"),
        pytest.param({"shape": [2, 2]}, id="the same bytes in another shape"),
        pytest.param({"dtype": "int32"}, id="another type"),
        pytest.param({"name": "nowhere"}, id="an array that is not there"),
        pytest.param({"shape": [1 << 62]}, id="a shape beyond all memory"),
    ],
)
def test_a_record_that_contradicts_the_arrays_is_refused(tmp_path, change):
    save_weights(tmp_path / "c", TREE)

    def damage(metadata):
        metadata["custom_metadata"][RECORD_KEY]["tree"]["dict"]["a"].update(change)

    edit_metadata(tmp_path / "c", damage)
    with pytest.raises(InvalidBundleError, match="array 'a'"):
        load_weights(tmp_path / "c")


class TestOutside:
    """Nothing in a checkpoint can lead the reader out of its folder."""

    @pytest.fixture
    def secret(self, tmp_path):
        """Returns the folder of an array that lies outside."""
        store = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/secret/"}}
        array = ts.open(store, create=True, dtype=ts.float32, shape=[4]).result()
        array.write(A).result()
        return tmp_path / "secret"

    @pytest.mark.parametrize(
        "name", ["../../secret", "x/../../../secret", "{absolute}", "./a", "a//b", "a\\..\\b"]
    )
    def test_a_name_that_is_a_path_out_is_refused(self, by_files, secret, name):
        def rename(metadata):
            metadata["tree_metadata"]["('a',)"]["key_metadata"][0]["key"] = name.format(
                absolute=secret
            )

        edit_metadata(by_files, rename)
        with pytest.raises(InvalidBundleError, match=r"refusing to read it|expected a complete"):
            load_weights(by_files)

    def test_a_record_that_names_a_path_out_is_refused(self, by_files, secret):
        def add(metadata):
            array = {"dtype": "float32", "shape": [4], "name": "../../secret"}
            metadata["custom_metadata"] = {RECORD_KEY: {"version": 1, "tree": array}}

        edit_metadata(by_files, add)
        with pytest.raises(InvalidBundleError, match="refusing to read it"):
            load_weights(by_files)

    def test_such_names_are_harmless_keys_where_arrays_share_a_store(self, tmp_path):
        save_weights(tmp_path / "c", {"../../secret": A})
        assert np.array_equal(load_weights(tmp_path / "c")["../../secret"], A)

    @pytest.mark.parametrize("prefix", ["../secret/", "x/../../secret/", "/etc/", "file:///etc/"])
    def test_a_store_whose_manifest_names_files_outside_is_refused(self, checkpoint, prefix):
        """OCDBT manifests name their data files by paths; TensorStore refuses those with `..`."""
        if not (checkpoint / "manifest.ocdbt").exists():
            edit_metadata(checkpoint, lambda metadata: metadata.update(use_ocdbt=True))
        shutil.rmtree(checkpoint / "d", ignore_errors=True)
        (checkpoint / "manifest.ocdbt").unlink(missing_ok=True)
        memory = {"driver": "memory", "path": "m/"}
        store = {"driver": "ocdbt", "base": memory, "path": "a/", "value_data_prefix": prefix}
        store["config"] = {"max_inline_value_bytes": 0}
        context = ts.Context()
        array = ts.open(
            {"driver": "zarr", "kvstore": store},
            create=True,
            dtype=ts.float32,
            shape=[4],
            context=context,
        ).result()
        array.write(A).result()
        files = ts.KvStore.open(memory, context=context).result()
        for key in files.list().result():
            target = pathlib.Path(os.path.normpath(checkpoint / key.decode().lstrip("/")))
            if "etc" not in target.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files[key])
        with pytest.raises(InvalidBundleError, match="array 'a'"):
            load_weights(checkpoint, names="a")

    @pytest.mark.parametrize("target", ["a file", "a folder", "nothing"])
    def test_links_out_of_the_folder_are_refused(self, checkpoint, tmp_path, target):
        outside = tmp_path / "outside"
        file = data_files(checkpoint)[0]
        if target == "a file":
            shutil.move(file, outside)
            file.symlink_to(outside)
        elif target == "a folder":
            shutil.move(file.parent, outside)
            file.parent.symlink_to(outside)
        else:
            (checkpoint / "link").symlink_to(outside)
        with pytest.raises(InvalidBundleError, match="outside of it; refusing to read it"):
            load_weights(checkpoint)

    def test_links_within_the_folder_are_followed(self, checkpoint):
        file = data_files(checkpoint)[0]
        file.rename(checkpoint / "moved")
        file.symlink_to(os.path.relpath(checkpoint / "moved", file.parent))
        assert np.array_equal(load_weights(checkpoint)["a"], A)

    def test_a_pipe_is_refused_and_not_waited_for(self, checkpoint):
        os.mkfifo(checkpoint / "pipe")
        with pytest.raises(InvalidBundleError, match="pipe"):
            load_weights(checkpoint)

    @pytest.mark.parametrize("key", ["file_system_location", "kvstore", "driver", "base"])
    def test_stores_that_metadata_suggests_are_not_looked_at(self, checkpoint, secret, key):
        edit_metadata(
            checkpoint, lambda metadata: metadata.update({key: {"driver": "http", "path": "x"}})
        )
        assert np.array_equal(load_weights(checkpoint)["a"], A)


@pytest.mark.parametrize("to", ["host", "device"])
def test_an_array_that_is_larger_than_memory_is_refused(by_files, to):
    zarray = json.loads((by_files / "a" / ".zarray").read_text())
    zarray |= {"shape": [1 << 50], "chunks": [1 << 50]}
    (by_files / "a" / ".zarray").write_text(json.dumps(zarray))
    with pytest.raises((UnsupportedError, InvalidBundleError), match="array 'a'"):
        load_weights(by_files, to=to)


def test_objects_in_an_array_are_refused_and_not_unpickled(by_files):
    zarray = json.loads((by_files / "a" / ".zarray").read_text())
    zarray |= {"dtype": "|O", "filters": [{"id": "pickle"}]}
    (by_files / "a" / ".zarray").write_text(json.dumps(zarray))
    with pytest.raises(InvalidBundleError, match="array 'a'"):
        load_weights(by_files)


def test_keys_of_an_unknown_generator_are_refused(tmp_path):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "c", args=ocp.args.PyTreeSave({"k": jnp.zeros(2, jnp.uint32)}))
    file = tmp_path / "c" / "array_metadatas" / "process_0"
    file.write_text(file.read_text().replace("null", '{"random_key_impl": "os.system"}'))
    with pytest.raises(UnsupportedError, match=r"key<os\.system>"):
        load_weights(tmp_path / "c")


@pytest.mark.parametrize("content", ["[]", "{", '{"array_metadatas": [1]}'])
def test_damaged_metadata_of_keys_is_refused(tmp_path, content):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "c", args=ocp.args.PyTreeSave({"k": jnp.zeros(2, jnp.uint32)}))
    (tmp_path / "c" / "array_metadatas" / "process_0").write_text(content)
    with pytest.raises(InvalidBundleError, match="process_0"):
        load_weights(tmp_path / "c")


def test_a_save_that_the_file_system_refuses_leaves_nothing(tmp_path, fresh_python):
    code = """
        import resource, signal, sys
        import numpy as np
        from orbax_model_lite.errors import StorageError
        from orbax_model_lite.jax2obm.weights import save_weights
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            save_weights(sys.argv[1], {"a": np.random.default_rng(0).random(1 << 20)})
        except StorageError as e:
            print(e)
    """
    message = fresh_python(code, tmp_path / "w")
    assert "expected Orbax to write it; " in message
    assert list(tmp_path.iterdir()) == []


def test_a_save_where_nothing_may_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        save_weights(tmp_path / "file" / "w", TREE)
