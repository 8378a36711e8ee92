"""While loops that count become scans, so that they have a gradient; `flow` runs the others.

Arrays of which each iteration reads one row, in order, are scanned over; arrays of which each
writes one row are stacked. So a gradient keeps no copy of a whole array for each iteration.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from jax import lax

from orbax_model_lite.lift.control.counting import CountedLoop, is_unchanged
from orbax_model_lite.lift.control.rewriting import PassedOn, read_slots, rewritten
from orbax_model_lite.lift.control.tracking import Path, Row
from orbax_model_lite.lift.evaluation import evaluate
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import jax_arrays, sizes


def run_counted(loop: CountedLoop) -> tuple[Any, ...]:
    """Returns the carried values after a loop; counters and constants are known ones."""
    while True:
        try:
            return _Scan(loop).run()
        except _PartOfARow as e:
            loop = loop.without_written(e.position)


class _PartOfARow(Exception):  # noqa: N818  # a verdict on one array, never seen by callers
    """An iteration writes less than one row of an array, so what it writes cannot be stacked."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


@final
class _Scan:
    """A counted loop as a scan: what it carries, what it scans over and what it stacks."""

    def __init__(self, loop: CountedLoop) -> None:
        self._loop = loop
        body, carried = loop.body, range(loop.carried)
        plain = [p for p in carried if p not in loop.counters and p not in loop.written]
        self._kept = [p for p in plain if not is_unchanged(body, p)]
        results = [body.results[p] for p in (*self._kept, *loop.written)]
        block = rewritten(body, self._replacements(), results, loop.slots)
        # One slot more, which nothing sets.
        self._program = Program(name="while", body=block, slots=loop.slots + 1)
        read = read_slots(block)
        self._counters = [p for p in loop.counters if body.parameters[p] in read]
        self._is_reversed = bool(loop.rows) and all(row.index.step < 0 for row in loop.rows)

    def run(self) -> tuple[Any, ...]:
        loop = self._loop
        start = jax_arrays([loop.values[p] for p in (*self._kept, *self._counters)])
        rows = {p: self._rows(jax_arrays([loop.values[p]])[0], r) for p, r in loop.read.items()}
        is_static = isinstance(loop.count, int)
        # A symbolic number of iterations is told by the length of an array.
        over = rows if rows or is_static else {-1: lax.iota(np.dtype("int32"), loop.count)}
        length = loop.count if is_static else None
        end, stacks = lax.scan(self._step, start, over, length, reverse=self._is_reversed)
        results = dict(enumerate(loop.values[: loop.carried]))
        results.update(zip(self._kept, end, strict=False))
        for position, stack in zip(loop.written, stacks, strict=True):
            results[position] = self._stacked(position, stack)
        for position, counter in loop.counters.items():
            results[position] = sizes(counter.at(loop.count), loop.values[position].dtype)
        return tuple(results.values())

    def _step(self, state: Sequence[Any], rows: dict[int, Any]) -> tuple[list[Any], list[Any]]:
        loop = self._loop
        arguments = list(loop.values)
        for position in (*loop.counters, *loop.written):
            arguments[position] = None
        for position, value in zip((*self._kept, *self._counters), state, strict=True):
            arguments[position] = value
        for position in loop.read:
            arguments[position] = rows[position]
        results = jax_arrays(evaluate(self._program, arguments))
        kept = len(self._kept)
        counters = [self._next(p, state[kept + i]) for i, p in enumerate(self._counters)]
        pairs = zip(loop.written.values(), results[kept:], strict=True)
        return [*results[:kept], *counters], [lax.squeeze(y, [row.dimension]) for row, y in pairs]

    def _next(self, position: int, value: Any) -> Any:
        step = np.asarray(self._loop.counters[position].step)
        return lax.add(value, step.astype(value.dtype))

    def _replacements(self) -> dict[Path, PassedOn]:
        loop = self._loop
        found: dict[Path, PassedOn] = {}
        for position, row in loop.read.items():
            shape = list(loop.values[position].shape)
            del shape[row.dimension]
            passed = PassedOn(
                0,
                functools.partial(_expanded, row.dimension),
                functools.partial(_is_surely, shape),
            )
            found.update(dict.fromkeys(loop.paths[position], passed))
        for position, row in loop.written.items():
            shape = list(loop.values[position].shape)
            shape[row.dimension] = 1
            check = functools.partial(_require_row, position, shape)
            found.update(dict.fromkeys(loop.paths[position], PassedOn(1, check)))
        return found

    def _rows(self, array: Any, row: Row) -> Any:
        """Returns the rows of an array, in the order of the scan, along its first dimension."""
        first, is_whole = self._window(array, row)
        count, dimension = self._loop.count, row.dimension
        if not is_whole:
            array = lax.slice_in_dim(array, first, first + count, axis=dimension)
        return _moved(self._ordered(array, row), dimension, 0)

    def _stacked(self, position: int, stack: Any) -> Any:
        """Returns an array after all of its rows that the loop writes are written."""
        row = self._loop.written[position]
        rows = self._ordered(_moved(stack, 0, row.dimension), row)
        (start,) = jax_arrays([self._loop.values[position]])
        first, is_whole = self._window(start, row)
        if is_whole:
            return rows
        return lax.dynamic_update_slice_in_dim(start, rows, first, axis=row.dimension)

    def _window(self, array: Any, row: Row) -> tuple[Any, bool]:
        """Returns the first row of an array that is accessed, and whether all its rows are."""
        index, count = row.index, self._loop.count
        first = index.offset if index.step > 0 else index.at(count - 1)
        return first, first == 0 and array.shape[row.dimension] == count

    def _ordered(self, array: Any, row: Row) -> Any:
        is_same_way = (row.index.step < 0) == self._is_reversed
        return array if is_same_way else lax.rev(array, [row.dimension])


def _moved(array: Any, source: int, target: int) -> Any:
    if source == target:
        return array
    order = [i for i in range(array.ndim) if i != source]
    order.insert(target, source)
    return lax.transpose(array, order)


def _require_row(position: int, shape: Sequence[Any], update: Any) -> Any:
    if list(update.shape) != list(shape):
        raise _PartOfARow(position)
    return update


def _expanded(dimension: int, row: Any) -> Any:
    return lax.expand_dims(row, [dimension])


def _is_surely(shape: Sequence[Any], found: TensorType) -> bool:
    """Returns whether a shape of as many elements is this one, whatever its open size is."""
    if found.rank != len(shape) or found.shape.count(None) > 1:
        return False
    return all(s is None or s == size for s, size in zip(found.shape, shape, strict=True))
