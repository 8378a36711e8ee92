"""Signatures for eyes: a tree with a line a leaf, and a line that does not grow with the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from orbax_model_lite._proto import bundle_info_pb2, sharding_pb2
from orbax_model_lite.core import records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import ConcreteFunction
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.core.signature import Signature, brief
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, children, leaves

__all__ = ["SignatureLine", "brief", "plain_signature_lines", "signature_lines"]

ReadBytes: TypeAlias = Callable[[Data], bytes]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One line of a signature's tree.

    Attributes:
      depth: Containers around it.
      key: Its name or index in its container.
      kind: "dict", "tuple", "list", "pairs" or "None" of a container, "array" or "token" of a leaf.
      dtype: Of an array: the element type, such as "float32" or "key<fry>".
      shape: Of an array: "[b, 28, 28]", with "?" for unknown sizes.
      sharding: Of an array: "P('x', None)", "tiles [2, 1]", "replicated"; "" where unspecified.
    """

    depth: int
    key: str
    kind: str
    dtype: str = ""
    shape: str = ""
    sharding: str = ""


def signature_lines(
    function: ConcreteFunction, read: ReadBytes
) -> tuple[list[SignatureLine], list[SignatureLine]]:
    """Returns the lines of a function's inputs and of its outputs.

    Args:
      function: Of a bundle.
      read: Gives the bytes of its records (`Bundle.read_bytes`).

    Raises:
      InvalidBundleError: If a record is damaged.
    """
    # A description of a bundle names no argument, and does not wait for this.
    from orbax_model_lite.orchestration import parameter_names

    signature = function.signature
    inputs, outputs = _placements(function, read)
    names = parameter_names(function, read)
    found: list[SignatureLine] = []
    position = 0
    for key, tree in _keyed(signature, names):
        count = len(leaves(tree))
        placed = {i: inputs[position + i] for i in range(count) if position + i in inputs}
        found += _lines(tree, placed, key)
        position += count
    return found, _lines(signature.outputs, outputs)


def plain_signature_lines(
    signature: Signature,
) -> tuple[list[SignatureLine], list[SignatureLine]]:
    """Returns the lines of the inputs and of the outputs as far as the signature itself tells."""
    found: list[SignatureLine] = []
    for key, tree in _keyed(signature, ()):
        found += _lines(tree, {}, key)
    return found, _lines(signature.outputs, {})


def _keyed(signature: Signature, names: Sequence[str | None]) -> list[tuple[str, Tree]]:
    """Returns each argument with its key: "0 params", "1", "x="."""
    if not signature.has_call_form:
        return [("", signature.inputs)]
    keyed: list[tuple[str, Tree]] = []
    for i, argument in enumerate(signature.args):
        name = names[i] if i < len(names) else None
        keyed.append((f"{i} {name}" if name else f"{i}", argument))
    return keyed + [(f"{name}=", tree) for name, tree in sorted(signature.kwargs.items())]


def _lines(tree: Tree, placements: Mapping[int, str], key: str = "") -> list[SignatureLine]:
    """Walks with a stack of its own: a stranger's tree may be deep."""
    found: list[SignatureLine] = []
    stack: list[tuple[int, str, Tree]] = [(0, key, tree)]
    position = 0
    while stack:
        depth, name, node = stack.pop()
        below = children(node)
        if below is not None:
            kind = "pairs" if hasattr(node, "pairs") else type(node).__name__
            found.append(SignatureLine(depth=depth, key=name, kind=kind))
            stack.extend((depth + 1, str(key), child) for key, child in reversed(below))
        elif node is None:
            found.append(SignatureLine(depth=depth, key=name, kind="None"))
        else:
            found.append(_leaf_line(depth, name, node, placements.get(position, "")))
            position += 1
    return found


def _leaf_line(depth: int, key: str, leaf: Any, placement: str) -> SignatureLine:
    if not isinstance(leaf, Spec):
        return SignatureLine(depth=depth, key=key, kind="token")
    dtype, _, shape = str(leaf).partition(" ")
    return SignatureLine(
        depth=depth,
        key=key,
        kind="array",
        dtype=dtype,
        shape=shape,
        sharding=placement or _sharding(leaf.sharding),
    )


def _sharding(raw: bytes | None) -> str:
    if raw is None:
        return ""
    if not raw:
        return "replicated"
    proto = records.parsed(sharding_pb2.OpSharding(), raw, "sharding")
    if not proto.tile_assignment_dimensions:
        kind = sharding_pb2.OpSharding.Type.DESCRIPTOR.values_by_number.get(proto.type)
        return f"kind {proto.type}" if kind is None else kind.name.lower()
    return f"tiles {list(proto.tile_assignment_dimensions)}"


def _placements(
    function: ConcreteFunction, read: ReadBytes
) -> tuple[dict[int, str], dict[int, str]]:
    trees = jax_trees_record(function, read)
    return dict(_named(trees.inputs)), dict(_named(trees.outputs))


def _named(leaves: Mapping[int, bundle_info_pb2.LeafPlacement]) -> Iterator[tuple[int, str]]:
    for position, placement in leaves.items():
        if not placement.HasField("partition_spec"):
            continue
        dimensions = [
            "?" if dim.is_unconstrained else _axes(dim.axes)
            for dim in placement.partition_spec.dimensions
        ]
        memory = f" on {placement.memory_kind}" if placement.HasField("memory_kind") else ""
        yield position, f"P({', '.join(dimensions)}){memory}"


def _axes(axes: Any) -> str:
    names = [repr(str(axis)) for axis in axes]
    if len(names) == 1:
        return names[0]
    return f"({', '.join(names)})" if names else "None"
