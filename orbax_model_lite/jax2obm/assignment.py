"""The devices of a mesh as a bundle records them, and the same devices found again.

Both directions of `device_assignment_by_coords`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from orbax_model_lite.core.device import Device


def device_assignment(mesh: Mesh) -> tuple[Device, ...]:
    """Returns the devices of a mesh in its flat order, for `core.SaveOptions`.

    TPUs have coordinates, by which they are found again; others have a number only.

    Args:
      mesh: Of concrete devices.
    """
    return tuple(map(_recorded, mesh.devices.flat))


def assignment_of(tree: Any) -> tuple[Device, ...] | None:
    """Returns the devices of the mesh that arrays and specs of a pytree are split over.

    None where there is no mesh of several devices, or where there are several that differ.

    Args:
      tree: Any pytree; leaves without a NamedSharding over concrete devices say nothing.
    """
    found = set[tuple[Device, ...]]()
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
        if isinstance(mesh, Mesh) and mesh.size > 1:
            found.add(device_assignment(mesh))
    return found.pop() if len(found) == 1 else None


def _recorded(device: Any) -> Device:
    coords, core = getattr(device, "coords", None), getattr(device, "core_on_chip", None)
    if coords is None or core is None:
        return Device(id=device.id)
    return Device(id=device.id, coords=tuple(coords), core_on_chip=core)


def in_assigned_order(devices: Sequence[Any], assigned: Sequence[Device] | None) -> list[Any]:
    """Returns devices in the order that the bundle records, where all of them are here.

    Where the record has coordinates they tell which device is meant, else its number does.
    """
    recorded = list(assigned or ())
    by_coords = all(device.coords is not None for device in recorded)
    known = {_identity(device, by_coords=by_coords): device for device in devices}
    wanted = [_identity(device, by_coords=by_coords) for device in recorded]
    if len(set(wanted)) < len(wanted) or not all(key in known for key in wanted):
        return list(devices)
    first = [known[key] for key in wanted]
    return first + [device for device in devices if device not in first]


def _identity(device: Any, *, by_coords: bool) -> tuple[Any, ...]:
    if not by_coords:
        return (device.id,)
    coords = getattr(device, "coords", None)
    core = getattr(device, "core_on_chip", None)
    return (None if coords is None else tuple(coords), core)
