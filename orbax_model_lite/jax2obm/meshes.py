"""The mesh that a sharded function runs on here, and its leaves' shardings over it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from orbax_model_lite.core.device import Device
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees, Placement
from orbax_model_lite.jaxtypes.shardings import (
    MeshAxes,
    MeshAxis,
    invented_axes,
    to_partition_spec,
)
from orbax_model_lite.stablehlo.facts import facts


def mesh_for(
    function: ShloFunction,
    module: bytes,
    trees: JaxTrees,
    devices: Sequence[Any],
    *,
    given: Mesh | None,
    where: str,
) -> Mesh:
    """Returns the mesh of concrete devices that a function for several devices runs on.

    Args:
      function: With `jax.device_count` above one.
      module: Its portable artifact.
      trees: What is recorded about its shardings; a foreign bundle records nothing.
      devices: Local devices to use, in order.
      given: The caller's mesh; used as it is where its axes fit, else for its devices.
      where: The beginning of an error message.

    Raises:
      UnsupportedError: If there are too few devices, or the shardings fit no mesh.
    """
    count = function.jax.device_count if function.jax else 1
    if len(devices) < count:
        raise UnsupportedError(
            f"{where}: expected the {count} devices that it was lowered for; found "
            f"{len(devices)}; run it where there are {count}, or convert it for fewer"
        )
    axes = trees.axes or _axes(function, module, count, where)
    names, sizes = tuple(axis.name for axis in axes), tuple(axis.size for axis in axes)
    if math.prod(sizes) != count:
        raise InvalidBundleError(
            f"{where}: expected a mesh of {count} devices; found one of "
            f"{math.prod(sizes)} ({', '.join(map(str, sizes))}); get an undamaged copy"
        )
    if given is not None and dict(given.shape) == dict(zip(names, sizes, strict=True)):
        order = [given.axis_names.index(name) for name in names]
        grid = given.devices.transpose(order)
    else:
        grid = np.asarray(devices[:count], dtype=object).reshape(sizes)
    return Mesh(grid, names, axis_types=(AxisType.Auto,) * len(names))


def in_assigned_order(devices: Sequence[Any], assigned: Sequence[Device] | None) -> list[Any]:
    """Returns local devices in the order that the bundle records, where all of them are here."""
    by_id = {device.id: device for device in devices}
    wanted = [device.id for device in assigned or ()]
    if len(set(wanted)) < len(wanted) or not all(number in by_id for number in wanted):
        return list(devices)
    first = [by_id[number] for number in wanted]
    return first + [device for device in devices if device not in first]


def _axes(function: ShloFunction, module: bytes, count: int, where: str) -> MeshAxes:
    """Returns the axes of the module's own mesh, else axes that its shardings can be said over."""
    signature = function.signature
    found = [_bytes(leaf) for leaf in (*signature.input_leaves, *signature.output_leaves)]
    written = [data for data in found if data]
    for mesh in facts(module).meshes:
        axes = tuple(MeshAxis(name=name, size=size) for name, size in mesh.axes)
        fits = math.prod(axis.size for axis in axes) == count
        if fits and all(to_partition_spec(data, axes, where) is not None for data in written):
            return axes
    axes = invented_axes(written, count, where)
    if axes is None:
        raise UnsupportedError(
            f"{where}: expected shardings that one mesh of {count} devices can express; found "
            f"{len(set(written))} that none can; convert the function again with one mesh"
        )
    return axes


def _bytes(leaf: Leaf) -> bytes | None:
    return leaf.sharding if isinstance(leaf, Spec) else None


def leaf_shardings(
    leaves: Sequence[Leaf], recorded: Mapping[int, Placement], mesh: Mesh, where: str
) -> list[NamedSharding | None]:
    """Returns the sharding of each leaf over a mesh; None where the bundle leaves it open."""
    axes = tuple(
        MeshAxis(name=str(name), size=size)
        for name, size in zip(mesh.axis_names, mesh.devices.shape, strict=True)
    )
    return [_sharding(leaf, recorded.get(i), mesh, axes, where) for i, leaf in enumerate(leaves)]


def _sharding(
    leaf: Leaf, placement: Placement | None, mesh: Mesh, axes: MeshAxes, where: str
) -> NamedSharding | None:
    data = _bytes(leaf)
    if placement is not None:
        kinds = {memory.kind for memory in mesh.devices.flat[0].addressable_memories()}
        # Another platform may not have the author's kind of memory; its default will do.
        kind = placement.memory_kind if placement.memory_kind in kinds else None
        try:
            return NamedSharding(mesh, placement.spec, memory_kind=kind)
        except ValueError as e:
            raise InvalidBundleError(
                f"{where}: expected a partition spec over the mesh {dict(mesh.shape)}; found "
                f"{placement.spec}; get an undamaged copy"
            ) from e
    if data is None:
        return None
    spec = to_partition_spec(data, axes, where)
    if spec is None:
        raise UnsupportedError(
            f"{where}: expected shardings over the mesh {dict(mesh.shape)}; found one that it "
            "cannot express; convert the function again with one mesh"
        )
    return NamedSharding(mesh, spec)
