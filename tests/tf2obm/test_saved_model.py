"""The SavedModel that the functions of a bundle share: what goes in, and what must not."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite import tf2obm
from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.errors import BundleExistsError, InvalidModelError, StorageError

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
VECTOR = S([None, 2], tf.float32)
X = np.arange(6, dtype=np.float32).reshape(3, 2)


def identity():
    return tf.function(lambda x: x, input_signature=[VECTOR])


class Words(tf.Module):
    """A table from a file, a table from tensors, a variable and a file read as it is."""

    def __init__(self, folder):
        super().__init__()
        (folder / "vocabulary.txt").write_text("red\ngreen\n")
        (folder / "note.txt").write_text("hello")
        self.ids = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(folder / "vocabulary.txt"),
                tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=1,
        )  # fmt: skip
        self.names = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer([0, 1], ["zero", "one"]), "?"
        )
        self.weight = tf.Variable([1.0, 2.0, 3.0])
        self.note = tf.saved_model.Asset(str(folder / "note.txt"))

    @tf.function(input_signature=[S([None], tf.string)])
    def lookup(self, words):
        ids = self.ids.lookup(words)
        return {
            "ids": ids,
            "names": self.names.lookup(tf.cast(ids, tf.int32)),
            "weight": tf.gather(self.weight, ids),
            "note": tf.io.read_file(self.note.asset_path),
        }


@pytest.mark.parametrize("how", ["module", "list", "dict", "collected"])
def test_variables_tables_and_assets_are_saved(bound, tmp_path, how):
    words = Words(tmp_path)
    parts = [words.ids, words.names, words.weight, words.note]
    resources = {
        "module": words,
        "list": parts,
        "dict": {f"part_{i}": part for i, part in enumerate(parts)},
        "collected": None,
    }[how]
    fn = bound(words.lookup, resources)
    (tmp_path / "vocabulary.txt").unlink()
    (tmp_path / "note.txt").unlink()
    out = fn([b"green", b"blue"])
    assert out["ids"].tolist() == [1, 2]
    assert out["names"].tolist() == [b"one", b"?"]
    assert out["weight"].tolist() == [2.0, 3.0]
    assert out["note"] == b"hello"


def test_the_files_that_were_taken_are_named(tmp_path):
    words = Words(tmp_path)
    saved = tf2obm.save_tf_functions(tmp_path / "m", {"f": words.lookup})
    assert saved.folder == "tf_saved_model/"
    assert saved.assets == (
        "tf_saved_model/assets/note.txt",
        "tf_saved_model/assets/vocabulary.txt",
    )
    assert all((tmp_path / "m" / asset).is_file() for asset in saved.assets)


def test_no_path_of_the_authors_machine_is_saved(tmp_path):
    words = Words(tmp_path)
    saved = tf2obm.save_tf_functions(tmp_path / "m", {"f": words.lookup})
    for file in (tmp_path / "m" / saved.folder).rglob("*"):
        if file.is_file():
            assert str(tmp_path).encode() not in file.read_bytes()
            assert b"/home" not in file.read_bytes()


def test_tables_from_files_of_one_name_stay_two(bound, tmp_path):
    tables = []
    for folder, word in (("a", "red"), ("b", "blue")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "v.txt").write_text(f"{word}\n")
        initializer = tf.lookup.TextFileInitializer(
            str(tmp_path / folder / "v.txt"),
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        )  # fmt: skip
        tables.append(tf.lookup.StaticHashTable(initializer, "?"))
    fn = tf.function(lambda i: [t.lookup(i) for t in tables], input_signature=[S([], tf.int64)])
    assert bound(fn)(np.int64(0)) == [b"red", b"blue"]


def test_untracked_objects_are_all_named_before_anything_is_written(tmp_path):
    words = Words(tmp_path)
    lost = tf.Variable([1.0], name="lost")
    fn = tf.function(
        lambda w: {**words.lookup(w), "x": lost}, input_signature=[S([None], tf.string)]
    )
    with pytest.raises(InvalidModelError) as caught:
        tf2obm.save_tf_functions(tmp_path / "m", {"pre": fn}, [words.weight, words.note])
    message = str(caught.value)
    assert "function 'pre' uses variable 'lost:0' float32 (1,)" in message
    assert message.count("HashTable") == 2
    assert "pass the tf.Module that owns them" in message
    assert not (tmp_path / "m").exists()


def test_an_untracked_asset_is_named_too(tmp_path):
    words = Words(tmp_path)
    fn = tf.function(lambda: tf.io.read_file(words.note.asset_path), input_signature=[])
    with pytest.raises(InvalidModelError, match=r"'f' uses asset '.*note\.txt'"):
        tf2obm.save_tf_functions(tmp_path / "m", {"f": fn}, [])


def test_a_string_constant_that_is_captured_needs_no_owner(bound):
    word = tf.constant("w")
    assert bound(tf.function(lambda: word + "!", input_signature=[]), [])() == b"w!"


def test_a_mutable_table_keeps_what_it_holds(bound):
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(["a"], [7])
    fn = tf.function(table.lookup, input_signature=[S([None], tf.string)])
    assert bound(fn)([b"a", b"b"]).tolist() == [7, -1]


def test_every_function_is_one_signature(tmp_path):
    functions = {"a b": identity(), "a_b": identity(), "é/ü": identity(), "": identity()}
    tf2obm.save_tf_functions(tmp_path, functions)
    content = (tmp_path / "tf_saved_model/saved_model.pb").read_bytes()
    signatures = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def
    assert set(signatures) == {*functions, "__saved_model_init_op"}
    assert signatures["a b"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    "name",
    ["manifest", "orchestration", "__saved_model_init_op", "signatures", "a/b", "a b", "ünï", "1"],
)
def test_a_function_may_have_any_name(packed, name):
    bundle = packed({name: identity()})
    fn = tf2obm.TfEngine(bundle).bind(bundle.functions[name], name=name)
    np.testing.assert_array_equal(fn(X), X)


def test_a_module_with_an_attribute_named_signatures_is_saved(bound):
    module = tf.Module()
    module.signatures = tf.Variable([1.0, 2.0])
    fn = tf.function(lambda x: x * module.signatures, input_signature=[VECTOR])
    np.testing.assert_array_equal(bound(fn, module)(X), X * np.float32([1, 2]))


def test_nothing_of_the_authors_objects_is_changed(tmp_path):
    module = Words(tmp_path)
    before = dict(vars(module))
    tf2obm.save_tf_functions(tmp_path / "m", {"f": module.lookup}, module)
    tf2obm.save_tf_functions(tmp_path / "n", {"f": module.lookup})
    assert {key: id(value) for key, value in vars(module).items()} == {
        key: id(value) for key, value in before.items()
    }


def test_default_values_are_in_the_signature_for_other_readers(tmp_path):
    @tf.function(input_signature=[VECTOR, S([], tf.float32)])
    def f(x, scale=2.0):
        return x * scale

    tf2obm.save_tf_functions(tmp_path, {"f": f})
    content = (tmp_path / "tf_saved_model/saved_model.pb").read_bytes()
    signature = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def["f"]
    assert list(signature.defaults) == ["scale"]


def test_the_supplemental_says_where_the_saved_model_lies():
    data = tf2obm.tf_saved_model_as_obm_supplemental("tf_stuff")
    assert data.file is not None
    assert data.file.path == "tf_stuff/"
    assert (data.mime_type, data.version) == (layout.MIME_SAVED_MODEL, "1.0")


@pytest.mark.parametrize("subfolder", ["", "/abs", "../x", "a/../../b"])
def test_a_subfolder_outside_of_the_bundle_is_an_error(tmp_path, subfolder):
    message = re.escape(f"found {subfolder!r}")
    with pytest.raises(InvalidModelError, match=message):
        tf2obm.save_tf_functions(tmp_path, {"f": identity()}, subfolder=subfolder)
    with pytest.raises(InvalidModelError, match=message):
        tf2obm.tf_saved_model_as_obm_supplemental(subfolder)


def test_an_interrupted_save_is_repeated(tmp_path):
    words = Words(tmp_path)
    tf2obm.save_tf_functions(tmp_path, {"f": words.lookup}, subfolder="tf")
    tf2obm.save_tf_functions(tmp_path, {"f": identity()}, subfolder="tf")
    assert not list((tmp_path / "tf" / "assets").iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "tf").mkdir()
    (tmp_path / "tf" / "mine.txt").write_text("mine")
    with pytest.raises(BundleExistsError, match="choose another subfolder"):
        tf2obm.save_tf_functions(tmp_path, {"f": identity()}, subfolder="tf")
    assert (tmp_path / "tf" / "mine.txt").read_text() == "mine"


def test_a_finished_bundle_is_not_written_into(tmp_path, packed):
    packed({"f": identity()}, name="done")
    with pytest.raises(BundleExistsError, match="found a finished bundle"):
        tf2obm.save_tf_functions(tmp_path / "done", {"f": identity()})


def test_a_file_in_the_way_is_an_error_of_ours(tmp_path):
    (tmp_path / "m").write_text("a file")
    with pytest.raises(StorageError, match="expected to be able to write it"):
        tf2obm.save_tf_functions(tmp_path / "m", {"f": identity()})


def test_an_asset_that_has_disappeared_is_named_before_anything_is_written(tmp_path):
    words = Words(tmp_path)
    (tmp_path / "note.txt").unlink()
    with pytest.raises(InvalidModelError, match=r"asset '.*note\.txt': expected a file"):
        tf2obm.save_tf_functions(tmp_path / "m", {"f": words.lookup})
    assert not (tmp_path / "m").exists()
