"""A module that was lowered for one mesh, rewritten for another one.

Shardy's annotations name mesh axes, so a module runs on another mesh once the axes have its sizes.
Which sizes, and where arrays go, is the engine's matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from jaxlib.mlir import ir
from jaxlib.mlir.dialects import sdy, stablehlo

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.stablehlo.module import (
    captured_diagnostics,
    mesh_axes,
    operations,
    parse,
    serialize,
    string,
)

AxisSizes: TypeAlias = Mapping[str, int]
"""Sizes of mesh axes by name, major first."""

_PARTITIONS: Final = "mhlo.num_partitions"
_GSPMD: Final = "mhlo.sharding"
_FRONTEND: Final = "mhlo.frontend_attributes"
_MANUAL_TARGETS: Final = frozenset(
    {
        "SPMDFullToShardShape",
        "SPMDShardToFullShape",
        "xla.sdy.GlobalToLocalShape",
        "xla.sdy.LocalToGlobalShape",
    }
)
_IDENTITIES: Final = frozenset({"Sharding", "xla.sdy.FuncResultSharding"})
_MANUAL: Final = frozenset({"sdy.manual_computation", "stablehlo.partition_id"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """How the shardings of a module are said.

    Attributes:
      axes: Sizes by name of the mesh that every annotation speaks of; None where the module names
        no axes, or several meshes that differ.
      mesh_count: Number of different meshes that are named.
      is_gspmd: Whether shardings are there that number devices instead of naming axes.
      manual: What is written for one device's share, such as "sdy.manual_computation"; "" for
        nothing.
      is_ordered: Whether a mesh lists its devices in an order of its own.
    """

    axes: AxisSizes | None
    mesh_count: int
    is_gspmd: bool
    manual: str
    is_ordered: bool


def mesh_annotations(module: ir.Module) -> Annotations:
    """Returns how the shardings of a parsed module are said."""
    meshes = [mesh for _, mesh in _meshes(module)]
    named = {tuple(mesh_axes(mesh)): None for mesh in meshes if len(mesh.axes)}
    manual, is_gspmd = "", False
    for operation in operations(module):
        manual = manual or _manual(operation)
        is_gspmd = is_gspmd or _has_device_numbers(operation)
    return Annotations(
        axes=dict(next(iter(named))) if len(named) == 1 else None,
        mesh_count=len(named),
        is_gspmd=is_gspmd,
        manual=manual,
        is_ordered=any(len(mesh.axes) and list(mesh.device_ids) for mesh in meshes),
    )


def remeshed(source: bytes, axes: AxisSizes, *, where: str = "StableHLO module") -> bytes:
    """Returns the portable artifact of a module for a mesh with other axes.

    The result is for this process: it is written at this jaxlib's own StableHLO version.

    Args:
      source: A portable artifact.
      axes: Of the new mesh. Axes that the module does not name replicate; those that it names and
        the mesh lacks get the size one. One device in all takes every module.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If the bytes do not parse.
      UnsupportedError: If a part is written for one device's share (shard_map), or shardings number
        devices instead of naming axes, or several meshes are named; the last two run on one device.
    """
    module = parse(source, where=where)
    found = mesh_annotations(module)
    count = math.prod(axes.values())
    _require_free(found, count, where)
    with captured_diagnostics(module.context) as messages, module.context, _location(module):
        for operation, mesh in list(_meshes(module)):
            if len(mesh.axes):
                own = [name for name, _ in mesh_axes(mesh)]
                _set_mesh(operation, _sizes(own, axes))
        if count == 1:
            _drop_device_numbers(module)
        number = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), count)
        module.operation.attributes[_PARTITIONS] = number
        if not _is_valid(module):
            raise UnsupportedError(
                f"{where}: expected shardings over whole mesh axes; found some that do not fit the "
                f"sizes {dict(axes)} ({'; '.join(messages[:1])}); use a mesh of the sizes that it "
                "was lowered for"
            )
    return serialize(module, version=stablehlo.get_current_version(), where=where)


def _location(module: ir.Module) -> Any:
    return ir.Location.unknown(module.context)


def _is_valid(module: ir.Module) -> bool:
    try:
        return bool(module.operation.verify())
    except ir.MLIRError:
        return False


def _require_free(found: Annotations, count: int, where: str) -> None:
    """Checks that nothing in a module depends on the number of its devices.

    Raises:
      UnsupportedError: If something does.
    """
    if found.manual:
        raise UnsupportedError(
            f"{where}: expected the mesh that it was lowered for, because a part is written for "
            f"one device's share of the arrays (shard_map, {found.manual}); found another mesh of "
            f"{count} devices; run it on the original mesh, or convert it without shard_map"
        )
    if count > 1 and found.is_gspmd:
        raise UnsupportedError(
            f"{where}: expected shardings that name mesh axes; found some that number devices (as "
            f"JAX wrote before Shardy), which do not carry over to {count} devices; run it on as "
            "many devices as it was lowered for, or on one"
        )
    if count > 1 and (found.mesh_count > 1 or found.is_ordered):
        kind = "several meshes" if found.mesh_count > 1 else "a mesh with an order of its own"
        raise UnsupportedError(
            f"{where}: expected one mesh, whose axes can get other sizes; found {kind}; run it on "
            "as many devices as it was lowered for, or on one"
        )


def _sizes(own: list[str], axes: AxisSizes) -> dict[str, int]:
    """Returns the axes of a new mesh: those given, then the module's own others."""
    return {**axes, **{name: 1 for name in own if name not in axes}}


