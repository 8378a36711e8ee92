"""Takes paths of the author's machine out of a SavedModel.

A table that is filled from a file is named after the file's whole path. The name only has to be the
same wherever the table is meant, so another one does as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from orbax_model_lite._proto import saved_model_pb2

_SHARED_NAME = "shared_name"
_WITH_FOLDER = re.compile(rb"(hash_table_)(?=.*[/\\])|(?=/|[A-Za-z]:[/\\]|\\\\)", re.DOTALL)


def without_author_paths(content: bytes) -> bytes:
    """Returns the bytes of a `saved_model.pb` with every folder cut from the names of tables.

    Names that would become equal are counted, so tables that were two stay two. Everything that our
    descriptor does not know is kept. Content without such names is returned as it is.

    Args:
      content: A SavedModel that TensorFlow has just written.
    """
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString(content)
    renamed: dict[bytes, bytes] = {}
    taken: set[bytes] = set()
    nodes = list(_nodes(saved_model))
    names = sorted({node.attr[_SHARED_NAME].s for node in nodes if _SHARED_NAME in node.attr})
    for name in names:
        short = _without_folder(name)
        free, count = short, 0
        while free in taken or (free != name and free in names):
            count += 1
            free = b"%s_%d" % (short, count)
        taken.add(free)
        renamed[name] = free
    if all(before == after for before, after in renamed.items()):
        return content
    for node in nodes:
        if _SHARED_NAME in node.attr:
            node.attr[_SHARED_NAME].s = renamed[node.attr[_SHARED_NAME].s]
    return saved_model.SerializeToString(deterministic=True)


def _without_folder(name: bytes) -> bytes:
    found = _WITH_FOLDER.match(name)
    if found is None:
        return name
    return (found[1] or b"") + re.split(rb"[/\\]", name)[-1]


def _nodes(saved_model: saved_model_pb2.SavedModel) -> Iterator[saved_model_pb2.NodeDef]:
    for graph in saved_model.meta_graphs:
        yield from graph.graph_def.node
        for function in graph.graph_def.library.function:
            yield from function.node_def
