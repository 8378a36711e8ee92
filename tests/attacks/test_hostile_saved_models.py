"""SavedModels that do more than compute: each is refused before TensorFlow sees it.

What loading runs by itself is shown by letting TensorFlow load some of them: the file that the
attack writes is there afterwards.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import tf2obm
from orbax_model_lite.errors import UntrustedError
from tests.attacks.saved_models import as_bundle, traced

pytestmark = pytest.mark.frameworks


class Resource(tf.saved_model.experimental.TrackableResource):
    """A table whose life is told by the methods that an attack replaces."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = str(path)

    def _create_resource(self):
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.string)


class WritesWhenCreated(Resource):
    def _create_resource(self):
        tf.io.write_file(self.path, "owned")
        return super()._create_resource()


class WritesWhenInitialized(Resource):
    def _initialize(self):
        tf.io.write_file(self.path, "owned")


class WritesWhenDestroyed(Resource):
    def _destroy_resource(self):
        tf.io.write_file(self.path, "owned")


class WritesWhenRestored(Resource):
    def _serialize_to_tensors(self):
        return {"state": tf.constant(1.0)}

    def _restore_from_tensors(self, restored):
        tf.io.write_file(self.path, "owned")
        return restored["state"]


RESOURCES = [WritesWhenCreated, WritesWhenInitialized, WritesWhenDestroyed, WritesWhenRestored]


def save_with(resource: Resource, target: Path) -> None:
    module = tf.Module()
    module.resource = resource
    module.f = traced(
        lambda x: (x, tf.raw_ops.LookupTableSizeV2(table_handle=resource.resource_handle))[0]
    )
    tf.saved_model.save(module, str(target), signatures={"f": module.f})


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_resource_that_writes_a_file_is_refused_before_it_is_loaded(tmp_path, kind):
    path = tmp_path / "owned"
    save_with(kind(path), tmp_path / "sm")
    path.unlink(missing_ok=True)
    facts = tf2obm.reachable((tmp_path / "sm" / "saved_model.pb").read_bytes())
    assert "WriteFile" in facts.load_ops
    as_bundle(tmp_path / "sm", tmp_path / "m")
    with (
        obm.load(tmp_path / "m") as model,
        pytest.raises(UntrustedError, match="WriteFile in function"),
    ):
        model.functions["f"](1.0)
    assert not path.exists()


# A resource is created when it is first used.
@pytest.mark.parametrize("kind", RESOURCES[1:])
def test_loading_alone_would_have_written_the_file(tmp_path, kind, fresh_python):
    path = tmp_path / "owned"
    save_with(kind(path), tmp_path / "sm")
    path.unlink(missing_ok=True)
    fresh_python("import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1])", tmp_path / "sm")
    assert path.read_text() == "owned"


def read_file(x):
    return tf.strings.length(tf.io.read_file("/etc/passwd")) + tf.cast(x, tf.int32)


BEHIND = {
    "call": tf.function(read_file),
    "nested": tf.function(lambda x: tf.function(read_file)(x) + 1),
    "cond": lambda x: tf.cond(x > 0, lambda: read_file(x), lambda: 0),
    "while": lambda x: tf.while_loop(lambda i: i < 3, lambda i: [i + read_file(x)], [0])[0],
    "case": lambda x: tf.switch_case(tf.cast(x, tf.int32), [lambda: 0, lambda: read_file(x)]),
    "map": lambda x: tf.map_fn(read_file, x[tf.newaxis], fn_output_signature=tf.int32),
}


@pytest.mark.parametrize("way", BEHIND)
def test_a_file_that_is_read_behind_other_functions_is_refused(tmp_path, way):
    module = tf.Module()
    module.f = traced(BEHIND[way])
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures={"f": module.f})
    bundle = as_bundle(tmp_path / "sm", tmp_path / "m")
    (refusal,) = tf2obm.refusals(bundle, "tf_saved_model/")
    assert refusal.op == "ReadFile"
    assert "reads a file outside: constant '/etc/passwd'" in str(refusal)


