"""SavedModels whose file was changed by hand: nothing that loading would run is overlooked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import core, tf2obm
from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.errors import InvalidBundleError, UntrustedError
from tests.attacks.saved_models import SCALAR, as_bundle

pytestmark = pytest.mark.frameworks


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
