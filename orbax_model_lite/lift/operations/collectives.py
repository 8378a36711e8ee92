"""Operations that are bound to devices, a host or quantized numbers: named as not liftable."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable

_ASYNCHRONOUS = "an asynchronous computation of a compiler"
_COLLECTIVE = "a collective, which is bound to its mesh"
_DEVICE = "a device's own number, which is bound to its mesh"
_HOST = "communication with a host or another program"
_MANUAL = "a manual computation (shard_map), which is bound to its mesh"
_QUANTIZED = "quantized numbers, which JAX does not have"

_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sdy.all_gather": _COLLECTIVE,
        "sdy.all_reduce": _COLLECTIVE,
        "sdy.all_slice": _COLLECTIVE,
        "sdy.all_to_all": _COLLECTIVE,
        "sdy.collective_permute": _COLLECTIVE,
        "sdy.manual_computation": _MANUAL,
        "sdy.reduce_scatter": _COLLECTIVE,
        "sdy.replicated_to_unreduced": _COLLECTIVE,
        "sdy.sharded_to_unreduced": _COLLECTIVE,
        "stablehlo.all_gather": _COLLECTIVE,
        "stablehlo.all_reduce": _COLLECTIVE,
        "stablehlo.all_to_all": _COLLECTIVE,
        "stablehlo.async_done": _ASYNCHRONOUS,
        "stablehlo.async_start": _ASYNCHRONOUS,
        "stablehlo.collective_broadcast": _COLLECTIVE,
        "stablehlo.collective_permute": _COLLECTIVE,
        "stablehlo.cross-replica-sum": _COLLECTIVE,
        "stablehlo.infeed": _HOST,
        "stablehlo.outfeed": _HOST,
        "stablehlo.partition_id": _DEVICE,
        "stablehlo.recv": _HOST,
        "stablehlo.reduce_scatter": _COLLECTIVE,
        "stablehlo.replica_id": _DEVICE,
        "stablehlo.send": _HOST,
        "stablehlo.uniform_dequantize": _QUANTIZED,
        "stablehlo.uniform_quantize": _QUANTIZED,
    }
)


def _refuse(operation: Operation) -> Runner:
    raise NotLiftable(_REASONS[operation.name])


OPERATIONS: Final[Mapping[str, Handler]] = {name: Handler(_refuse) for name in _REASONS}
