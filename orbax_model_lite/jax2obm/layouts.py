"""Layouts of inputs: JAX's Layout on one side, `xla.LayoutProto` bytes on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orbax_model_lite._proto.sharding_pb2 import LayoutProto, TileProto
from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.errors import InvalidModelError


def with_layouts(found: Sequence[Leaf], layouts: Sequence[Any], where: str) -> list[Leaf]:
    """Returns input leaves with the layouts that the author wants them in.

    Args:
      found: Input leaves in flatten order.
      layouts: One `jax.experimental.layout.Layout` (or Format) per leaf; None is the default.
      where: The beginning of an error message.

    Raises:
      InvalidModelError: If there are more or fewer, or one is not a layout of the leaf's rank.
    """
    if len(found) != len(layouts):
        raise InvalidModelError(
            f"{where}, model_inputs_layout: expected one layout (or None) for each of the "
            f"{len(found)} input leaves; found {len(layouts)}; give them in flatten order"
        )
    return [
        leaf if layout is None else replace(leaf, layout=_to_bytes(layout, leaf, f"{where}, {i}"))
        for i, (leaf, layout) in enumerate(zip(found, layouts, strict=True))
        if isinstance(leaf, Spec)
    ]


def _to_bytes(given: Any, leaf: Spec, where: str) -> bytes:
    layout = getattr(given, "layout", given)
    order = getattr(layout, "major_to_minor", None)
    rank = len(leaf.shape or ())
    if order is None or sorted(order) != list(range(rank)):
        raise InvalidModelError(
            f"{where}: expected a Layout whose major_to_minor orders {rank} dimensions; "
            f"found {given!r}; give None for the default layout"
        )
    record = LayoutProto(minor_to_major=list(reversed(order)))
    tiling = getattr(layout, "tiling", None)
    if tiling is not None:
        record.tiles.extend(TileProto(dimensions=tile) for tile in tiling)
        record.element_size_in_bits = getattr(layout, "sub_byte_element_size_in_bits", 0)
    return record.SerializeToString(deterministic=True)