def _meshes(module: ir.Module) -> Iterator[tuple[ir.Operation, sdy.MeshAttr]]:
    for op in module.body.operations:
        if op.operation.name == "sdy.mesh":
            yield op.operation, sdy.MeshAttr(op.operation.attributes["mesh"])


def _set_mesh(operation: ir.Operation, sizes: AxisSizes) -> None:
    axes = [sdy.MeshAxisAttr.get(name, size) for name, size in sizes.items()]
    for name in list(operation.attributes):
        # JAX 0.10 says the same mesh once more, for another dialect.
        if name == "stablehlo.mesh":
            del operation.attributes[name]
    operation.attributes["mesh"] = sdy.MeshAttr.get(axes)


def _manual(operation: ir.Operation) -> str:
    if operation.name in _MANUAL:
        return operation.name
    if "replica_groups" in operation.attributes:
        return operation.name
    target = _target(operation)
    return target if target in _MANUAL_TARGETS else ""


def _target(operation: ir.Operation) -> str:
    if operation.name != "stablehlo.custom_call":
        return ""
    return string(operation.attributes["call_target_name"])


def _has_device_numbers(operation: ir.Operation) -> bool:
    if _GSPMD in operation.attributes or _target(operation) in _IDENTITIES:
        return True
    if _FRONTEND in operation.attributes and "xla.sdy." in str(operation.attributes[_FRONTEND]):
        return True
    return operation.name == "func.func" and any(
        _GSPMD in ir.DictAttr(entry) for _, entry in _boundary(operation)
    )


def _boundary(function: ir.Operation) -> Iterator[tuple[str, ir.Attribute]]:
    for key in ("arg_attrs", "res_attrs"):
        if key in function.attributes:
            for entry in ir.ArrayAttr(function.attributes[key]):
                yield key, entry


def _drop_device_numbers(module: ir.Module) -> None:
    for operation in list(operations(module)):
        if _target(operation) in _IDENTITIES:
            for result, operand in zip(operation.results, operation.operands, strict=True):
                result.replace_all_uses_with(operand)
            operation.erase()
            continue
        if _GSPMD in operation.attributes:
            del operation.attributes[_GSPMD]
        if _FRONTEND in operation.attributes:
            kept = _without(operation.attributes[_FRONTEND], r"xla\.sdy\.")
            operation.attributes[_FRONTEND] = kept
        if operation.name == "func.func":
            for key in {key for key, _ in _boundary(operation)}:
                entries = [_without(e, _GSPMD) for e in ir.ArrayAttr(operation.attributes[key])]
                operation.attributes[key] = ir.ArrayAttr.get(entries)


def _without(attributes: ir.Attribute, pattern: str) -> ir.DictAttr:
    found = ir.DictAttr(attributes)
    kept = {item.name: item.attr for item in found if not re.match(pattern, item.name)}
    return ir.DictAttr.get(kept)
