"""Our record of what JAX knew of a function's inputs and outputs and the manifest has no field for.

Node kinds, named shardings, symbolic constraints and argument names: the noun and both directions
of its payload. Making trees plain is in `trees`, sharding bytes of the manifest in `shardings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, final

from jax.sharding import NamedSharding, PartitionSpec

from orbax_model_lite._proto import bundle_info_pb2 as info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.tree import Path, format_path
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes.shardings import MeshAxes, MeshAxis, mesh_axes
from orbax_model_lite.jaxtypes.trees import Kinds, NodeKind


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one leaf lives.

    Attributes:
      spec: Mesh axes by dimension.
      memory_kind: Such as "pinned_host"; None is the device's own.
    """

    spec: PartitionSpec
    memory_kind: str | None = None


Placements: TypeAlias = Mapping[int, Placement]
"""By flat leaf position; leaves without a named sharding are left out."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JaxTrees:
    """What JAX knew of the author's inputs and outputs before they became plain trees.

    Attributes:
      axes: Of the mesh that the placements speak of.
      inputs: Placements of input leaves.
      outputs: Placements of output leaves.
      input_kinds: Nodes of the input tree `(args, kwargs)` that were not plain.
      output_kinds: Nodes of the output tree that were not plain.
      constraints: On symbolic dimensions, as JAX spells them.
      argument_names: Of the positional arguments, in order; "" where one had none.
    """

    axes: MeshAxes = ()
    inputs: Placements = field(default_factory=dict)
    outputs: Placements = field(default_factory=dict)
    input_kinds: Mapping[str, NodeKind] = field(default_factory=dict)
    output_kinds: Mapping[str, NodeKind] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    argument_names: tuple[str, ...] = ()

    def to_data(self) -> Data:
        """Returns the payload of a function's supplemental; equal records give equal bytes."""
        proto = info_pb2.JaxTrees(
            mesh_axes=[
                info_pb2.MeshAxis(name=axis.name, size=axis.size, axis_type=axis.axis_type)
                for axis in self.axes
            ],
            inputs={i: _placement_to_proto(p) for i, p in self.inputs.items()},
            outputs={i: _placement_to_proto(p) for i, p in self.outputs.items()},
            input_nodes={path: _kind_to_proto(kind) for path, kind in self.input_kinds.items()},
            output_nodes={path: _kind_to_proto(kind) for path, kind in self.output_kinds.items()},
            symbolic_constraints=self.constraints,
            argument_names=self.argument_names,
        )
        return records.to_data(proto, layout.MIME_JAX_TREES)

    @classmethod
    def from_payload(cls, payload: bytes, where: str) -> JaxTrees:
        """Returns the record that a supplemental holds; the inverse of `to_data`.

        Raises:
          InvalidBundleError: If the bytes do not parse.
        """
        place = f"{where}: supplemental {layout.KEY_JAX_TREES!r}"
        proto = records.parsed(info_pb2.JaxTrees(), payload, place)
        return cls(
            axes=tuple(
                MeshAxis(name=axis.name, size=axis.size, axis_type=axis.axis_type)
                for axis in proto.mesh_axes
            ),
            inputs={i: _placement_from_proto(p) for i, p in proto.inputs.items()},
            outputs={i: _placement_from_proto(p) for i, p in proto.outputs.items()},
            input_kinds={path: _kind_from_proto(kind) for path, kind in proto.input_nodes.items()},
            output_kinds={p: _kind_from_proto(kind) for p, kind in proto.output_nodes.items()},
            constraints=tuple(proto.symbolic_constraints),
            argument_names=tuple(proto.argument_names),
        )


def trees_of(function: ShloFunction, where: str, read: Callable[[Data], bytes | None]) -> JaxTrees:
    """Returns the record of a function; an empty one where another writer left none.

    Args:
      function: Of a bundle, or in memory.
      where: The function, as the beginning of a message.
      read: Gives the bytes of a payload, or None where it cannot be had.

    Raises:
      InvalidBundleError: If the record does not parse.
    """
    found = function.supplementals.get(layout.KEY_JAX_TREES)
    payload = None if found is None else read(found.data)
    return JaxTrees() if payload is None else JaxTrees.from_payload(payload, where)


