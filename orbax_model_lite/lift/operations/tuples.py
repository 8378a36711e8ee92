"""Operations that only hand values on: tuples, tokens, the optimization barrier.

A tuple of the module is a Python tuple. Tokens order side effects, which nothing that can be lifted
has, so a token is an empty array, as it is for JAX on its way through control flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.values import PerPlatform, Sizes


def _token(*tokens: Any) -> np.ndarray:
    return np.zeros(0, bool)


def _tuple(*values: Any) -> tuple[tuple[Any, ...]]:
    return (values,)


def _get_tuple_element(operation: Operation) -> Runner:
    index = operation.integer("index")
    return lambda values: (values[index],)


def _optimization_barrier(*values: Any) -> tuple[Any, ...]:
    # What is known while tracing is no computation that the compiler could move.
    arrays = [value for value in values if not _is_known(value)]
    behind = iter(lax.optimization_barrier(arrays))
    return tuple(value if _is_known(value) else next(behind) for value in values)


def _is_known(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Sizes, PerPlatform))


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.after_all": Handler(lambda operation: _token),
    "stablehlo.create_token": Handler(lambda operation: _token),
    "stablehlo.get_tuple_element": Handler(_get_tuple_element, keeps_known=True),
    "stablehlo.optimization_barrier": Handler(
        lambda operation: _optimization_barrier, keeps_known=True
    ),
    "stablehlo.tuple": Handler(lambda operation: _tuple),
}
