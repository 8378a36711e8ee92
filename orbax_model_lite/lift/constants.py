"""Constants: dense attributes as NumPy arrays, without a copy where the bindings allow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable


def _constant(operation: Operation) -> Runner:
    expected = operation.result_type()
    if expected.dtype.kind not in "iufb":
        raise NotLiftable(f"a constant of {expected.dtype}")
    value = np.array(ir.DenseElementsAttr(operation.attribute("value")), copy=False)
    return lambda: value


OPERATIONS: Final[Mapping[str, Handler]] = {"stablehlo.constant": Handler(_constant)}
