"""SavedModels that do more than compute: each is refused before TensorFlow sees it.

What loading runs by itself is shown by letting TensorFlow load some of them: the file that the
attack writes is there afterwards.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import core, tf2obm
from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, UntrustedError

pytestmark = pytest.mark.frameworks

S = tf.TensorSpec
SCALAR = S([], tf.float32)


def traced(fn, *specs):
    return tf.function(fn, input_signature=specs or [SCALAR])


def as_bundle(saved_model: Path, target: Path) -> core.Bundle:
    """Packs a SavedModel, whatever is in it, beside an honest description of signature f."""
    target.mkdir()
    saved_model.rename(target / "tf_saved_model")
    record = core.GlobalSupplemental(tf2obm.tf_saved_model_as_obm_supplemental())
    options = core.SaveOptions(version=2, supplemental_info={layout.KEY_SAVED_MODEL: record})
    core.save({"f": _honest()}, target, options)
    return core.read(target)


@functools.cache
def _honest() -> core.OpaqueFunction:
    return tf2obm.convert_function("f", traced(lambda x: x))


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


# --------------------------------------------------------------------------- changed by hand


class Vocabulary(tf.Module):
    def __init__(self, folder: Path):
        super().__init__()
        (folder / "v.txt").write_text("a\nb\n")
        initializer = tf.lookup.TextFileInitializer(
            str(folder / "v.txt"),
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
        )  # fmt: skip
        self.table = tf.lookup.StaticHashTable(initializer, "?")
        self.weight = tf.Variable(1.0)

    @tf.function(input_signature=[SCALAR])
    def f(self, x):
        return self.table.lookup(tf.cast(x * self.weight, tf.int64))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> Path:
    """A SavedModel with a variable and a table from a file."""
    folder = tmp_path_factory.mktemp("vocabulary")
    module = Vocabulary(folder)
    tf.saved_model.save(module, str(folder / "sm"), signatures={"f": module.f})
    return folder / "sm"


@pytest.fixture
def changed(tmp_path, vocabulary):
    """Returns `changed(change)`: a bundle whose SavedModel's graph went through `change`."""

    def make(change) -> core.Bundle:
        shutil.copytree(vocabulary, tmp_path / "sm")
        program = tmp_path / "sm" / "saved_model.pb"
        saved_model = saved_model_pb2.SavedModel.FromString(program.read_bytes())
        change(saved_model.meta_graphs[0])
        program.write_bytes(saved_model.SerializeToString())
        return as_bundle(tmp_path / "sm", tmp_path / "m")

    return make


def reasons(bundle: core.Bundle) -> str:
    return "\n".join(map(str, tf2obm.refusals(bundle, "tf_saved_model/")))


def function(graph, part: str):
    return next(f for f in graph.graph_def.library.function if part in f.signature.name)


def evil(graph, name: str = "evil", op: str = "WriteFile"):
    """Adds a function to the library that the honest one does not call."""
    added = graph.graph_def.library.function.add()
    added.signature.name = name
    added.node_def.add(name="w", op=op)
    graph.object_graph_def.concrete_functions[name].SetInParent()
    return added


def evil_object(graph) -> int:
    """Adds an object that can be called, and runs the evil function then."""
    evil(graph)
    graph.object_graph_def.nodes.add().function.concrete_functions.append("evil")
    return len(graph.object_graph_def.nodes) - 1


def test_the_honest_bundle_is_not_refused(changed):
    assert reasons(changed(lambda graph: None)) == ""


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../../etc/passwd", "a/../../x", "..\\x", "C:/x", "gs://b/x"]
)
def test_an_asset_outside_of_the_saved_model_is_refused(changed, name):
    def change(graph):
        graph.asset_file_def[0].filename = name

    bundle = changed(change)
    with pytest.raises(InvalidBundleError):
        tf2obm.refusals(bundle, "tf_saved_model/")


def test_an_asset_that_is_a_link_to_the_outside_is_refused(changed, tmp_path):
    bundle = changed(lambda graph: None)
    (tmp_path / "secret").write_text("x")
    asset = tmp_path / "m" / "tf_saved_model" / "assets" / "v.txt"
    asset.unlink()
    asset.symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidBundleError, match="outside"):
        tf2obm.refusals(bundle, "tf_saved_model/")


def test_a_table_that_is_filled_from_a_constant_path_is_refused(changed):
    def change(graph):
        initializer = function(graph, "initializer")
        (fill,) = [n for n in initializer.node_def if n.op == "InitializeTableFromTextFileV2"]
        path = initializer.node_def.add(name="path", op="Const")
        path.attr["value"].tensor.string_val.append(b"/etc/passwd")
        fill.input[1] = "path:output:0"

    assert "reads a file outside: constant '/etc/passwd'" in reasons(changed(change))


def test_a_table_that_is_filled_from_another_capture_is_refused(changed):
    def change(graph):
        name = function(graph, "initializer").signature.name
        nodes = graph.object_graph_def.nodes
        (variable,) = [i for i, n in enumerate(nodes) if n.WhichOneof("kind") == "variable"]
        captures = graph.object_graph_def.concrete_functions[name].bound_inputs
        captures[:] = [variable for _ in captures]

    assert "reads a file outside: unknown name" in reasons(changed(change))


def add_method(graph):
    graph.object_graph_def.nodes[0].children.add(
        local_name="_trackable_children", node_id=evil_object(graph)
    )


