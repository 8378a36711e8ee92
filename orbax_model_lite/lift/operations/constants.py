"""Constants: small integers stay known while tracing, one number for all elements stays one number.

How the numbers are read is in `dense`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.dense import dense_values, from_bytes, resource_name
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import is_known


def _constant(operation: Operation) -> Runner:
    expected = operation.result_type()
    values = _values(operation, expected)
    if values.ndim and values.size > 1 and not any(values.strides) and not is_known(values):
        value = np.array(values.flat[0], expected.dtype)
        shape = values.shape
        return lambda: lax.full(shape, value, expected.dtype)
    return lambda: values


def _values(operation: Operation, expected: TensorType) -> np.ndarray:
    name = resource_name(operation.inner)
    if name is None:
        return dense_values(operation.inner, expected)
    blob = operation.around.resource(name)
    if blob is None:
        raise NotLiftable(f"a constant whose numbers, resource {name!r}, are not in the module")
    flat = from_bytes(blob, expected.dtype)
    if flat.size != int(np.prod(expected.static_shape)):
        raise NotLiftable(f"a resource of {flat.size} elements for {expected}")
    return flat.reshape(expected.static_shape)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "arith.constant": Handler(_constant),
    "sdy.constant": Handler(_constant),
    "stablehlo.constant": Handler(_constant),
}
