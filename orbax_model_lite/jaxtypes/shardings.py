"""Shardings of a leaf: JAX's NamedSharding on one side, `xla.OpSharding` bytes on the other.

The bytes of the manifest hold no axis names; those are kept in the record of `jax_trees`. What is
read from bytes alone is a partition spec over axes that the caller knows or lets us invent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from google.protobuf.message import DecodeError
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from orbax_model_lite._proto.sharding_pb2 import OpSharding
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAxis:
    """One axis of a mesh.

    Attributes:
      name: The author's name, such as "data".
      size: Number of devices along it.
      axis_type: "auto", "explicit" or "manual".
    """

    name: str
    size: int
    axis_type: str = "auto"


MeshAxes: TypeAlias = tuple[MeshAxis, ...]
"""The axes of a mesh, major first."""


def mesh_axes(mesh: Mesh | AbstractMesh) -> MeshAxes:
    """Returns names, sizes and types of a mesh's axes."""
    types = mesh.axis_types or (AxisType.Auto,) * len(mesh.axis_names)
    return tuple(
        MeshAxis(name=str(name), size=size, axis_type=kind.name.lower())
        for name, size, kind in zip(mesh.axis_names, mesh.axis_sizes, types, strict=True)
    )


def to_bytes(sharding: NamedSharding, rank: int) -> bytes:
    """Returns a serialized `xla.OpSharding` in iota form; `b""` is fully replicated.

    Args:
      sharding: Over an abstract or a concrete mesh.
      rank: Number of dimensions of the array.

    Raises:
      UnsupportedError: If a dimension is left unconstrained or unreduced.
    """
    sizes = {axis.name: axis.size for axis in mesh_axes(sharding.mesh)}
    if sharding.spec.unreduced:
        raise UnsupportedError(
            f"sharding {sharding.spec}: expected inputs and outputs that are whole; found partial "
            f"sums over {sorted(sharding.spec.unreduced)}; reduce them inside the function"
        )
    by_dim = [_axes_of(entry, sharding) for entry in sharding.spec.partitions]
    by_dim += [()] * (rank - len(by_dim))
    order = list(itertools.chain.from_iterable(by_dim))
    rest = [name for name in sizes if name not in order]
    tiles = [math.prod(sizes[name] for name in axes) for axes in by_dim]
    copies = math.prod(sizes[name] for name in rest)
    if math.prod(tiles) == 1:
        return b""
    shape, permutation = _canonical_iota(list(sizes), sizes, [*order, *rest])
    return OpSharding(
        type=OpSharding.OTHER,
        # Axes of size one split nothing.
        tile_assignment_dimensions=[*tiles, copies] if copies > 1 else tiles,
        replicate_on_last_tile_dim=copies > 1,
        iota_reshape_dims=shape,
        iota_transpose_perm=permutation,
    ).SerializeToString(deterministic=True)


def _axes_of(entry: object, sharding: NamedSharding) -> tuple[str, ...]:
    if entry is None:
        return ()
    if entry is PartitionSpec.UNCONSTRAINED:
        raise UnsupportedError(
            f"sharding {sharding.spec}: expected axis names or None for every dimension; found "
            "UNCONSTRAINED, which the bundle format cannot say; name the axes or None"
        )
    return tuple(entry) if isinstance(entry, tuple) else (str(entry),)


def _canonical_iota(
    axes: list[str], sizes: dict[str, int], order: list[str]
) -> tuple[list[int], list[int]]:
    """Returns the shortest (reshape, transpose) that lists a mesh's devices in `order` of axes."""
    axes = [name for name in axes if sizes[name] > 1]
    order = [name for name in order if sizes[name] > 1]
    groups: list[list[str]] = []
    for name in order:
        follows = groups and axes.index(name) == axes.index(groups[-1][-1]) + 1
        groups[-1].append(name) if follows else groups.append([name])
    by_mesh = sorted(groups, key=lambda group: axes.index(group[0]))
    shape = [math.prod(sizes[name] for name in group) for group in by_mesh]
    return shape, [by_mesh.index(group) for group in groups]


