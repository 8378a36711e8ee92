"""The record of a function's JAX trees as it lies there: names, constraints, axes, placements.

What it means in JAX's terms is the matter of `jaxtypes.jax_trees`; this needs no JAX.
"""

from __future__ import annotations

from collections.abc import Callable

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction


def jax_trees_record(
    function: ConcreteFunction, read: Callable[[Data], bytes], where: str = ""
) -> bundle_info_pb2.JaxTrees:
    """Returns the record of a function; an empty one where there is none.

    Args:
      function: Of a bundle.
      read: Gives the bytes of a payload.
      where: The function, as the beginning of a message.

    Raises:
      InvalidBundleError: If the record does not parse.
    """
    trees = bundle_info_pb2.JaxTrees()
    supplementals = function.supplementals if isinstance(function, ShloFunction) else {}
    found = supplementals.get(layout.KEY_JAX_TREES)
    if found is None:
        return trees
    place = f"supplemental {layout.KEY_JAX_TREES!r}"
    return records.parsed(trees, read(found.data), f"{where}: {place}" if where else place)
