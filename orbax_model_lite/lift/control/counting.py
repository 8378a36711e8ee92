"""Which while loops run a number of times that is known while tracing, and what they go through.

A loop counts if its condition compares a counter with a number that is known while tracing, a
symbolic size perhaps. `scanning` runs such loops as scans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import jax

from orbax_model_lite.lift.control.iteration import Affine, Comparison, count_of
from orbax_model_lite.lift.control.moving import element, fits, moving
from orbax_model_lite.lift.control.tracking import (
    Carried,
    Path,
    Row,
    Tracked,
    Updated,
    Walk,
)
from orbax_model_lite.lift.evaluation import Region
from orbax_model_lite.lift.program import Block
from orbax_model_lite.lift.values import is_known


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CountedLoop:
    """A loop that runs a number of times which is known while tracing.

    Positions count the carried values, then those that the body captures.

    Attributes:
      body: A block whose parameters are the carried and the captured values.
      slots: How many slots there are around the body.
      values: Carried values at the start, then captured values.
      carried: How many are carried.
      count: How often it runs: an int or a dimension expression.
      counters: By position, what they are in each iteration.
      read: By position, arrays of which each iteration reads one row only, and which one.
      written: By position, arrays of which each iteration writes one row only, and which one.
      paths: By position, where rows are read or written.
    """

    body: Block
    slots: int
    values: Sequence[Any]
    carried: int
    count: Any
    counters: Mapping[int, Affine]
    read: Mapping[int, Row]
    written: Mapping[int, Row]
    paths: Mapping[int, Sequence[Path]]

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that each iteration reads or writes."""
        return [*self.read.values(), *self.written.values()]

    def without_written(self, position: int) -> CountedLoop:
        """Returns the loop with an array as one that is carried as a whole."""
        return replace(self, written={p: row for p, row in self.written.items() if p != position})


def is_unchanged(body: Block, position: int) -> bool:
    """Returns whether a loop's body returns a carried value as it took it."""
    return body.results[position] == body.parameters[position]


def counted(condition: Region, body: Region, operands: Sequence[Any]) -> CountedLoop | None:
    """Returns a while loop as one that counts; None if it is not.

    Args:
      condition: Its first region.
      body: Its second region.
      operands: Carried values at the start.
    """
    captured = body.captured()
    whole = replace(body.block, parameters=[*body.block.parameters, *captured])
    values = [*operands, *captured.values()]
    iteration = _Iteration(whole, values, len(operands))
    counters = iteration.counters()
    if not counters:
        return None
    known = list(iteration.known(counters).values())[: len(operands)]
    count = _count(condition, known)
    if count is None or not all(
        fits(Affine(c.at(count)), values[p].dtype) for p, c in counters.items()
    ):
        return None
    timed = {p: replace(counter, count=count) for p, counter in counters.items()}
    walk = iteration.walk(timed)[0]
    read = {p: row for p in walk.reads if (row := iteration.read_row(walk, p)) is not None}
    written = {p: row for p in walk.writes if (row := iteration.written_row(walk, p)) is not None}
    accesses = {**walk.reads, **walk.writes}
    return CountedLoop(
        body=whole,
        slots=body.slots,
        values=values,
        carried=len(operands),
        count=count,
        counters=timed,
        read=read,
        written=written,
        paths={p: list(accesses[p]) for p in (*read, *written)},
    )


def _count(condition: Region, carried: Sequence[Tracked]) -> Any:
    captured = condition.captured().items()
    known = {slot: value if is_known(value) else None for slot, value in captured}
    known.update(zip(condition.block.parameters, carried, strict=True))
    (found,) = Walk([()] * len(carried)).block(condition.block, known)
    try:
        return count_of(found) if isinstance(found, Comparison) else None
    except jax.errors.InconclusiveDimensionOperation:
        return None


def _is_grown(after: Any, number: Affine) -> bool:
    """Returns whether a number after an iteration is the one before it and a constant."""
    is_moving = isinstance(after, Affine) and isinstance(after.offset, int)
    return is_moving and replace(after, offset=0) == number


@final
class _Iteration:
    """One iteration of a loop, to be walked through with more and more knowledge."""

    def __init__(self, body: Block, values: Sequence[Any], carried: int) -> None:
        self._body = body
        self._values = values
        self._carried = carried

    def counters(self) -> dict[int, Affine]:
        """Returns the counters: what a constant is added to in each iteration."""
        found = {p for p in range(self._carried) if self._may_count(p)}
        while found:
            own = {position: Affine(0, 1, position) for position in found}
            results = self.walk(own)[1]
            steps: dict[int, int] = {}
            for position in found:
                after = element(results[position])
                if _is_grown(after, own[position]):
                    steps[position] = after.offset
            if len(steps) == len(found):
                return {p: Affine(element(self._values[p]), step) for p, step in steps.items()}
            # What is no counter is no constant either, so those that are made of it fall out too.
            found = set(steps)
        return {}

    def _may_count(self, position: int) -> bool:
        value = self._values[position]
        is_start = is_known(value) and value.shape == () and value.dtype.kind in "iu"
        return is_start and not is_unchanged(self._body, position)

    def known(self, counters: Mapping[int, Affine]) -> dict[int, Tracked]:
        """Returns by slot what is known of the values that an iteration takes."""
        pairs = enumerate(zip(self._body.parameters, self._values, strict=True))
        return {slot: self._known(p, value, counters) for p, (slot, value) in pairs}

    def _known(self, position: int, value: Any, counters: Mapping[int, Affine]) -> Tracked:
        if position in counters:
            return moving(counters[position], value.dtype)
        if is_known(value) and self._is_constant(position):
            return value
        return Carried(position) if hasattr(value, "shape") else None

    def _is_constant(self, position: int) -> bool:
        return position >= self._carried or is_unchanged(self._body, position)

    def walk(self, counters: Mapping[int, Affine]) -> tuple[Walk, list[Tracked]]:
        """Returns an iteration's accesses and results."""
        walk = Walk([getattr(value, "shape", ()) for value in self._values])
        results = walk.block(self._body, self.known(counters))
        for position, result in enumerate(results):
            if isinstance(result, (Carried, Updated)) and result.position != position:
                walk.others.add(result.position)
            is_lost = position in walk.writes and result != Updated(position)
            if is_lost:
                walk.others.add(position)
        return walk, results

    def read_row(self, walk: Walk, position: int) -> Row | None:
        """Returns which row of a constant array is read, if nothing else is done with it."""
        rows = set(walk.reads[position].values())
        is_scanned = self._is_constant(position) and len(rows) == 1
        used = position in walk.others or position in walk.writes
        return rows.pop() if is_scanned and not used else None

    def written_row(self, walk: Walk, position: int) -> Row | None:
        """Returns which row of a carried array is written, if nothing else is done with it."""
        rows = list(walk.writes[position].values())
        used = position in walk.others or position in walk.reads
        return rows[0] if len(rows) == 1 and not used else None