def device_tiles(data: bytes, where: str) -> tuple[np.ndarray, int]:
    """Returns device positions by tile, int64 [tiles of dim 0, ..., copies], and the array's rank.

    A replicated sharding gives an empty array.

    Raises:
      InvalidBundleError: If the bytes are no OpSharding or contradict themselves.
      UnsupportedError: If the sharding is maximal, manual, unreduced or a tuple.
    """
    try:
        record = OpSharding.FromString(data)
    except DecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected a serialized xla.OpSharding; found {len(data)} bytes that are "
            "none; pack the bundle again"
        ) from e
    if record.type == OpSharding.REPLICATED:
        return np.zeros(0, np.int64), 0
    if record.type != OpSharding.OTHER or set(record.last_tile_dims) - {OpSharding.REPLICATED}:
        kind = OpSharding.Type.Name(record.type) if record.type in range(7) else record.type
        raise UnsupportedError(
            f"{where}: expected a replicated or tiled sharding; found {kind} with subgroups; "
            "convert the function again with NamedSharding"
        )
    dims = list(record.tile_assignment_dimensions)
    devices = _devices(record, math.prod(dims)) if min(dims, default=1) > 0 else None
    if devices is None:
        raise InvalidBundleError(
            f"{where}: expected every device of tiles {dims} once; found another number of them; "
            "pack the bundle again"
        )
    extra = len(record.last_tile_dims) or int(record.replicate_on_last_tile_dim)
    rank = len(dims) - extra
    return devices.reshape([*dims[:rank], -1]), rank


_MAX_DEVICES = 1 << 24


def _devices(record: OpSharding, count: int) -> np.ndarray | None:
    """Returns the devices of all tiles, row-major; None unless each of `count` is there once."""
    if count > _MAX_DEVICES:
        return None
    if not record.iota_reshape_dims:
        listed = list(record.tile_assignment_devices)
        return np.array(listed, np.int64) if sorted(listed) == list(range(count)) else None
    shape, permutation = list(record.iota_reshape_dims), list(record.iota_transpose_perm)
    if math.prod(shape) != count or min(shape) < 1:
        return None
    if sorted(permutation) != list(range(len(shape))):
        return None
    return np.arange(count).reshape(shape).transpose(permutation)


def to_partition_spec(data: bytes, axes: MeshAxes, where: str) -> PartitionSpec | None:
    """Returns the partition spec over `axes` that tiles as the bytes say; None if none does.

    Raises:
      InvalidBundleError: See `device_tiles`.
      UnsupportedError: See `device_tiles`.
    """
    tiles, rank = device_tiles(data, where)
    if tiles.size == 0:
        return PartitionSpec()
    if tiles.size != math.prod(axis.size for axis in axes):
        return None
    grid = np.arange(tiles.size).reshape([axis.size for axis in axes])
    for choice in _choices(tiles.shape[:rank], [axis for axis in axes if axis.size > 1]):
        used = [axis for group in choice for axis in group]
        places = [axes.index(axis) for axis in used]
        rest = [i for i in range(len(axes)) if i not in places]
        laid = grid.transpose([*places, *rest]).reshape(tiles.shape)
        if np.array_equal(np.sort(laid, axis=-1), np.sort(tiles, axis=-1)):
            return PartitionSpec(*(_entry(group) for group in choice))
    return None


def _entry(group: Sequence[MeshAxis]) -> str | tuple[str, ...] | None:
    names = tuple(axis.name for axis in group)
    return None if not names else names[0] if len(names) == 1 else names


def _choices(
    counts: Sequence[int], axes: Sequence[MeshAxis]
) -> Iterator[tuple[tuple[MeshAxis, ...], ...]]:
    """Yields one tuple of axes per dimension, with sizes that multiply to the dimension's tiles."""
    if not counts:
        yield ()
        return
    for length in range(len(axes) + 1):
        for group in itertools.permutations(axes, length):
            if math.prod(axis.size for axis in group) == counts[0]:
                left = [axis for axis in axes if axis not in group]
                for others in _choices(counts[1:], left):
                    yield (group, *others)


def invented_axes(shardings: Iterable[bytes], device_count: int, where: str) -> MeshAxes | None:
    """Returns axes over which all of the shardings can be said; None if there are none.

    For modules that name no mesh: the axes are prime factors of the device count, in an order that
    fits.
    """
    found = [data for data in set(shardings) if data]
    for order in sorted(set(itertools.permutations(_prime_factors(device_count)))):
        axes = tuple(MeshAxis(name=f"axis_{i}", size=size) for i, size in enumerate(order))
        if all(to_partition_spec(data, axes, where) is not None for data in found):
            return axes
    return None


def _prime_factors(count: int) -> list[int]:
    factors, divisor = [], 2
    while count > 1:
        while count % divisor == 0:
            factors.append(divisor)
            count //= divisor
        divisor += 1
    return factors
