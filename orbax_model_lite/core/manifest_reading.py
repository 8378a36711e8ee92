"""What the conversion of a manifest needs besides the manifest itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from orbax_model_lite.core.data import Data
from orbax_model_lite.core.limits import Budget, ReadLimits


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The means and limits of one reading.

    Attributes:
      read_payload: Returns the bytes of a payload of the bundle; its second argument is the
        beginning of a message.
      frequent_paths: The manifest's table of paths.
      objects: Counts functions and values.
      type_nodes: Counts the nodes of signatures.
    """

    read_payload: Callable[[Data, str], bytes]
    frequent_paths: tuple[str, ...] = ()
    objects: Budget = field(default_factory=lambda: objects_budget(ReadLimits()))
    type_nodes: Budget = field(default_factory=lambda: type_nodes_budget(ReadLimits()))


def objects_budget(limits: ReadLimits) -> Budget:
    """Returns the counter of objects."""
    return Budget(limits.objects, "objects")


def type_nodes_budget(limits: ReadLimits) -> Budget:
    """Returns the counter of type nodes."""
    return Budget(limits.type_nodes, "nodes of signatures")
