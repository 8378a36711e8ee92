"""Sharding annotations: constraints on the caller's mesh if it has their axes, else nothing.

They say where numbers live and never which, so dropping one is no different function. What is bound
to its own mesh is in `collectives`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import sdy

from orbax_model_lite.lift.operation import Handler, Operation, Runner

_REPLICATED = "{replicated}"
_HLO_SHARDING = "mhlo.sharding"


def _constraint(operation: Operation) -> Runner:
    """Lifts Shardy's annotations, which name the axes of a mesh."""
    mesh = operation.around.options.mesh
    axes = _axes(operation.attribute("sharding"))
    if mesh is None or axes is None or not _has_axes(mesh, axes):
        return _identity
    return lambda x: lax.with_sharding_constraint(x, _placed(mesh, axes, x.shape))


def sharding_call(operation: Operation) -> Runner:
    """Returns what runs a custom call @Sharding, GSPMD's annotation.

    It numbers devices and names no axes, so only a replicated value can be told on another mesh.
    """
    mesh = operation.around.options.mesh
    is_replicated = operation.text(_HLO_SHARDING, "") == _REPLICATED
    if mesh is None or not is_replicated or not _is_auto(mesh, mesh.axis_names):
        return _identity
    sharding = NamedSharding(mesh, PartitionSpec())
    return lambda x: lax.with_sharding_constraint(x, sharding)


def _identity(x: Any) -> Any:
    return x


_Axes = list[tuple[str, ...] | None]
"""Per dimension the axes that split it; None where the compiler may choose."""


def _axes(attribute: ir.Attribute) -> _Axes | None:
    """Returns the axes of an annotation; None if it splits axes, which JAX cannot express."""
    found: _Axes = []
    for each in sdy.TensorShardingAttr(attribute).dimension_shardings:
        dimension = sdy.DimensionShardingAttr(each)
        references = [sdy.AxisRefAttr(axis) for axis in dimension.axes]
        if any(reference.sub_axis_info is not None for reference in references):
            return None
        names = tuple(reference.name for reference in references)
        found.append(names if names or dimension.is_closed else None)
    return found


def _has_axes(mesh: Mesh, axes: _Axes) -> bool:
    named = [name for names in axes if names for name in names]
    return all(name in mesh.axis_names for name in named) and _is_auto(mesh, mesh.axis_names)


def _is_auto(mesh: Mesh, names: Sequence[str]) -> bool:
    """Returns whether the compiler places along these axes: only then is there a constraint."""
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return all(types[name] is AxisType.Auto for name in names)


def _placed(mesh: Mesh, axes: _Axes, shape: Sequence[Any]) -> NamedSharding:
    """Returns the sharding on a mesh; a dimension that its axes do not divide is left open."""
    entries: list[Any] = []
    for names, size in zip(axes, shape, strict=True):
        parts = math.prod(mesh.shape[name] for name in names or ())
        is_open = names is None or size % parts != 0
        entries.append(PartitionSpec.UNCONSTRAINED if is_open else names)
    return NamedSharding(mesh, PartitionSpec(*entries))


def _named_computation(operation: Operation) -> Runner:
    return lambda *arguments, regions: regions[0](*arguments)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "sdy.data_flow_edge": Handler(lambda operation: _identity, keeps_known=True),
    "sdy.func_data_flow_edge": Handler(lambda operation: _identity, keeps_known=True),
    "sdy.named_computation": Handler(_named_computation, keeps_known=True),
    "sdy.propagation_barrier": Handler(lambda operation: _identity, keeps_known=True),
    "sdy.reshard": Handler(_constraint),
    "sdy.sharding_constraint": Handler(_constraint),
    "sdy.sharding_group": Handler(lambda operation: lambda x: (), keeps_known=True),
}
