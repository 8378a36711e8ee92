"""What becomes of a loop's carried values in one iteration, found before anything is traced.

A walk over the steps of the body, and of the functions that it calls, with little more than
integers: it finds the counters, and the arrays of which each iteration reads or writes one row.
`scanning` makes a scan of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

import jax
import numpy as np

from orbax_model_lite.lift.control.iteration import Affine, Comparison, Undecided
from orbax_model_lite.lift.control.moving import affine, computed, element
from orbax_model_lite.lift.program import Block, Step
from orbax_model_lite.lift.values import Sizes, is_known

_DEEPEST = 32
"""Calls inside calls in which rows are looked for."""


@final
@dataclass(frozen=True, slots=True)
class Carried:
    """A value of the loop as the iteration finds it, by position."""

    position: int


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One element along a dimension, and all along the others, at an index that moves by one.

    Attributes:
      dimension: Along which the index moves.
      index: Of the row in each iteration; its step is 1 or -1.
    """

    dimension: int
    index: Affine


@final
@dataclass(frozen=True, slots=True)
class Updated:
    """A carried array after one row of it was written."""

    position: int


Tracked: TypeAlias = "np.ndarray | Sizes | Carried | Updated | Comparison | None"
"""None is any value of which nothing is known."""

Path: TypeAlias = tuple[int, ...]
"""Where a step is: its number in the body, or the number of a call and then inside the callee."""

_Window: TypeAlias = "tuple[Sequence[Any], Sequence[Any] | None]"
"""Starts and sizes of a slice; no sizes where only a trace tells."""


@final
@dataclass(slots=True)
class Walk:
    """One iteration: what its carried values become, and how they are used.

    Attributes:
      shapes: Of the loop's values, by position.
      reads: Rows that are read, by position, then by where.
      writes: Rows that are written, by position, then by where.
      others: Positions of values that are used in any other way.
    """

    shapes: Sequence[tuple[Any, ...]]
    reads: dict[int, dict[Path, Row]] = field(default_factory=dict)
    writes: dict[int, dict[Path, Row]] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)

    def block(self, block: Block, known: Mapping[int, Tracked], path: Path = ()) -> list[Tracked]:
        """Returns what a block returns.

        Args:
          block: The body, or that of a function that it calls.
          known: By slot, its parameters and what it captures.
          path: Of the call.
        """
        values = dict(known)
        for number, step in enumerate(block.steps):
            inputs = [values.get(slot) for slot in step.inputs]
            for region in step.regions:
                self._use(values.get(slot) for slot in region.captured)
            results = self._step(step, inputs, (*path, number))
            values.update(zip(step.outputs, results, strict=True))
        return [values.get(slot) for slot in block.results]

    def _step(self, step: Step, inputs: Sequence[Tracked], path: Path) -> Sequence[Tracked]:
        nothing = [None] * len(step.outputs)
        if step.callee is not None:
            if any(value is not None for value in inputs) and len(path) < _DEEPEST:
                body = step.callee.body
                return self.block(body, dict(zip(body.parameters, inputs, strict=True)), path)
        elif step.name == "stablehlo.constant" and step.run is not None:
            value = step.run()
            return [value if is_known(value) else None]
        elif inputs and all(isinstance(value, (np.ndarray, Sizes)) for value in inputs):
            return [computed(step, inputs)] if len(nothing) == 1 else nothing
        elif inputs and isinstance(inputs[0], Carried):
            accessed = self._access(step, inputs[0], inputs[1:], path)
            if accessed is not None:
                return accessed
        self._use(inputs)
        return nothing

    def _use(self, values: Any) -> None:
        found = (value for value in values if isinstance(value, (Carried, Updated)))
        self.others.update(value.position for value in found)

    def _access(
        self, step: Step, array: Carried, others: Sequence[Tracked], path: Path
    ) -> Sequence[Tracked] | None:
        """Notes a row that is read or written; returns None where it is neither."""
        is_write = step.name == "stablehlo.dynamic_update_slice"
        window = _WINDOWS[step.name](step, others) if step.name in _WINDOWS else None
        row = None if window is None else _row(window, self.shapes[array.position])
        if row is None:
            return None
        noted = self.writes if is_write else self.reads
        noted.setdefault(array.position, {})[path] = row
        if is_write:
            self._use(others)
        return [Updated(array.position) if is_write else None]


def _elements(value: Tracked) -> list[Any] | None:
    if isinstance(value, Sizes):
        return value.values.reshape(-1).tolist()
    return value.reshape(-1).tolist() if isinstance(value, np.ndarray) else None


def _slice_window(step: Step, starts: Sequence[Tracked]) -> _Window | None:
    (found,) = step.result_types
    assert found is not None
    return [element(start) for start in starts], found.shape


def _real_slice_window(step: Step, operands: Sequence[Tracked]) -> _Window | None:
    del step
    starts, limits, strides = map(_elements, operands[:3])
    if starts is None or limits is None or strides is None or any(s != 1 for s in strides):
        return None
    try:
        spans = [affine(y) - affine(x) for x, y in zip(starts, limits, strict=True)]
    except Undecided:
        return None
    return starts, [None if span.step else span.offset for span in spans]


def _update_window(step: Step, operands: Sequence[Tracked]) -> _Window | None:
    del step
    # The size of the update is seen when it is traced; `scanning` looks at it then.
    return [element(start) for start in operands[1:]], None


_WINDOWS: Final[Mapping[str, Callable[[Step, Sequence[Tracked]], _Window | None]]] = {
    "stablehlo.dynamic_slice": _slice_window,
    "stablehlo.dynamic_update_slice": _update_window,
    "stablehlo.real_dynamic_slice": _real_slice_window,
}


def _row(window: _Window, shape: Sequence[Any]) -> Row | None:
    """Returns which row of an array a window is; None if it is not one that moves by one."""
    starts, extent = window
    moves = [i for i, start in enumerate(starts) if isinstance(start, Affine)]
    if len(moves) != 1:
        return None
    dimension = moves[0]
    index = starts[dimension]
    wanted = [1 if i == dimension else size for i, size in enumerate(shape)]
    is_row = all(start == 0 for i, start in enumerate(starts) if i != dimension)
    is_row = is_row and (extent is None or list(extent) == wanted)
    if not is_row or index.step not in {1, -1}:
        return None
    try:
        inside = affine(0) <= index < affine(shape[dimension])
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return None
    return Row(dimension, index) if inside else None
