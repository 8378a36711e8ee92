"""Copies of blocks in which some steps only pass a value on, and what nothing needs is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from orbax_model_lite.lift.program import Block, Program, Step
from orbax_model_lite.lift.tracking import Path


@final
@dataclass(frozen=True, slots=True)
class PassedOn:
    """Takes the place of a step: its result is one of its operands.

    Attributes:
      operand: Which one.
      check: Takes the operand, and returns it.
    """

    operand: int
    check: Callable[[Any], Any]


def rewritten(
    block: Block, replacements: Mapping[Path, PassedOn], results: Sequence[int], unset: int
) -> Block:
    """Returns a copy of a block with other steps and other results, and without unused steps.

    Args:
      block: The body of a loop or of a function.
      replacements: By the path of the step, in the block or in a function that it calls.
      results: Slots of what the copy returns.
      unset: A slot that no value has, for arguments that nothing reads any more.
    """
    inner: dict[int, dict[Path, PassedOn]] = {}
    for path, replacement in replacements.items():
        inner.setdefault(path[0], {})[path[1:]] = replacement
    steps: list[Step] = []
    needed = set(results)
    for number in reversed(range(len(block.steps))):
        step = block.steps[number]
        if step.outputs and needed.isdisjoint(step.outputs):
            continue
        if number in inner:
            step = _replaced(step, inner[number], unset)
        steps.append(step)
        needed.update(step.inputs)
        needed.update(slot for region in step.regions for slot in region.captured)
    return replace(block, steps=steps[::-1], results=list(results))


def read_slots(block: Block) -> set[int]:
    """Returns the slots that a block's steps read, or that it returns."""
    read = {slot for step in block.steps for slot in step.inputs}
    captured = {slot for step in block.steps for region in step.regions for slot in region.captured}
    return read | captured | set(block.results)


def _replaced(step: Step, replacements: Mapping[Path, PassedOn], unset: int) -> Step:
    if () in replacements:
        passed = replacements[()]
        return replace(
            step,
            run=passed.check,
            inputs=[step.inputs[passed.operand]],
            result_types=[None],
            keeps_known=True,
            fold=None,
        )
    callee = step.callee
    assert callee is not None
    # One slot more, which nothing sets.
    body = rewritten(callee.body, replacements, callee.body.results, callee.slots)
    program = Program(
        name=callee.name, body=body, slots=callee.slots + 1, result_types=callee.result_types
    )
    read = read_slots(body)
    pairs = zip(step.inputs, callee.body.parameters, strict=True)
    inputs = [slot if parameter in read else unset for slot, parameter in pairs]
    return replace(step, callee=program, inputs=inputs)
