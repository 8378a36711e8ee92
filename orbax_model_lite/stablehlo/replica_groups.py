"""Replica groups of collectives, written out as lists of devices.

JAX 0.12 names the mesh axes that a collective runs over; older StableHLO versions, the one that
modules are written at among them, know only lists of device numbers.
"""

from __future__ import annotations

import numpy as np
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.stablehlo.module import mesh_axes, meshes, operations

_ATTRIBUTE = "replica_groups"


def write_out_replica_groups(module: ir.Module) -> None:
    """Replaces mesh axes in the replica groups of collectives by device numbers, in place.

    Raises:
      UnsupportedError: If a group runs over a part of a mesh axis.
    """
    by_axes = getattr(stablehlo, "ReplicaGroupMeshAxesAttr", None)
    if by_axes is None:
        return
    for operation in operations(module):
        if _ATTRIBUTE in operation.attributes:
            attribute = operation.attributes[_ATTRIBUTE]
            if by_axes.isinstance(attribute):
                operation.attributes[_ATTRIBUTE] = _device_lists(by_axes(attribute), module)


def _device_lists(groups: stablehlo.ReplicaGroupMeshAxesAttr, module: ir.Module) -> ir.Attribute:
    sizes, devices = _mesh(groups.mesh, module)
    names = []
    for axis in ir.ArrayAttr(groups.axes):
        reference = stablehlo.AxisRefAttr(axis)
        if reference.sub_axis_info is not None:
            raise UnsupportedError(
                f"collective over {groups}: expected whole mesh axes; found a part of axis "
                f"{reference.name!r}; split the mesh axis in two instead"
            )
        names.append(reference.name)
    order = list(sizes)
    grid = devices.reshape(list(sizes.values()))
    # Devices of one group differ along the named axes, the first of which is the major one.
    moved = np.moveaxis(grid, [order.index(name) for name in names], range(-len(names), 0))
    width = int(np.prod([sizes[name] for name in names], dtype=np.int64))
    table = np.ascontiguousarray(moved.reshape(-1, width), np.int64)
    with module.context:
        # The stubs leave out that a buffer is taken.
        return ir.DenseElementsAttr.get(table)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _mesh(attribute: ir.Attribute, module: ir.Module) -> tuple[dict[str, int], np.ndarray]:
    """Returns the axes of a mesh, written in place or by its symbol, and its devices in order."""
    if isinstance(attribute, ir.FlatSymbolRefAttr):
        mesh = meshes(module)[ir.FlatSymbolRefAttr(attribute).value]
        sizes, devices = dict(mesh_axes(mesh)), list(mesh.device_ids)
    else:
        mesh = stablehlo.MeshAttr(attribute)
        axes = map(stablehlo.MeshAxisAttr, ir.ArrayAttr(mesh.axes))
        sizes = {axis.name: axis.size for axis in axes}
        given = mesh.device_ids
        devices = list(map(int, np.array(given))) if isinstance(given, ir.Attribute) else []
    count = int(np.prod(list(sizes.values()), dtype=np.int64))
    return sizes, np.array(devices or range(count), np.int64)