def add_callable_method(graph):
    function_id = evil_object(graph)
    holder = graph.object_graph_def.nodes.add()
    holder.user_object.identifier = "_generic_user_object"
    holder.children.add(local_name="__call__", node_id=function_id)
    holder_id = len(graph.object_graph_def.nodes) - 1
    graph.object_graph_def.nodes[0].children.add(
        local_name="_restore_from_tensors", node_id=holder_id
    )


def add_to_variable(graph):
    variable = next(n for n in graph.object_graph_def.nodes if n.WhichOneof("kind") == "variable")
    variable.children.add(local_name="assign", node_id=evil_object(graph))


def add_dependency(graph):
    table = next(n for n in graph.object_graph_def.nodes if n.WhichOneof("kind") == "resource")
    table.dependencies.add(local_name="_create_resource", node_id=evil_object(graph))


def add_saveable(graph):
    saveable = graph.object_graph_def.nodes[0].saveable_objects["state"]
    saveable.restore_function = saveable.save_function = evil_object(graph)


def add_second_initializer(graph):
    nodes = graph.object_graph_def.nodes
    function_node = next(
        nodes[child.node_id].function
        for node in nodes
        for child in node.children
        if child.local_name == "_initialize"
    )
    evil(graph)
    function_node.concrete_functions.append("evil")


def call_by_operation_name(graph):
    evil(graph)
    function(graph, "initializer").node_def.add(name="c", op="evil")


def call_in_a_list(graph):
    evil(graph)
    node = function(graph, "initializer").node_def.add(name="c", op="StatelessCase")
    node.attr["branches"].list.func.add().name = "evil"


def call_in_an_attribute_of_a_function(graph):
    evil(graph)
    node = function(graph, "initializer").node_def.add(name="c", op="PartitionedCall")
    node.attr["f"].func.name = function(graph, "destroyer").signature.name
    node.attr["f"].func.attr["g"].func.name = "evil"


def swap_by_interface(graph):
    evil(graph).attr["api_implements"].s = b"other"
    function(graph, "initializer").attr["api_implements"].s = b"any"


WAYS_TO_RUN = [
    add_method, add_callable_method, add_to_variable, add_dependency, add_saveable,
    add_second_initializer, call_by_operation_name, call_in_a_list,
    call_in_an_attribute_of_a_function, swap_by_interface,
]  # fmt: skip


@pytest.mark.parametrize("change", WAYS_TO_RUN)
def test_every_way_to_have_a_function_run_by_loading_is_seen(changed, change):
    assert "WriteFile in function 'evil', run by loading it" in reasons(changed(change))


def rename_class(graph):
    graph.object_graph_def.nodes[0].registered_name = "keras.Evil"


def rename_saver(graph):
    graph.object_graph_def.nodes[0].registered_saver = "tf.TPUEmbeddingCallback"


def rename_object(graph):
    graph.object_graph_def.nodes[0].user_object.identifier = "optimizer"


def add_slots(graph):
    graph.object_graph_def.nodes[0].slot_variables.add(slot_name="m")


def call_nothing(graph):
    node = function(graph, "initializer").node_def.add(name="c", op="PartitionedCall")
    node.attr["f"].func.name = "not_there"


def repeat_a_function(graph):
    evil(graph, function(graph, "initializer").signature.name)


def hold_a_handle(graph):
    node = function(graph, "initializer").node_def.add(name="c", op="Const")
    node.attr["value"].tensor.resource_handle_val.add(name="another_model")


def hold_a_variant(graph):
    node = function(graph, "initializer").node_def.add(name="c", op="Const")
    node.attr["value"].tensor.variant_val.add(type_name="tensorflow::Anything")


def signature_of_nothing(graph):
    nodes = graph.object_graph_def.nodes
    signatures = next(n for n in nodes if n.user_object.identifier == "signature_map")
    signatures.children.add(local_name="g", node_id=10_000)


UNFOLLOWED = {
    rename_class: "is made by class 'keras.Evil'",
    rename_saver: "is restored by 'tf.TPUEmbeddingCallback'",
    rename_object: "is a 'optimizer'",
    add_slots: "is an optimizer",
    call_nothing: "calls function 'not_there', which is not there",
    repeat_a_function: "is defined more than once",
    hold_a_handle: "holds a constant that refers to other objects",
    hold_a_variant: "holds a constant that refers to other objects",
    signature_of_nothing: "signature 'g', which leads to no function",
}


@pytest.mark.parametrize(
    ("change", "reason"), UNFOLLOWED.items(), ids=lambda v: getattr(v, "__name__", "")
)
def test_what_cannot_be_followed_is_refused_and_cannot_be_granted(changed, change, reason):
    bundle = changed(change)
    assert reason in reasons(bundle)
    granted = tf2obm.refusals(bundle, "tf_saved_model/", allow={"WriteFile", "ReadFile"})
    assert reason in "\n".join(map(str, granted))


def test_the_error_names_operation_function_and_option(changed, tmp_path):
    changed(call_by_operation_name)
    with obm.load(tmp_path / "m") as model, pytest.raises(UntrustedError) as caught:
        model.functions["f"](1.0)
    for part in ("WriteFile", "'evil'", "Trust(tf_ops={'WriteFile'})"):
        assert part in str(caught.value)


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
