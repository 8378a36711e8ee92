"""From pack to a call in a fresh process: what is imported, what travels, what may be moved."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.errors import ObmError

pytestmark = pytest.mark.frameworks

KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
WORDS = [b"red", b"green", b"blue"]


@pytest.fixture(scope="module")
def jax_only(tmp_path_factory) -> Path:
    import jax.numpy as jnp

    path = tmp_path_factory.mktemp("jax") / "m.obm"
    obm.pack(
        path,
        lambda w, x: jnp.tanh(x @ w),
        KERNEL,
        "b, 4",
        preprocess=lambda x: x * 2,
        postprocess=lambda y: {"best": y.argmax(-1), "y": y},
    )
    return path


@pytest.fixture(scope="module")
def with_tensorflow(tmp_path_factory) -> Path:
    """Words and ids go in; the ids travel past the model; words come out."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("tf")
    (folder / "words.txt").write_bytes(b"\n".join(WORDS) + b"\n")
    index = tf.lookup.TextFileIndex

    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            self.asset = tf.saved_model.Asset(str(folder / "words.txt"))
            self.to_word = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    self.asset, tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE
                ),
                default_value="?",
            )

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, "csv"),
                tf.TensorSpec([None], tf.string, "ids"),
            ]
        )
        def parse(self, csv, ids):
            fields = tf.strings.split(csv, ",").to_tensor(shape=(None, 4))
            return {"x": tf.strings.to_number(fields), "ids": ids, "length": tf.strings.length(csv)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32),
                tf.TensorSpec([None], tf.string),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def answer(self, logits, ids, length):
            word = self.to_word.lookup(tf.argmax(logits, -1))
            return {"word": word, "id": ids, "length": length, "logits": logits}

    words = Words()
    packed = obm.pack(
        folder / "m.obm",
        lambda w, x: x @ w,
        KERNEL,
        preprocess=words.parse,
        postprocess=words.answer,
        trackable_resources=words,
        examples=(np.array([b"1,2,3,4"], object), np.array([b"n1"], object)),
    )
    assert packed.assets == ("tf_saved_model/assets/words.txt",)
    return packed.bundle.path


RUN_WORDS = """
    import sys
    import numpy as np
    import orbax_model_lite as obm

    model = obm.load(sys.argv[1])
    out = model(np.array([b"1,0,0,0", b"0,0,0,-1"], object), np.array([b"a", b"b"], object))
    assert out["id"].tolist() == [b"a", b"b"], out
    assert out["length"].tolist() == [7, 8], out
    assert out["word"].tolist() == [b"blue", b"red"], out
    np.testing.assert_allclose(out["logits"][0], [0.0, 0.1, 0.2], atol=1e-6)
    print("ok")
"""


def test_a_bundle_without_tensorflow_functions_never_imports_tensorflow(jax_only, fresh_python):
    loaded = fresh_python(
        """
        import sys
        import numpy as np
        import orbax_model_lite as obm

        model = obm.load(sys.argv[1])
        out = model(np.ones((2, 4), np.float32))
        assert out["y"].shape == (2, 3)
        print([m for m in ("tensorflow", "flax", "torch") if m in sys.modules])
        """,
        jax_only,
    )
    assert loaded.strip() == "[]"


def test_reading_and_verifying_import_no_framework(with_tensorflow, fresh_python):
    loaded = fresh_python(
        """
        import sys
        import orbax_model_lite as obm

        bundle = obm.read(sys.argv[1])
        assert obm.verify(sys.argv[1]).ok
        assert sorted(bundle.functions) == ["answer", "parse", "serving_default"]
        frameworks = ("jax", "jaxlib", "tensorflow", "orbax", "tensorstore", "safetensors", "flax")
        print([m for m in frameworks if m in sys.modules])
        """,
        with_tensorflow,
    )
    assert loaded.strip() == "[]"


def test_strings_and_ids_travel_through_a_fresh_process(with_tensorflow, fresh_python):
    assert fresh_python(RUN_WORDS, with_tensorflow) == "ok\n"


def test_a_bundle_may_be_moved_renamed_and_made_read_only(with_tensorflow, fresh_python, tmp_path):
    moved = tmp_path / "else where" / "renamed"
    shutil.copytree(with_tensorflow, moved)
    for path in [moved, *moved.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        before = {p: p.stat().st_mtime_ns for p in moved.rglob("*")}
        assert fresh_python(RUN_WORDS, moved) == "ok\n"
        assert {p: p.stat().st_mtime_ns for p in moved.rglob("*")} == before
    finally:
        for path in [moved, *moved.rglob("*")]:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_recorded_examples_with_strings_replay(with_tensorflow):
    report = obm.verify(with_tensorflow, replay=True)
    assert report.ok, report
    replayed = [finding.where for finding in report.findings if "output" in finding.where]
    assert any("output 'word'" in where for where in replayed)


def test_a_missing_framework_is_named_with_the_line_that_installs_it(with_tensorflow, fresh_python):
    printed = fresh_python(
        """
        import sys
        sys.modules["tensorflow"] = None
        import numpy as np
        import orbax_model_lite as obm

        model = obm.load(sys.argv[1])
        x = np.eye(4, dtype=np.float32)
        assert model.functions["serving_default"](model.value("weights"), x=x).shape == (4, 3)
        try:
            model(np.array([b"1,2,3,4"], object), np.array([b"a"], object))
        except obm.errors.MissingDependencyError as e:
            print(e)
        """,
        with_tensorflow,
    )
    assert "tensorflow" in printed
    assert 'pip install "orbax-model-lite[tf]"' in printed


def test_no_path_of_the_authors_machine_is_in_a_bundle(with_tensorflow):
    here = str(Path(__file__).parent.parent).encode()
    for path in with_tensorflow.rglob("*"):
        if path.is_file():
            assert here not in path.read_bytes(), path
            assert str(with_tensorflow.parent).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda p: (p / "manifest.pb").unlink(), ["manifest.pb"], id="no manifest"),
        pytest.param(
            lambda p: (p / "orbax_model_version.txt").unlink(),
            ["orbax_model_version.txt", "did not finish"],
            id="no marker",
        ),
        pytest.param(
            lambda p: (p / "manifest.pb").write_bytes(b"\xff" * 40), ["manifest"], id="bad manifest"
        ),
        pytest.param(lambda p: shutil.rmtree(p / "weights"), ["weights"], id="no checkpoint"),
        pytest.param(
            lambda p: (p / "serving_default.shlo").unlink(),
            ["serving_default.shlo"],
            id="no program",
        ),
    ],
)
def test_damage_is_a_clear_error_of_ours_and_a_finding(jax_only, tmp_path, damage, words):
    path = tmp_path / "m"
    shutil.copytree(jax_only, path)
    damage(path)
    with pytest.raises(ObmError) as caught:
        obm.load(path)(np.ones((2, 4), np.float32))
    for word in words:
        assert word in str(caught.value)
    assert not obm.verify(path).ok


def test_a_model_is_closed_once_and_says_so(jax_only):
    with obm.load(jax_only) as model:
        assert model(np.ones((1, 4), np.float32))["y"].shape == (1, 3)
    with pytest.raises(ObmError, match="load it again"):
        model(np.ones((1, 4), np.float32))
