"""What is recorded about a StableHLO module: custom calls, operations, constants, rules, meshes.

The record is plain, so that a bundle can be shown without a framework. Computing the facts from a
module needs MLIR and is in `stablehlo.facts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantFact:
    """One constant inside a module.

    Attributes:
      shape: Sizes from major to minor.
      dtype: MLIR's element type, such as "f32".
      size_bytes: What it occupies; a constant with one repeated value occupies one element.
      scope: The scope it came from, such as "jit(f)/layer_1"; "" where it is not known.
    """

    shape: tuple[int, ...]
    dtype: str
    size_bytes: int
    scope: str = ""

    def __str__(self) -> str:
        """Returns for example "f32 [1024, 512] (2.1 MB) from jit(f)/layer_1"."""
        where = f" from {self.scope}" if self.scope else ""
        sizes = ", ".join(map(str, self.shape))
        return f"{self.dtype} [{sizes}] ({self.size_bytes / 1e6:.1f} MB){where}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFact:
    """A mesh that a module declares.

    Attributes:
      name: Its symbol in the module.
      axes: (name, size) of every axis, in mesh order.
    """

    name: str
    axes: tuple[tuple[str, int], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts:
    """Facts about one StableHLO module; everything in it is counted, called or not.

    Attributes:
      stablehlo_version: What the module is written at, such as "1.15.0"; "" for text.
      custom_calls: Target of custom calls, to the number of them.
      operations: Name of an operation such as "stablehlo.add", to the number of them.
      constant_bytes: Size of all constants.
      largest_constants: The five largest ones of at least 1 KiB, largest first.
      derivative_rules: Name of a marked derivative rule, to the number of places that use it.
      meshes: Declared meshes, in order of their names.
      has_manual_computations: Whether a part is written for one device's share (shard_map).
    """

    stablehlo_version: str = ""
    custom_calls: Mapping[str, int] = field(default_factory=dict)
    operations: Mapping[str, int] = field(default_factory=dict)
    constant_bytes: int = 0
    largest_constants: tuple[ConstantFact, ...] = ()
    derivative_rules: Mapping[str, int] = field(default_factory=dict)
    meshes: tuple[MeshFact, ...] = ()
    has_manual_computations: bool = False

    def to_data(self) -> Data:
        """Returns the payload of a function's supplemental; equal facts give equal bytes."""
        proto = bundle_info_pb2.ModuleFacts(
            stablehlo_version=self.stablehlo_version,
            custom_calls=self.custom_calls,
            operations=self.operations,
            constant_bytes=self.constant_bytes,
            largest_constants=[
                bundle_info_pb2.Constant(
                    shape=c.shape, dtype=c.dtype, size_bytes=c.size_bytes, scope=c.scope
                )
                for c in self.largest_constants
            ],
            derivative_rules=self.derivative_rules,
            meshes=[_mesh_to_proto(mesh) for mesh in self.meshes],
            has_manual_computations=self.has_manual_computations,
        )
        return records.to_data(proto, layout.MIME_MODULE_FACTS)

    @classmethod
    def from_payload(cls, payload: bytes) -> ModuleFacts:
        """Returns the facts that a supplemental holds; the inverse of `to_data`.

        Raises:
          InvalidBundleError: If the bytes do not parse.
        """
        where = f"supplemental {layout.KEY_MODULE_FACTS!r}"
        proto = records.parsed(bundle_info_pb2.ModuleFacts(), payload, where)
        return cls(
            stablehlo_version=proto.stablehlo_version,
            custom_calls=dict(proto.custom_calls),
            operations=dict(proto.operations),
            constant_bytes=proto.constant_bytes,
            largest_constants=tuple(
                ConstantFact(
                    shape=tuple(c.shape), dtype=c.dtype, size_bytes=c.size_bytes, scope=c.scope
                )
                for c in proto.largest_constants
            ),
            derivative_rules=dict(proto.derivative_rules),
            meshes=tuple(_mesh_from_proto(mesh) for mesh in proto.meshes),
            has_manual_computations=proto.has_manual_computations,
        )


def _mesh_to_proto(mesh: MeshFact) -> bundle_info_pb2.Mesh:
    axes = [bundle_info_pb2.MeshAxis(name=name, size=size) for name, size in mesh.axes]
    return bundle_info_pb2.Mesh(name=mesh.name, axes=axes)


def _mesh_from_proto(proto: bundle_info_pb2.Mesh) -> MeshFact:
    return MeshFact(name=proto.name, axes=tuple((axis.name, axis.size) for axis in proto.axes))
