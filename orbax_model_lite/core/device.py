"""A device of the mesh that a bundle's functions were made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device in the flat order of its mesh.

    Attributes:
      id: The runtime's number of it.
      coords: Position in the torus; only TPU devices have one.
      core_on_chip: Which core of the chip; only TPU devices have one.
    """

    id: int
    coords: tuple[int, ...] | None = None
    core_on_chip: int | None = None