def restores(x):
    (found,) = tf.raw_ops.RestoreV2(
        prefix="/a", tensor_names=["b"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    return found + x


def maps_a_file(x):
    return x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[], memory_region_name="/etc/x")


EFFECTS = {
    "EagerPyFunc": lambda x: tf.py_function(lambda v: v, [x], tf.float32),
    "PyFunc": lambda x: tf.numpy_function(lambda v: v, [x], tf.float32),
    "PyFuncStateless": lambda x: tf.numpy_function(lambda v: v, [x], tf.float32, stateful=False),
    "PrintV2": lambda x: (tf.print(x), x)[1],
    "WriteFile": lambda x: (tf.io.write_file("/tmp/x", "y"), x)[1],
    "MatchingFiles": lambda x: (tf.io.matching_files("/home/*"), x)[1],
    "Abort": lambda x: (tf.raw_ops.Abort(error_msg="bye"), x)[1],
    "TextLineDataset": lambda x: (next(iter(tf.data.TextLineDataset("/etc/passwd"))), x)[1],
    "RestoreV2": restores,
    "ImmutableConst": maps_a_file,
    "DebugIdentityV2": lambda x: tf.raw_ops.DebugIdentityV2(input=x, debug_urls=["file:///tmp/x"]),
}


@pytest.mark.parametrize(("op", "fn"), EFFECTS.items(), ids=EFFECTS)
def test_an_operation_with_an_effect_is_named(tmp_path, op, fn):
    module = tf.Module()
    module.f = traced(fn)
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures={"f": module.f})
    bundle = as_bundle(tmp_path / "sm", tmp_path / "m")
    assert op in {refusal.op for refusal in tf2obm.refusals(bundle, "tf_saved_model/")}


def save_unused_reader(path: Path, target: Path) -> None:
    module = tf.Module()
    module.f = traced(lambda x: x)
    module.unused = traced(
        lambda x: tf.zeros(tf.io.decode_raw(tf.io.read_file(str(path)), tf.int32)[:1]) + x
    )
    path.write_bytes(np.array([3], np.int32).tobytes())
    tf.saved_model.save(module, str(target), signatures={"f": module.f})


def test_a_file_that_mere_import_would_read_is_refused(tmp_path):
    save_unused_reader(tmp_path / "secret", tmp_path / "sm")
    facts = tf2obm.reachable((tmp_path / "sm" / "saved_model.pb").read_bytes(), ["f"])
    assert "ReadFile" in facts.load_ops
    bundle = as_bundle(tmp_path / "sm", tmp_path / "m")
    assert [refusal.op for refusal in tf2obm.refusals(bundle, "tf_saved_model/")] == ["ReadFile"]


def test_mere_import_does_read_the_file_of_a_function_that_nobody_calls(tmp_path):
    secret = tmp_path / "secret"
    save_unused_reader(secret, tmp_path / "sm")
    secret.unlink()
    os.mkfifo(secret)
    was_opened = threading.Event()

    def serve() -> None:
        # Opening a pipe for writing returns when somebody opens it for reading.
        descriptor = os.open(secret, os.O_WRONLY)
        was_opened.set()
        os.close(descriptor)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    tf.saved_model.load(str(tmp_path / "sm"))
    assert was_opened.wait(timeout=60)
    server.join()


def test_what_was_granted_runs(tmp_path):
    path = tmp_path / "written"
    module = tf.Module()
    module.f = traced(lambda x: (tf.io.write_file(str(path), "by consent"), x)[1])
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures={"f": module.f})
    as_bundle(tmp_path / "sm", tmp_path / "m")
    trust = obm.Trust(tf_ops={"WriteFile"})
    with obm.load(tmp_path / "m", trust=trust) as model:
        assert model.functions["f"](1.0) == 1.0
    assert path.read_text() == "by consent"


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside"])
def test_a_program_in_a_form_that_only_tensorflow_reads_is_refused(tmp_path, name, is_alone):
    module = tf.Module()
    module.f = traced(lambda x: (tf.io.write_file(str(tmp_path / "written"), "owned"), x)[1])
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures={"f": module.f})
    program = tmp_path / "sm" / "saved_model.pb"
    shutil.copy(program, tmp_path / "sm" / name)
    if is_alone:
        program.unlink()
    as_bundle(tmp_path / "sm", tmp_path / "m")
    trust = obm.Trust(tf_ops={"WriteFile"})
    with obm.load(tmp_path / "m", trust=trust) as model, pytest.raises(UntrustedError, match=name):
        model.functions["f"](1.0)
    assert not (tmp_path / "written").exists()
