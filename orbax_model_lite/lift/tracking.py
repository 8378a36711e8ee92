"""What becomes of a loop's carried values in one iteration, found before anything is traced.

A walk over the steps of the body, and of the functions that it calls, with little more than
integers: it finds the counters, and the arrays of which each iteration reads or writes one row.
`loops` makes a scan of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

import jax
import numpy as np

from orbax_model_lite.lift.folding import fold
from orbax_model_lite.lift.iteration import COMPARISONS, Affine, Comparison, Undecided
from orbax_model_lite.lift.program import Block, Step
from orbax_model_lite.lift.values import Sizes, is_known, sizes

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
            return [_computed(step, inputs)] if len(nothing) == 1 else nothing
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
        row = None if window is None else _row(*window, self.shapes[array.position])
        if row is None:
            return None
        noted = self.writes if is_write else self.reads
        noted.setdefault(array.position, {})[path] = row
        if is_write:
            self._use(others)
        return [Updated(array.position) if is_write else None]


def moving(number: Affine, dtype: np.dtype) -> Sizes | np.ndarray:
    """Returns a scalar that moves with the iterations, as a value."""
    return sizes(number, dtype)


def element(value: Tracked) -> Any:
    """Returns what a known scalar is: an int, a dimension expression or an Affine; else None."""
    if isinstance(value, Sizes) and value.shape == ():
        return value.values[()]
    if isinstance(value, np.ndarray) and value.shape == ():
        return value[()].item()
    return None


def affine(number: Any) -> Affine:
    """Returns an int or a dimension expression as a number that does not move."""
    return number if isinstance(number, Affine) else Affine(number)


def _elements(value: Tracked) -> list[Any] | None:
    if isinstance(value, Sizes):
        return value.values.reshape(-1).tolist()
    return value.reshape(-1).tolist() if isinstance(value, np.ndarray) else None


def _slice_window(step: Step, starts: Sequence[Tracked]) -> Any:
    (found,) = step.result_types
    assert found is not None
    return [element(start) for start in starts], found.shape


def _real_slice_window(step: Step, operands: Sequence[Tracked]) -> Any:
    starts, limits, strides = map(_elements, operands[:3])
    if starts is None or limits is None or strides is None or any(s != 1 for s in strides):
        return None
    try:
        spans = [affine(y) - affine(x) for x, y in zip(starts, limits, strict=True)]
    except Undecided:
        return None
    return starts, [None if span.step else span.offset for span in spans]


def _update_window(step: Step, operands: Sequence[Tracked]) -> Any:
    # The size of the update is seen when it is traced; `loops` looks at it then.
    return [element(start) for start in operands[1:]], None


_WINDOWS: Final[Mapping[str, Callable[[Step, Sequence[Tracked]], Any]]] = {
    "stablehlo.dynamic_slice": _slice_window,
    "stablehlo.dynamic_update_slice": _update_window,
    "stablehlo.real_dynamic_slice": _real_slice_window,
}


def _row(starts: Sequence[Any], window: Sequence[Any] | None, shape: Sequence[Any]) -> Row | None:
    """Returns which row of an array a window is; None if it is not one that moves by one."""
    moves = [i for i, start in enumerate(starts) if isinstance(start, Affine)]
    if len(moves) != 1:
        return None
    dimension = moves[0]
    index = starts[dimension]
    wanted = [1 if i == dimension else size for i, size in enumerate(shape)]
    fits = all(start == 0 for i, start in enumerate(starts) if i != dimension)
    fits = fits and (window is None or list(window) == wanted)
    if not fits or index.step not in {1, -1}:
        return None
    try:
        inside = affine(0) <= index < affine(shape[dimension])
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return None
    return Row(dimension, index) if inside else None


def _maximum(x: Affine, y: Affine) -> Affine:
    return y if x <= y else x


def _minimum(x: Affine, y: Affine) -> Affine:
    return x if x <= y else y


_ARITHMETIC: Final[Mapping[str, Callable[..., Any]]] = {
    "stablehlo.add": operator.add,
    "stablehlo.clamp": lambda low, x, high: _minimum(_maximum(x, low), high),
    "stablehlo.convert": lambda x: x,
    "stablehlo.maximum": _maximum,
    "stablehlo.minimum": _minimum,
    "stablehlo.multiply": operator.mul,
    "stablehlo.negate": operator.neg,
    "stablehlo.select": lambda condition, x, y: x if condition else y,
    "stablehlo.subtract": operator.sub,
}
_MOVING: Final = ("broadcast_in_dim", "concatenate", "reshape", "slice")


def _computed(step: Step, operands: Sequence[Any]) -> Tracked:
    """Returns the result of a step on known operands, of which some may move; None if unknown."""
    (expected,) = step.result_types
    if expected is None or expected.dtype.kind not in "iub":
        return None
    if not any(map(_moves, operands)):
        is_small = step.fold is not None and all(map(is_known, operands))
        return fold(step.fold, operands, expected.dtype) if is_small and step.fold else None
    try:
        if step.name == "stablehlo.compare":
            return _compared(step, operands)
        if step.name in _ARITHMETIC:
            count = len(operands)
            folder: Any = np.frompyfunc(_ARITHMETIC[step.name], count, 1)
        elif step.name.removeprefix("stablehlo.") in _MOVING and step.fold is not None:
            folder = step.fold
        else:
            return None
        found = np.asarray(folder(*map(_affines, operands)), object)
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return None
    return _settled(found, expected.dtype)


def _moves(value: Any) -> bool:
    return isinstance(value, Sizes) and any(isinstance(e, Affine) for e in value.values.flat)


def _affines(value: np.ndarray | Sizes) -> np.ndarray:
    """Returns integers as Affine; dimension expressions do not know how to compute with those."""
    elements = value.values if isinstance(value, Sizes) else value.astype(object)
    if value.dtype.kind == "b":
        return elements
    return np.asarray(np.frompyfunc(affine, 1, 1)(elements), object)


def _settled(array: np.ndarray, dtype: np.dtype) -> Tracked:
    """Returns numbers in their simplest form; None if one may wrap around."""
    settled = np.empty(array.shape, object)
    for place, number in np.ndenumerate(array):
        if number.step and not fits(number, dtype):
            return None
        settled[place] = number if number.step else number.offset
    return sizes(settled, dtype)


def fits(number: Affine, dtype: np.dtype) -> bool:
    """Returns whether a number stays within the limits of its type, as far as that is known."""
    limits = np.iinfo(dtype)
    ends = [number.offset] + ([] if number.count is None else [number.at(number.count - 1)])
    return all(limits.min <= end <= limits.max for end in ends if isinstance(end, int))


def _compared(step: Step, operands: Sequence[Any]) -> Tracked:
    direction = _direction(step)
    x, y = map(_affines, operands)
    try:
        return np.asarray(np.frompyfunc(COMPARISONS[direction], 2, 1)(x, y), bool)
    except (Undecided, jax.errors.InconclusiveDimensionOperation):
        return Comparison(direction, x[()] - y[()]) if x.shape == () else None


def _direction(step: Step) -> str:
    """Returns the direction of a comparison, by three samples of it."""
    assert step.fold is not None
    samples = tuple(bool(step.fold(np.array(x, object), 0)) for x in (-1, 0, 1))
    return _DIRECTIONS[samples]


_DIRECTIONS: Final[Mapping[tuple[bool, ...], str]] = {
    (True, False, False): "LT",
    (True, True, False): "LE",
    (False, True, False): "EQ",
    (True, False, True): "NE",
    (False, True, True): "GE",
    (False, False, True): "GT",
}
