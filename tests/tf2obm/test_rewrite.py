"""Paths of the author's machine are cut from the names of tables, and from nothing else."""

from __future__ import annotations

import pytest

from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.tf2obm.rewrite import without_author_paths


def saved_model(*names: bytes) -> bytes:
    message = saved_model_pb2.SavedModel()
    graph = message.meta_graphs.add().graph_def
    for name in names:
        graph.node.add(op="HashTableV2").attr["shared_name"].s = name
        function = graph.library.function.add()
        function.node_def.add(op="HashTableV2").attr["shared_name"].s = name
    graph.node.add(op="Const").attr["value"].s = b"/home/me/data"
    return message.SerializeToString(deterministic=True)


def names_after(*names: bytes) -> list[bytes]:
    message = saved_model_pb2.SavedModel.FromString(without_author_paths(saved_model(*names)))
    graph = message.meta_graphs[0].graph_def
    in_graph = [node.attr["shared_name"].s for node in graph.node if node.op == "HashTableV2"]
    in_functions = [f.node_def[0].attr["shared_name"].s for f in graph.library.function]
    assert in_graph == in_functions
    return in_graph


@pytest.mark.parametrize(
    ("name", "after"),
    [
        (b"hash_table_/home/me/v.txt_-2_-1", b"hash_table_v.txt_-2_-1"),
        (b"hash_table_data/v.txt_-2_-1", b"hash_table_v.txt_-2_-1"),
        (rb"hash_table_C:\me\v.txt_-2_-1", b"hash_table_v.txt_-2_-1"),
        (b"hash_table_gs://mine/v.txt_-2_-1", b"hash_table_v.txt_-2_-1"),
        (b"/home/me/table", b"table"),
        (b"dense/kernel", b"dense/kernel"),
        (b"hash_table_v.txt_-2_-1", b"hash_table_v.txt_-2_-1"),
        (b"table_8d2f", b"table_8d2f"),
    ],
)
def test_a_folder_is_cut_from_a_name(name, after):
    assert names_after(name) == [after]


def test_names_that_would_become_equal_stay_different():
    found = names_after(
        b"hash_table_/a/v_0", b"hash_table_/b/v_0", b"hash_table_v_0", b"hash_table_/a/v_0"
    )
    assert found == [
        b"hash_table_v_0_1",
        b"hash_table_v_0_2",
        b"hash_table_v_0",
        b"hash_table_v_0_1",
    ]


def test_without_a_path_nothing_is_changed():
    before = saved_model(b"hash_table_v", b"dense/kernel")
    assert without_author_paths(before) is before


def test_other_attributes_are_left_alone():
    after = without_author_paths(saved_model(b"hash_table_/a/v"))
    nodes = saved_model_pb2.SavedModel.FromString(after).meta_graphs[0].graph_def.node
    assert nodes[-1].attr["value"].s == b"/home/me/data"
