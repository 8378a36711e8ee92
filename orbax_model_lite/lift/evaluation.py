"""Runs programs while JAX traces, or eagerly.

Calls of functions keep a stack of their own, so a module may nest them as deep as it likes; regions
are nested by JAX itself, which traces them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift.division import quotient
from orbax_model_lite.lift.folding import fold, settled
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.program import Block, Program, Step
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import PerPlatform, Sizes, as_arrays, is_known

_UNSET = None


def evaluate(program: Program, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the results of a function; trace-time values stay what they are.

    Raises:
      UnsupportedError: If an operation takes a shape that is computed from data.
    """
    return _run(_Frame(program.body, [_UNSET] * program.slots, arguments))


@final
class Region:
    """A region of the operation that is being run: a function of its own arguments."""

    def __init__(self, block: Block, slots: list[Any]) -> None:
        self.block = block
        self._slots = slots

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        """Returns its results; trace-time values stay what they are."""
        return _run(_Frame(self.block, self._slots, arguments))

    @property
    def slots(self) -> int:
        """How many slots the function around it has."""
        return len(self._slots)

    def captured(self) -> dict[int, Any]:
        """Returns what it reads of the values around it, by slot."""
        return {slot: self._slots[slot] for slot in sorted(self.block.captured)}


def _run(frame: _Frame) -> tuple[Any, ...]:
    frames = [frame]
    while True:
        call = frames[-1].advance()
        if call is not None:
            frames.append(call)
            continue
        results = frames.pop().results()
        if not frames:
            return results
        frames[-1].resume(results)


@final
class _Frame:
    """One block that is being run, up to its next call of a function."""

    def __init__(self, block: Block, slots: list[Any], arguments: Sequence[Any]) -> None:
        self._block = block
        self._slots = slots
        self._next = 0
        for slot, argument in zip(block.parameters, arguments, strict=True):
            slots[slot] = argument

    def advance(self) -> _Frame | None:
        """Runs steps; returns the frame of a call to be run first, or None at the end."""
        steps = self._block.steps
        while self._next < len(steps):
            step = steps[self._next]
            if step.callee is not None:
                arguments = [self._slots[slot] for slot in step.inputs]
                known = quotient(step.callee, arguments, evaluate)
                if known is not None:
                    self.resume((known,))
                    continue
                return _Frame(step.callee.body, [_UNSET] * step.callee.slots, arguments)
            self.resume(self._run_step(step))
        return None

    def resume(self, results: Sequence[Any]) -> None:
        """Stores what the current step gave and goes on to the next."""
        step = self._block.steps[self._next]
        for slot, result in zip(step.outputs, results, strict=True):
            self._slots[slot] = result
        for slot in step.drops:
            self._slots[slot] = _UNSET
        self._next += 1

    def results(self) -> tuple[Any, ...]:
        return tuple(self._slots[slot] for slot in self._block.results)

    def _run_step(self, step: Step) -> Sequence[Any]:
        operands = [self._slots[slot] for slot in step.inputs]
        if not step.keeps_known:
            folded = _folded(step, operands)
            if folded is not None:
                return (folded,)
            operands = as_arrays(operands)
        assert step.run is not None
        try:
            if step.regions:
                found = step.run(*operands, regions=[self._callable(b) for b in step.regions])
            else:
                found = step.run(*operands)
        except NotLiftable as e:
            raise UnsupportedError(
                f"operation {step.name!r}: expected one that JAX can trace with these arguments; "
                f"found {e}; call the function as it is stored instead"
            ) from e
        results = found if isinstance(found, tuple) else (found,)
        for result, expected in zip(results, step.result_types, strict=True):
            _require_type(step, result, expected)
        return results

    def _callable(self, block: Block) -> Region:
        """Returns a region as a function of its own arguments."""
        return Region(block, self._slots)


def _folded(step: Step, operands: Sequence[Any]) -> Any:
    """Returns the result of a step on known values, if it can be known as well; else None."""
    expected = step.result_types[0] if step.result_types else None
    if step.fold is None or expected is None or not all(map(is_known, operands)):
        return settled(step.name, operands)
    return fold(step.fold, operands, expected.dtype)


def _require_type(step: Step, result: Any, expected: TensorType | None) -> None:
    """Raises if a result is not what the module says; guards against silently wrong numbers."""
    if expected is None or isinstance(result, (Sizes, PerPlatform)):
        return
    if not expected.fits(result):
        raise UnsupportedError(
            f"operation {step.name!r}: expected a result of {expected}; found "
            f"{result.dtype}{list(result.shape)}; call the function as it is stored instead"
        )
