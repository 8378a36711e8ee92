"""`chlo.scan`: a body that runs along one dimension of its inputs and passes carried values on.

Loops that a module writes as `stablehlo.while` are in `control`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax.numpy as jnp
from jax import lax
from jaxlib.mlir import ir

from orbax_model_lite.lift.evaluation import Region
from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.values import jax_arrays


def _scan(operation: Operation) -> Runner:
    inputs, _ = ir.DenseI32ArrayAttr(operation.attribute("operandSegmentSizes"))
    outputs, _ = ir.DenseI32ArrayAttr(operation.attribute("resultSegmentSizes"))
    dimension = operation.integer("dimension")
    reverse = operation.flag("is_reverse")
    # Needed where there is no input whose size tells it; that the body is associative is a hint.
    length = operation.integer("scan_dim_size") if operation.has("scan_dim_size") else None

    def run(*operands: Any, regions: Sequence[Region]) -> tuple[Any, ...]:
        (body,) = regions

        def step(carried: tuple[Any, ...], slices: tuple[Any, ...]) -> tuple[Any, Any]:
            found = jax_arrays(body(*slices, *carried))
            return tuple(found[outputs:]), tuple(found[:outputs])

        rows = tuple(jnp.moveaxis(x, dimension, 0) for x in jax_arrays(operands[:inputs]))
        start = tuple(jax_arrays(operands[inputs:]))
        carried, stacked = lax.scan(step, start, rows, length=length, reverse=reverse)
        return (*(jnp.moveaxis(x, 0, dimension) for x in stacked), *carried)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {"chlo.scan": Handler(_scan)}
