"""A lifted function before it runs: blocks of steps over numbered slots.

Every value of a function has a slot, values inside regions too, so a region reads what is defined
around it from the same list. `reading` makes programs, `evaluation` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from orbax_model_lite.lift.types import TensorType


@final
@dataclass(slots=True, kw_only=True)
class Step:
    """One operation, ready to run.

    Attributes:
      name: Of the operation.
      run: Takes the operands; see `operation.Runner`. None for a plain call.
      callee: For a plain call: what it calls.
      inputs: Slots of the operands.
      outputs: Slots of the results.
      result_types: To check the results against; None where there is nothing to check.
      regions: Blocks that `run` gets as callables.
      keeps_known: Whether `run` takes trace-time values (see `values`) as they are.
      fold: Computes the result where all operands are known; see `folding`.
      drops: Slots that nothing reads afterwards.
    """

    name: str
    run: Callable[..., Any] | None
    callee: Program | None = None
    inputs: Sequence[int]
    outputs: Sequence[int]
    result_types: Sequence[TensorType | None]
    regions: Sequence[Block] = ()
    keeps_known: bool = False
    fold: Callable[..., Any] | None = None
    drops: Sequence[int] = ()


@final
@dataclass(slots=True, kw_only=True)
class Block:
    """The body of a function or of a region.

    Attributes:
      parameters: Slots of its arguments.
      parameter_types: Of its arguments; None for a token or a tuple.
      steps: In order.
      results: Slots of what it returns.
      captured: Slots that it reads and that are defined around it.
    """

    parameters: Sequence[int] = ()
    parameter_types: Sequence[TensorType | None] = ()
    steps: list[Step] = field(default_factory=list)
    results: Sequence[int] = ()
    captured: frozenset[int] = frozenset()

    def lone_step(self) -> Step | None:
        """Returns the step of a block that is one step on all its parameters, in their order.

        Binary reducers are such blocks: `(a, b) -> add(a, b)`.
        """
        if len(self.steps) != 1 or self.captured:
            return None
        step = self.steps[0]
        fits = tuple(step.inputs) == tuple(self.parameters)
        return step if fits and tuple(step.outputs) == tuple(self.results) else None


@final
@dataclass(slots=True, kw_only=True, eq=False)
class Program:
    """One function of a module.

    Attributes:
      name: Its symbol.
      body: Empty until the whole module has been read.
      slots: How many values it has.
      result_types: Of what it returns; None for a token or a tuple.
    """

    name: str
    body: Block = field(default_factory=Block)
    slots: int = 0
    result_types: Sequence[TensorType | None] = ()