def in_memory(data: Data) -> bytes | None:
    """Returns the bytes of a payload that is in no file, for `trees_of`."""
    return data.inline_bytes


def with_trees(function: ShloFunction, trees: JaxTrees) -> ShloFunction:
    """Returns a function with another record in the place of its own."""
    own = function.supplementals[layout.KEY_JAX_TREES]
    changed = {**function.supplementals, layout.KEY_JAX_TREES: replace(own, data=trees.to_data())}
    return replace(function, supplementals=changed)


def path_text(path: Path) -> str:
    r"""Returns a path as the record spells it: joined with dots, dots of a key as `\.`.

    >>> path_text((0, "layer.1", "kernel"))
    '0.layer\\.1.kernel'
    """
    return ".".join(str(part).replace("\\", r"\\").replace(".", r"\.") for part in path)


def input_name(path: Path, argument_names: Sequence[str]) -> str:
    """Returns for example "params.kernel" for (0, 0, "kernel") where argument 0 is "params"."""
    side, *rest = path
    if side == 0 and rest and isinstance(rest[0], int):
        named = argument_names[rest[0]] if rest[0] < len(argument_names) else ""
        rest[0] = named or rest[0]
    return format_path(tuple(rest))


def kinds_by_text(kinds: Kinds) -> dict[str, NodeKind]:
    """Returns node kinds by the record's spelling of their paths."""
    return {path_text(path): kind for path, kind in kinds.items()}


def placements(shardings: Sequence[NamedSharding | None]) -> dict[int, Placement]:
    """Returns the placements of leaves from their shardings, which are over one mesh."""
    return {
        i: Placement(spec=sharding.spec, memory_kind=sharding.memory_kind)
        for i, sharding in enumerate(shardings)
        if sharding is not None
    }


def shared_axes(shardings: Sequence[NamedSharding | None], where: str) -> MeshAxes:
    """Returns the axes of the mesh that all shardings speak of; none without shardings.

    Raises:
      InvalidModelError: If they speak of different meshes.
    """
    found = {mesh_axes(sharding.mesh): None for sharding in shardings if sharding is not None}
    found.pop((), None)
    if len(found) > 1:
        first, second, *_ = (_mesh_text(axes) for axes in found)
        raise InvalidModelError(
            f"{where}: expected shardings over one mesh; found {first} and {second}; "
            "use one mesh for all inputs and outputs"
        )
    return next(iter(found), ())


def _mesh_text(axes: MeshAxes) -> str:
    return "(" + ", ".join(f"{axis.name}={axis.size}" for axis in axes) + ")"


def _placement_to_proto(placement: Placement) -> info_pb2.LeafPlacement:
    dimensions = [_dimension(entry) for entry in placement.spec.partitions]
    spec = info_pb2.PartitionSpec(dimensions=dimensions)
    return info_pb2.LeafPlacement(partition_spec=spec, memory_kind=placement.memory_kind)


def _dimension(entry: Any) -> info_pb2.PartitionSpec.Dimension:
    if entry is PartitionSpec.UNCONSTRAINED:
        return info_pb2.PartitionSpec.Dimension(is_unconstrained=True)
    axes = () if entry is None else entry if isinstance(entry, tuple) else (entry,)
    return info_pb2.PartitionSpec.Dimension(axes=[str(axis) for axis in axes])


def _placement_from_proto(proto: info_pb2.LeafPlacement) -> Placement:
    entries = [_entry(dimension) for dimension in proto.partition_spec.dimensions]
    kind = proto.memory_kind if proto.HasField("memory_kind") else None
    return Placement(spec=PartitionSpec(*entries), memory_kind=kind)


def _entry(dimension: info_pb2.PartitionSpec.Dimension) -> Any:
    if dimension.is_unconstrained:
        return PartitionSpec.UNCONSTRAINED
    axes = tuple(dimension.axes)
    return None if not axes else axes[0] if len(axes) == 1 else axes


def _kind_to_proto(kind: NodeKind) -> info_pb2.NodeKind:
    return info_pb2.NodeKind(kind=kind.kind, children=kind.children)


def _kind_from_proto(proto: info_pb2.NodeKind) -> NodeKind:
    return NodeKind(kind=proto.kind, children=tuple(proto.children))
