"""Calls of the module's own functions.

A function with a marked derivative rule is the matter of `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.rules.restoring import call_by_rule


def _call(operation: Operation) -> Runner | Program:
    program = operation.around.program(operation.text("callee"))
    return call_by_rule(operation, program) or program


OPERATIONS: Final[Mapping[str, Handler]] = {"func.call": Handler(_call, keeps_known=True)}
