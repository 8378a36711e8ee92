"""Composites: an operation's name together with a function that computes it.

Where JAX has the operation itself, that is what comes out, with its accuracy and its derivative;
any other composite is a call of its function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.chlo import FUNCTIONS
from orbax_model_lite.lift.operations.topk import top_k
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.values import as_arrays


def _composite(operation: Operation) -> Runner | Program:
    name, attributes = operation.text("name"), _attributes(operation)
    if name in FUNCTIONS and not attributes:
        return _on_arrays(FUNCTIONS[name])
    if name == "chlo.top_k" and set(attributes) == {"k"}:
        return _on_arrays(top_k(ir.IntegerAttr(attributes["k"]).value, operation))
    return operation.around.program(operation.text("decomposition"))


def _attributes(operation: Operation) -> dict[str, ir.Attribute]:
    if not operation.has("composite_attributes"):
        return {}
    found = ir.DictAttr(operation.attribute("composite_attributes"))
    return {item.name: item.attr for item in found}


def _on_arrays(run: Runner) -> Runner:
    return lambda *operands: run(*as_arrays(operands))


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.composite": Handler(_composite, keeps_known=True),
}
