"""A SavedModel's program as it lies on disk, read with our own descriptor and without TensorFlow.

Knows functions, the tree of objects and the signatures, and refuses what is not a SavedModel. What
may run, and when, is `graph`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from google.protobuf.message import DecodeError

from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.errors import InvalidBundleError

PROGRAM_FILE: Final = "saved_model.pb"
"""The file that holds the program, in the SavedModel's folder."""

OTHER_PROGRAM_FILES: Final = ("saved_model.cpb", "saved_model.pbtxt")
"""Other forms of a program that a loader of TensorFlow may take: in chunks, or as text."""

ASSETS_FOLDER: Final = "assets/"
"""Where files lie that the program reads, in the SavedModel's folder."""

SIGNATURES: Final = "signatures"

_FUNCTION_KINDS = frozenset({"function", "bare_concrete_function"})


@final
@dataclass(frozen=True, slots=True)
class Program:
    """The one graph of a SavedModel that was written by TensorFlow 2.

    Attributes:
      meta_graph: The message as it was parsed.
      functions: The function library by name.
      repeated: Names that the library defines more than once.
    """

    meta_graph: saved_model_pb2.MetaGraphDef
    functions: dict[str, saved_model_pb2.FunctionDef]
    repeated: tuple[str, ...]

    @property
    def nodes(self) -> list[saved_model_pb2.SavedObject]:
        """The objects; the first is the root."""
        return list(self.meta_graph.object_graph_def.nodes)

    @property
    def assets(self) -> tuple[str, ...]:
        """File names below the SavedModel's folder of assets, as the program gives them."""
        return tuple(asset.filename for asset in self.meta_graph.asset_file_def)

    def functions_of(self, node_id: int) -> tuple[str, ...]:
        """Returns the library functions that calling this object may run, if it can be called.

        An object with a child `__call__` is called through that child.
        """
        nodes = self.meta_graph.object_graph_def.nodes
        if not 0 <= node_id < len(nodes):
            return ()
        node = nodes[node_id]
        kind = node.WhichOneof("kind")
        if kind == "function":
            return tuple(node.function.concrete_functions)
        if kind == "bare_concrete_function":
            return (node.bare_concrete_function.concrete_function_name,)
        called = [child.node_id for child in node.children if child.local_name == "__call__"]
        return tuple(
            name
            for child in called
            if 0 <= child < len(nodes) and nodes[child].WhichOneof("kind") in _FUNCTION_KINDS
            for name in self.functions_of(child)
        )

    def signatures(self) -> dict[str, tuple[str, ...]]:
        """Returns the library functions behind each signature that loading makes callable."""
        found: dict[str, tuple[str, ...]] = {}
        nodes = self.meta_graph.object_graph_def.nodes
        for child in nodes[0].children:
            if child.local_name == SIGNATURES and 0 <= child.node_id < len(nodes):
                for entry in nodes[child.node_id].children:
                    before = found.get(entry.local_name, ())
                    found[entry.local_name] = before + self.functions_of(entry.node_id)
        return found

    def defaults(self, signature: str) -> dict[str, bytes]:
        """Returns recorded default values of a signature's inputs, as TensorProto bytes by name."""
        definition = self.meta_graph.signature_def.get(signature)
        if definition is None:
            return {}
        return {name: value.SerializeToString() for name, value in definition.defaults.items()}


def parse(content: bytes, where: str = "SavedModel") -> Program:
    """Returns the program in the bytes of a `saved_model.pb`.

    Args:
      content: All bytes of the file.
      where: Beginning of a message.

    Raises:
      InvalidBundleError: If they do not parse, or hold another number of graphs than one, or no
        tree of objects, as SavedModels of TensorFlow 1 do.
    """
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(content)
    except DecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected {PROGRAM_FILE} to be a SavedModel; found {len(content)} bytes that "
            "do not parse; the bundle is damaged, save it again"
        ) from e
    graphs = saved_model.meta_graphs
    if len(graphs) != 1 or not graphs[0].object_graph_def.nodes:
        found = f"{len(graphs)} graphs" if len(graphs) != 1 else "a graph without objects"
        raise InvalidBundleError(
            f"{where}: expected one graph with a tree of objects, as TensorFlow 2 writes it; found "
            f"{found}; load it in TensorFlow and save it again"
        )
    library = list(graphs[0].graph_def.library.function)
    functions = {function.signature.name: function for function in library}
    return Program(
        meta_graph=graphs[0],
        functions=functions,
        repeated=tuple(_repeated(function.signature.name for function in library)),
    )


def attributes(
    node: saved_model_pb2.NodeDef | saved_model_pb2.NameAttrList,
) -> Iterator[saved_model_pb2.AttrValue]:
    """Yields a node's attributes, those that belong to functions named in it included."""
    pending = list(node.attr.values())
    while pending:
        value = pending.pop()
        yield value
        for function in (*value.list.func, *([value.func] if value.HasField("func") else [])):
            pending.extend(function.attr.values())


def called_functions(node: saved_model_pb2.NodeDef) -> Iterator[str]:
    """Yields the names of the functions that a node's attributes name."""
    for value in attributes(node):
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice.setdefault(name)
        seen.add(name)
    return list(twice)
