"""The mesh that a function runs on here, chosen from what the caller gives and what it was made on.

A mesh decides by the names of its axes, a list of devices by their number. The module is rewritten
for the result in `stablehlo.remeshing`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jax.sharding import AxisType, Mesh

from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm.devices.placing import fitted_spec
from orbax_model_lite.jaxtypes.jax_trees import Placement
from orbax_model_lite.jaxtypes.shardings import MeshAxes

_ONE_AXIS = "devices"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A leaf of the signature, and where it lies over the function's own mesh."""

    leaf: Leaf
    placement: Placement | None


def over_devices(own: MeshAxes, leaves: Sequence[Placed], devices: Sequence[Any]) -> Mesh:
    """Returns a mesh of exactly these devices that has a function's own axes.

    As many as it was made on keep the sizes of its mesh. For another number the sizes are those
    that leave the fewest dimensions undivided, then those nearest to the own ones, then those with
    the larger major axes.

    Args:
      own: Axes of the mesh that the function was lowered for.
      leaves: Inputs and outputs.
      devices: In order.
    """
    count = len(devices)
    sizes = {axis.name: axis.size for axis in own} or {_ONE_AXIS: 1}
    if math.prod(sizes.values()) != count:
        choices = [dict(zip(sizes, c, strict=True)) for c in _products(count, len(sizes))]
        sizes = min(choices, key=lambda choice: _cost(choice, sizes, leaves))
    return _mesh(np.array(list(devices), dtype=object).reshape(list(sizes.values())), list(sizes))


def available(own: MeshAxes, devices: Sequence[Any]) -> Sequence[Any]:
    """Returns those of the machine's devices that a function runs on when the caller names none.

    As many as it was lowered for; where there are fewer, the largest number that divides it.
    """
    count = math.prod(axis.size for axis in own)
    while count > len(devices) or math.prod(axis.size for axis in own) % count:
        count -= 1
    return devices[:count]


def over_mesh(own: MeshAxes, leaves: Sequence[Placed], given: Mesh, where: str) -> Mesh:
    """Returns the caller's mesh under the names of a function's own axes.

    Axes mean the same when they have the same name: an axis of the function that the mesh lacks has
    the size one, and an axis that only the mesh has replicates. Where no name is shared, a mesh of
    as many devices as the function was made on gives its devices only, one of as many axes is
    taken axis by axis, and one axis on either side gives its devices.

    Args:
      own: Axes of the mesh that the function was lowered for.
      leaves: Inputs and outputs.
      given: The caller's mesh.
      where: The beginning of an error message.

    Raises:
      UnsupportedError: If nothing tells which axis is which.
    """
    sizes = {axis.name: axis.size for axis in own}
    names = list(map(str, given.axis_names))
    grid = given.devices
    if not own:
        return _mesh(grid, names)
    if dict(zip(names, grid.shape, strict=True)) == sizes:
        return _mesh(grid.transpose([names.index(name) for name in sizes]), list(sizes))
    if sizes.keys() & set(names):
        missing = [name for name in sizes if name not in names]
        return _mesh(grid.reshape([*grid.shape, *[1] * len(missing)]), [*names, *missing])
    if grid.size == math.prod(sizes.values()) or 1 in {len(names), grid.size}:
        return over_devices(own, leaves, list(grid.flat))
    if len(own) in {1, len(names)}:
        shape = grid.shape if len(own) > 1 else (grid.size,)
        return _mesh(grid.reshape(shape), list(sizes))
    raise UnsupportedError(
        f"{where}: expected a mesh with axes among {', '.join(sizes)}, over which it is split; "
        f"found {dict(zip(names, grid.shape, strict=True))}; name the axes like that, or pass "
        "devices"
    )


def _mesh(grid: np.ndarray, names: Sequence[str]) -> Mesh:
    return Mesh(grid, tuple(names), axis_types=(AxisType.Auto,) * len(names))


def _products(count: int, length: int) -> Iterator[tuple[int, ...]]:
    """Yields all ways to write a number as a product of so many, larger first factors first."""
    if length == 1:
        yield (count,)
        return
    for first in range(count, 0, -1):
        if count % first == 0:
            for rest in _products(count // first, length - 1):
                yield (first, *rest)


def _cost(
    sizes: Mapping[str, int], own: Mapping[str, int], leaves: Sequence[Placed]
) -> tuple[int, float]:
    undivided = 0
    for placed in leaves:
        if placed.placement is None or not isinstance(placed.leaf, Spec):
            continue
        spec, shape = placed.placement.spec, placed.leaf.shape or ()
        if set(_axes(spec)) <= sizes.keys():
            undivided += fitted_spec(spec, shape, sizes) is not spec
    distance = sum(abs(math.log(sizes[name] / own[name])) for name in own)
    return undivided, round(distance, 6)


def _axes(spec: Any) -> list[str]:
    entries = [entry if isinstance(entry, tuple) else (entry,) for entry in spec.partitions]
    return [axis for axis in itertools.chain(*entries) if isinstance(axis, str)]
