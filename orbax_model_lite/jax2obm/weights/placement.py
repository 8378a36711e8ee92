"""Where arrays of weights go: buffers on the host, and the devices that hold them.

Reading a file is the business of the formats; here parts that were read become JAX arrays, and JAX
arrays become host arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm.weights.buffers import Index, whole
from orbax_model_lite.jax2obm.weights.stored import StoredArray, static_shape
from orbax_model_lite.jaxtypes import keys

Placer: TypeAlias = Callable[[Path], Sharding | None]
"""Gives the sharding of a leaf by its path; None leaves the choice to JAX."""


def placer(devices: Sequence[Any] | None, mesh: Mesh | None, shardings: Any = None) -> Placer:
    """Returns where each leaf goes.

    Args:
      devices: One device to put everything on, or several that each get all of it.
      mesh: A mesh whose devices each get all of what `shardings` does not split.
      shardings: A Sharding, a PartitionSpec over `mesh`, or a plain tree of them that is matched by
        key path; one that stands above several leaves holds for all of them, None is the default.

    Raises:
      ValueError: If both devices and mesh are given, no device is, or a PartitionSpec has no mesh.
    """
    if devices is not None and mesh is not None:
        raise ValueError("devices, mesh: expected one of them; found both; leave one out")
    if devices is not None and not devices:
        raise ValueError("devices: expected at least one; found none; leave it out for the default")
    default: Sharding | None = None
    if mesh is not None:
        default = NamedSharding(mesh, PartitionSpec())
    elif devices is not None and len(devices) == 1:
        default = SingleDeviceSharding(devices[0])
    elif devices is not None:
        grid = Mesh(np.array(devices, dtype=object), ("copies",))
        default = NamedSharding(grid, PartitionSpec())

    def place(path: Path) -> Sharding | None:
        chosen = _along(shardings, path)
        if isinstance(chosen, PartitionSpec):
            if mesh is None:
                raise ValueError(
                    f"shardings of {format_path(path)!r}: expected a mesh for {chosen}; found "
                    "none; pass mesh, or a NamedSharding"
                )
            return NamedSharding(mesh, chosen)
        return default if chosen is None else chosen

    return place


def _along(shardings: Any, path: Path) -> Sharding | PartitionSpec | None:
    """Returns what a tree of shardings says about a path, however its containers count."""
    node = shardings
    for key in path:
        if node is None or isinstance(node, (Sharding, PartitionSpec)):
            break
        if isinstance(node, dict):
            node = node.get(str(key))
        else:
            at = int(key) if str(key).isdecimal() else len(node)
            node = node[at] if at < len(node) else None
    if node is not None and not isinstance(node, (Sharding, PartitionSpec)):
        raise ValueError(
            f"shardings of {format_path(path)!r}: expected a Sharding or PartitionSpec; found "
            f"{type(node).__name__}; name the leaves by their key paths"
        )
    return node


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Which parts of an array the devices of this process hold.

    Attributes:
      spec: Of the whole array.
      sharding: How it is split; None puts all of it where JAX wants.
      by_index: The parts, each with the devices that hold it.
    """

    spec: Spec
    sharding: Sharding | None
    by_index: tuple[tuple[Index, tuple[Any, ...]], ...]

    @classmethod
    def of(cls, spec: Spec, sharding: Sharding | None, path: Path) -> Parts:
        """Returns the parts of one leaf.

        Raises:
          UnsupportedError: If the sharding does not divide the array's sizes.
        """
        shape = static_shape(spec)
        if sharding is None:
            return cls(spec=spec, sharding=None, by_index=((whole(shape), ()),))
        try:
            sharding.shard_shape(shape)
            devices = sharding.addressable_devices_indices_map(shape)
        except ValueError as e:
            raise UnsupportedError(
                f"weights {format_path(path)!r}: expected a sharding that divides {shape}; found "
                f"{sharding} ({e}); choose another one for it"
            ) from e
        grouped: dict[tuple[tuple[int, int], ...], list[Any]] = {}
        for device, index in devices.items():
            bounds = [part.indices(size) for part, size in zip(index or (), shape, strict=True)]
            grouped.setdefault(tuple((b[0], b[1]) for b in bounds), []).append(device)
        return cls(
            spec=spec,
            sharding=sharding,
            by_index=tuple(
                (tuple(slice(*b) for b in bounds), tuple(found))
                for bounds, found in grouped.items()
            ),
        )

    @property
    def indices(self) -> list[Index]:
        """The parts to read."""
        return [index for index, _ in self.by_index]

    def assemble(self, parts: Sequence[np.ndarray], where: str) -> jax.Array:
        """Returns the array on its devices; typed PRNG keys if that is what the leaf is.

        Args:
          parts: One host array for each of `indices`. JAX may keep them without copying.
          where: The leaf, as the beginning of a message.
        """
        with wide_types(self.spec):
            array = self._assemble(parts)
            return (
                array if self.spec.logical is None else keys.wrap(array, self.spec.logical, where)
            )

    def _assemble(self, parts: Sequence[np.ndarray]) -> jax.Array:
        if self.sharding is None:
            return jax.device_put(parts[0])
        placed = [
            jax.device_put(
                part, SingleDeviceSharding(device, memory_kind=self.sharding.memory_kind)
            )
            for part, (_, devices) in zip(parts, self.by_index, strict=True)
            for device in devices
        ]
        return jax.make_array_from_single_device_arrays(
            static_shape(self.spec), self.sharding, placed
        )


