"""Copies of blocks in which some steps only pass a value on, and what nothing needs is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

from orbax_model_lite.lift.control.tracking import Path
from orbax_model_lite.lift.program import Block, Program, Step
from orbax_model_lite.lift.types import TensorType


@final
@dataclass(frozen=True, slots=True)
class PassedOn:
    """Takes the place of a step: its result is made of one of its operands.

    Attributes:
      operand: Which one.
      run: Takes the operand.
      is_same: Whether a reshape of the result to some type gives back the operand itself.
    """

    operand: int
    run: Callable[[Any], Any]
    is_same: Callable[[TensorType], bool] = lambda _: False


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
    own = {number: found[()] for number, found in inner.items() if () in found}
    undone = _undone(block, own)
    steps: list[Step] = []
    needed = set(results)
    for number in reversed(range(len(block.steps))):
        step = block.steps[number]
        if step.outputs and needed.isdisjoint(step.outputs):
            continue
        if number in undone:
            step = _passed_on(step, undone[number], lambda x: x)
        elif number in own:
            passed = own[number]
            step = _passed_on(step, step.inputs[passed.operand], passed.run)
        elif number in inner:
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


def _undone(block: Block, replaced: Mapping[int, PassedOn]) -> dict[int, int]:
    """Returns the reshapes that give back what a replaced step takes, with the slot of that."""
    sources = {
        block.steps[number].outputs[0]: (block.steps[number].inputs[passed.operand], passed)
        for number, passed in replaced.items()
    }
    found: dict[int, int] = {}
    for number, step in enumerate(block.steps):
        if step.name in _RESHAPES and step.inputs[0] in sources:
            slot, passed = sources[step.inputs[0]]
            (shaped,) = step.result_types
            if shaped is not None and passed.is_same(shaped):
                found[number] = slot
    return found


_RESHAPES: Final = ("stablehlo.reshape", "stablehlo.dynamic_reshape")


def _passed_on(step: Step, slot: int, run: Callable[[Any], Any]) -> Step:
    return replace(step, run=run, inputs=[slot], result_types=[None], keeps_known=True, fold=None)


def _replaced(step: Step, replacements: Mapping[Path, PassedOn], unset: int) -> Step:
    """Returns a call of a copy of a function, in which steps are replaced."""
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
