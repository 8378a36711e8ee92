"""How much of a stranger's manifest is read before it is refused.

The defaults are far above what real bundles need; `read` takes others. What a function's program
may do, and how large weights may be, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from orbax_model_lite.errors import InvalidBundleError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Upper bounds for one bundle.

    Attributes:
      manifest_bytes: Size of the manifest file.
      objects: Functions and values, each function of a polymorphic one included.
      type_nodes: Containers and leaves of all signatures together.
      payload_bytes: Size of one supplemental that `read` itself decodes.
    """

    manifest_bytes: int = 256 * 2**20
    objects: int = 100_000
    type_nodes: int = 2_000_000
    payload_bytes: int = 64 * 2**20


@final
class Budget:
    """Counts down from one limit while a manifest is read."""

    __slots__ = ("_left", "_limit", "_what")

    def __init__(self, limit: int, what: str) -> None:
        self._left = limit
        self._limit = limit
        self._what = what

    def spend(self, where: str, count: int = 1) -> None:
        """Takes `count` off.

        Raises:
          InvalidBundleError: If more than the limit has been spent.
        """
        self._left -= count
        if self._left < 0:
            raise InvalidBundleError(
                f"{where}: expected at most {self._limit} {self._what} in a manifest; found more; "
                "if the bundle is to be trusted, read it with larger limits"
            )
