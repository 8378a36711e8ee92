"""What a SavedModel runs is found in its file, through every way in which functions are called."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite import core, tf2obm
from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.errors import InvalidBundleError, UnknownNameError

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
SCALAR = S([], tf.float32)


def content(tmp_path, functions, resources=None) -> bytes:
    tf2obm.save_tf_functions(tmp_path / "m", functions, resources)
    return (tmp_path / "m" / "tf_saved_model" / "saved_model.pb").read_bytes()


def traced(fn, *specs):
    return tf.function(fn, input_signature=specs or [SCALAR])


@tf.function
def sine(x):
    return tf.sin(x)


REACHED = {
    "call": sine,
    "nested_call": tf.function(lambda y: sine(y) + 1),
    "cond": lambda x: tf.cond(x > 0, lambda: sine(x), lambda: x),
    "while": lambda x: tf.while_loop(lambda v: v < 0, lambda v: [sine(v)], [x])[0],
    "switch": lambda x: tf.switch_case(tf.cast(x, tf.int32), [lambda: x, lambda: sine(x)]),
    "map": lambda x: tf.map_fn(sine, x[tf.newaxis]),
    "vectorized_map": lambda x: tf.vectorized_map(sine, x[tf.newaxis]),
    "scan": lambda x: tf.scan(lambda a, v: a + sine(v), x[tf.newaxis]),
    "recompute": tf.recompute_grad(sine),
    "compiled": tf.function(tf.sin, jit_compile=True),
}


@pytest.mark.parametrize("way", REACHED)
def test_an_operation_is_found_behind_every_kind_of_call(tmp_path, way):
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(REACHED[way])}))
    assert "Sin" in facts.ops
    assert facts.unfollowed == ()


def test_an_operation_comes_with_the_functions_that_hold_it(tmp_path):
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(REACHED["call"])}))
    assert [name for name in facts.ops["Sin"] if "sine" in name]


def test_only_the_signatures_that_are_asked_for_are_walked(tmp_path):
    saved = content(tmp_path, {"f": traced(tf.sin), "g": traced(tf.cos)})
    assert "Cos" not in tf2obm.reachable(saved, ["f"]).ops
    assert {"Sin", "Cos"} <= tf2obm.reachable(saved).ops.keys()


def test_a_signature_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UnknownNameError, match="no signature 'ff'; did you mean 'f'"):
        tf2obm.reachable(content(tmp_path, {"f": traced(tf.sin)}), ["ff"])


def test_functions_that_nobody_calls_do_not_count(tmp_path):
    module = tf.Module()
    module.other = traced(tf.cos)
    module.other.get_concrete_function()
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(tf.sin)}, module))
    assert "Cos" not in facts.ops
    assert facts.load_ops == {}


def test_loading_creates_initializes_and_destroys_tables(tmp_path):
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [1]), 0)
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(table.lookup, S([], tf.string))}))
    assert {"HashTableV2", "LookupTableImportV2"} <= facts.load_ops.keys()
    assert "LookupTableFindV2" in facts.ops
    assert "LookupTableFindV2" not in facts.load_ops


def test_loading_restores_the_state_of_a_mutable_table(tmp_path):
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(table.lookup, S([], tf.string))}))
    assert "LookupTableImportV2" in facts.load_ops
    assert facts.unfollowed == ()


def test_functions_that_save_do_not_count(tmp_path):
    module = tf.Module()
    module.v = tf.Variable(1.0)
    facts = tf2obm.reachable(content(tmp_path, {"f": traced(lambda x: x * module.v)}, module))
    assert not {"SaveV2", "RestoreV2", "MergeV2Checkpoints"} & facts.ops.keys()
    assert facts.load_ops == {}


def asset_of(tmp_path):
    (tmp_path / "v.txt").write_text("a\nb\n")
    return tf.saved_model.Asset(str(tmp_path / "v.txt"))


def test_a_table_from_an_asset_reads_its_own_file(tmp_path):
    initializer = tf.lookup.TextFileInitializer(
        asset_of(tmp_path).asset_path,
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    table = tf.lookup.StaticHashTable(initializer, -1)
    saved = content(tmp_path, {"f": traced(table.lookup, S([], tf.string))})
    facts = tf2obm.reachable(saved)
    assert [(read.op, str(read.origin), read.is_own) for read in facts.file_reads] == [
        ("InitializeTableFromTextFileV2", "asset 'v.txt'", True)
    ]
    assert facts.assets == ("v.txt",)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_name_of_an_asset_is_followed_through_calls(packed, tmp_path, depth):
    def read(path):
        return tf.io.read_file(path)

    for _ in range(depth):
        read = tf.function(lambda path, inner=read: inner(tf.identity(path)))
    asset = asset_of(tmp_path)
    bundle = packed({"f": traced(lambda x: (read(asset.asset_path), x))})
    assert tf2obm.refusals(bundle, "tf_saved_model/") == ()


@pytest.mark.parametrize(
    ("name_of", "origin"),
    [
        pytest.param(lambda x: "/etc/passwd", "constant '/etc/passwd'", id="constant"),
        pytest.param(lambda x: x, "unknown name", id="argument"),
        pytest.param(lambda x: "/etc/" + x, "unknown name", id="computed"),
    ],
)
def test_a_file_that_is_no_asset_is_refused(packed, name_of, origin):
    bundle = packed({"f": traced(lambda x: tf.io.read_file(name_of(x)), S([], tf.string))})
    (refusal,) = tf2obm.refusals(bundle, "tf_saved_model/")
    assert refusal.op == "ReadFile"
    assert str(refusal).endswith(f"reads a file outside: {origin}")


def test_a_file_name_that_depends_on_a_condition_has_two_origins(packed, tmp_path):
    asset = asset_of(tmp_path)

    @tf.function
    def read(path):
        return tf.io.read_file(path)

    bundle = packed({"f": traced(lambda x: (read(asset.asset_path), read(tf.constant("/x")), x))})
    reasons = [str(refusal) for refusal in tf2obm.refusals(bundle, "tf_saved_model/")]
    assert any("constant '/x'" in reason for reason in reasons)


def test_what_is_granted_is_not_refused(packed):
    bundle = packed({"f": traced(lambda x: (tf.print(x), x)[1])})
    assert {refusal.op for refusal in tf2obm.refusals(bundle, "tf_saved_model/")} == {"PrintV2"}
    assert tf2obm.refusals(bundle, "tf_saved_model/", allow={"PrintV2"}) == ()


def test_a_function_of_many_parts_needs_no_grant(packed, tmp_path):
    """Strings, images, tables, variables, ragged and sparse tensors, loops and random numbers."""
    words = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([0], tf.int64)), 2
    )
    weight = tf.Variable(np.ones((3, 4), np.float32))

    def f(images, text):
        decoded = tf.map_fn(
            lambda b: tf.image.resize(tf.io.decode_image(b, 3, expand_animations=False), [8, 8]),
            images, fn_output_signature=tf.float32,
        )  # fmt: skip
        tokens = words.lookup(tf.strings.split(tf.strings.lower(text)).to_tensor(""))
        sparse = tf.sparse.reduce_sum(tf.sparse.from_dense(tokens), -1)
        noise = tf.random.uniform([4]) + tf.random.stateless_normal([4], [1, 2])
        total = tf.constant(0.0)
        for i in tf.range(3):
            if total < 2:
                total += tf.cast(i, tf.float32)
        hidden = tf.nn.softmax(tf.reduce_mean(decoded, [1, 2]) @ weight + noise)
        best = tf.math.top_k(hidden, 2)
        boxes = tf.image.non_max_suppression(tf.ones([2, 4]), tf.ones([2]), 1)
        fft = tf.abs(tf.signal.stft(tf.ones([64]), 16, 8))
        date = tf.strings.regex_replace(text, r"\d", "#")
        return best.values, sparse, total, boxes, fft, date, tf.linalg.svd(weight)[0]

    bundle = packed({"f": traced(f, S([None], tf.string), S([None], tf.string))})
    assert tf2obm.refusals(bundle, "tf_saved_model/") == ()


@pytest.mark.parametrize("damage", [b"\xff\xff", b"", b"\x12\x00\x12\x00", b"\x12\x00"])
def test_what_is_no_saved_model_of_tensorflow_2_is_an_error(damage):
    with pytest.raises(InvalidBundleError, match="SavedModel: expected"):
        tf2obm.reachable(damage)


def test_a_saved_model_of_tensorflow_1_is_an_error(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [])
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "v1"), {"x": x}, {"y": x + 1})
    with pytest.raises(InvalidBundleError, match="as TensorFlow 2 writes it"):
        tf2obm.reachable((tmp_path / "v1" / "saved_model.pb").read_bytes())


def test_the_facts_need_no_tensorflow(packed, fresh_python, tmp_path):
    packed({"f": traced(tf.sin)})
    code = """
        import sys
        from orbax_model_lite import core, tf2obm
        print(tf2obm.refusals(core.read(sys.argv[1]), "tf_saved_model/"))
        assert not {"tensorflow", "jax"} & sys.modules.keys()
    """
    assert fresh_python(code, tmp_path / "m").strip() == "()"


def test_everything_in_the_file_is_understood_as_tensorflow_does(tmp_path):
    """Our descriptor reads the same operations as TensorFlow's own."""
    from tensorflow.core.protobuf import saved_model_pb2 as theirs

    saved = content(tmp_path, {"f": traced(REACHED["while"])})
    ours = saved_model_pb2.SavedModel.FromString(saved)
    assert theirs.SavedModel.FromString(ours.SerializeToString()) == theirs.SavedModel.FromString(
        saved
    )


def test_a_missing_asset_is_an_error(packed, tmp_path):
    asset = asset_of(tmp_path)
    packed({"f": traced(lambda x: (tf.io.read_file(asset.asset_path), x))})
    (tmp_path / "m" / "tf_saved_model" / "assets" / "v.txt").unlink()
    with pytest.raises(InvalidBundleError, match=r"assets/v\.txt"):
        tf2obm.refusals(core.read(tmp_path / "m"), "tf_saved_model/")
