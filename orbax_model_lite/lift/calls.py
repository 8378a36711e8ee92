"""Calls of the module's own functions.

A function with a marked derivative rule is the matter of `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.program import Program


def _call(operation: Operation) -> Runner | Program:
    return operation.around.program(operation.text("callee"))


OPERATIONS: Final[Mapping[str, Handler]] = {"func.call": Handler(_call, keeps_known=True)}