def assembled(
    parts: Sequence[Parts], found: Sequence[Sequence[np.ndarray]], arrays: Sequence[StoredArray]
) -> list[jax.Array]:
    """Returns arrays on their devices, those that go where JAX wants in one step.

    Args:
      parts: Of each array.
      found: The host arrays of each.
      arrays: What they are, for messages.
    """
    plain = [
        i
        for i, wanted in enumerate(parts)
        if wanted.sharding is None and not wanted.spec.logical and not wanted.spec.dtype.is_64_bit
    ]
    placed = dict(zip(plain, jax.device_put([found[i][0] for i in plain]), strict=True))
    return [
        placed[i]
        if i in placed
        else wanted.assemble(found[i], f"weights {format_path(array.path)!r}")
        for i, (wanted, array) in enumerate(zip(parts, arrays, strict=True))
    ]


def place_weights(
    tree: Tree,
    *,
    to: Literal["device", "host"] = "device",
    devices: Sequence[Any] | None = None,
    mesh: Mesh | None = None,
    dtype: Any = None,
) -> Tree:
    """Returns a plain tree of arrays where `load_weights` would have put them.

    JAX arrays stay on their devices.

    Args:
      tree: NumPy or JAX arrays, or numbers.
      to: "device" gives JAX arrays, "host" NumPy arrays.
      devices: As in `placer`.
      mesh: As in `placer`.
      dtype: Floating-point type that floating-point arrays are cast to; others stay.
    """
    place = placer(devices, mesh)

    def placed(path: Path, leaf: Any) -> Any:
        array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        if dtype is not None and jax.dtypes.issubdtype(array.dtype, np.floating):
            array = array.astype(dtype)
        if to == "host":
            return to_host(array, f"weights {format_path(path)!r}")
        if isinstance(array, jax.Array):
            return array
        is_wide = array.dtype.kind in "iufc" and array.dtype.itemsize >= 8
        with jax.enable_x64(True) if is_wide else contextlib.nullcontext():
            return jax.device_put(array, place(path))

    pairs = flatten_with_path(tree)
    return unflatten(tree, [placed(path, leaf) for path, leaf in pairs])


def wide_types(spec: Spec) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which JAX keeps the element type of `spec`."""
    return jax.enable_x64(True) if spec.dtype.is_64_bit else contextlib.nullcontext()


def to_host(array: Any, where: str) -> np.ndarray:
    """Returns an array of any kind on the host, without a copy where it is there already.

    Raises:
      UnsupportedError: If a part of it lies in another process.
    """
    if not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1:
        return np.asarray(array)
    if not array.is_fully_addressable:
        raise UnsupportedError(
            f"{where}: expected an array that this process holds completely; found one over "
            "several processes; save it as an Orbax checkpoint, in an element type that Orbax has"
        )
    # Part by part, because np.asarray of the whole would keep a second copy alive.
    gathered = np.empty(array.shape, array.dtype)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            gathered[shard.index] = np.asarray(shard.data)
    return gathered
