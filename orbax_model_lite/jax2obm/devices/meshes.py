"""What a sharded function says of its mesh, and its leaves' shardings over the one it runs on.

Which mesh that is, is chosen in `targets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from jax.sharding import Mesh, NamedSharding

from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.devices.placing import fitted
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees, Placement
from orbax_model_lite.jaxtypes.shardings import (
    MeshAxes,
    MeshAxis,
    invented_axes,
    to_partition_spec,
)
from orbax_model_lite.stablehlo.facts import facts


def own_axes(
    function: ShloFunction, read: Callable[[], bytes], trees: JaxTrees, where: str
) -> MeshAxes:
    """Returns the axes of the mesh that a function was lowered for; none where it names none.

    Args:
      function: Of the bundle.
      read: Gives its portable artifact; called for a foreign bundle, which records no axes.
      trees: What is recorded about its shardings.
      where: The beginning of an error message.

    Raises:
      InvalidBundleError: If the axes contradict the number of devices.
      UnsupportedError: If one mesh cannot say the shardings.
    """
    count = function.jax.device_count if function.jax else 1
    axes = trees.axes or _axes(function, read(), count, where)
    sizes = [axis.size for axis in axes]
    if math.prod(sizes) != count:
        raise InvalidBundleError(
            f"{where}: expected a mesh of {count} devices; found one of "
            f"{math.prod(sizes)} ({', '.join(map(str, sizes))}); get an undamaged copy"
        )
    return axes


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


def leaf_placements(
    leaves: Sequence[Leaf], recorded: Mapping[int, Placement], axes: MeshAxes, where: str
) -> list[Placement | None]:
    """Returns where each leaf lies over the function's own mesh; None where that is left open.

    Args:
      leaves: Of the signature, with shardings as bytes.
      recorded: Our own record, which goes first.
      axes: Of the mesh that the function was lowered for.
      where: The beginning of an error message.

    Raises:
      UnsupportedError: If a sharding cannot be said over the axes.
    """
    found: list[Placement | None] = []
    for i, leaf in enumerate(leaves):
        data = _bytes(leaf)
        if i in recorded or data is None:
            found.append(recorded.get(i))
            continue
        spec = to_partition_spec(data, axes, where)
        if spec is None:
            sizes = {axis.name: axis.size for axis in axes}
            raise UnsupportedError(
                f"{where}: expected shardings over the mesh {sizes}; found one that it cannot "
                "express; convert the function again with one mesh"
            )
        found.append(Placement(spec=spec))
    return found


def leaf_shardings(
    leaves: Sequence[Leaf], placements: Sequence[Placement | None], mesh: Mesh, where: str
) -> list[NamedSharding | None]:
    """Returns the sharding of each leaf over a mesh that has the axes of the placements.

    An axis that does not divide its dimension is left out: the dimension is whole along it.

    Raises:
      InvalidBundleError: If a placement speaks of axes or dimensions that are not there.
    """
    local = mesh.local_devices
    kinds = {m.kind for m in local[0].addressable_memories()} if local else set[str]()
    found: list[NamedSharding | None] = []
    for leaf, placement in zip(leaves, placements, strict=True):
        if placement is None:
            found.append(None)
            continue
        # Another platform may not have the author's kind of memory; its default will do.
        kind = placement.memory_kind if placement.memory_kind in kinds else None
        shape = leaf.shape if isinstance(leaf, Spec) else None
        try:
            sharding = NamedSharding(mesh, placement.spec, memory_kind=kind)
            found.append(sharding if shape is None else fitted(sharding, shape))
        except (ValueError, KeyError) as e:
            raise InvalidBundleError(
                f"{where}: expected a partition spec over the mesh {dict(mesh.shape)}; found "
                f"{placement.spec}; get an undamaged copy"
            ) from e
    return found
