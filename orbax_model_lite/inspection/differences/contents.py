"""What two sets of weights hold: every array of both read in pieces, and compared by name."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np

from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.inspection.differences.arrays import (
    ArrayDistance,
    StreamedArray,
    is_equal,
    paired_pieces,
)
from orbax_model_lite.inspection.differences.nouns import ArrayChange, WeightsDifference
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.differences.weights import Pair
from orbax_model_lite.inspection.streams import open_weights

_CORNER: Final = 8
# Of arrays that begin alike, so that many of them do not take forever.
_MOST_TRIED: Final = 16


def compare_contents(pair: Pair, progress: Progress | None) -> WeightsDifference:
    """Returns the difference of weights of both bundles.

    Args:
      pair: The weights.
      progress: Told how much has been read of the arrays that both have.

    Raises:
      InvalidBundleError: If weights are missing or damaged.
      MissingDependencyError: If a package that reads their format is not installed.
      StorageError: If the file system refuses.
      UnsupportedError: If their format is unknown.
    """
    with contextlib.ExitStack() as stack:
        before = _opened(pair.before, pair.old_name, pair.old, stack)
        after = _opened(pair.after, pair.new_name, pair.new, stack)
        comparison = _Comparison(before=before, after=after, progress=progress)
        comparison.run()
    return WeightsDifference(
        name=pair.new_name,
        arrays=tuple(comparison.changes),
        unchanged_count=comparison.unchanged_count,
    )


def _opened(
    side: Side, name: str, value: ExternalValue, stack: contextlib.ExitStack
) -> dict[str, StreamedArray | str]:
    """Returns arrays by name; why it is none for what is no array."""
    with side.errors():
        stream = stack.enter_context(open_weights(side.bundle, name, value))
        opened = stream.open(stream.arrays)
    return {
        key: StreamedArray(side=side, stream=stream, stored=opened[key])
        if key in opened
        else array.problem or "no array"
        for key, array in stream.arrays.items()
    }


@final
@dataclass(slots=True, kw_only=True)
class _Comparison:
    """One walk through the arrays of two sets of weights, which collects changes."""

    before: Mapping[str, StreamedArray | str]
    after: Mapping[str, StreamedArray | str]
    progress: Progress | None
    changes: list[ArrayChange] = field(default_factory=list)
    unchanged_count: int = 0
    _done: int = 0
    _total: int = 0

    def run(self) -> None:
        both = [name for name in self.before if name in self.after]
        gone = [name for name in self.before if name not in self.after]
        come = [name for name in self.after if name not in self.before]
        self._total = sum(_size_bytes(self.before[name]) for name in both)
        followers = self._followers(gone, come)
        for name in gone:
            text = _text(self.before[name])
            if name in followers:
                follower = followers[name]
                self.changes.append(
                    ArrayChange(
                        name=follower, kind="renamed", before_name=name, before=text, after=text
                    )
                )
            else:
                self.changes.append(ArrayChange(name=name, kind="removed", before=text))
        taken = set(followers.values())
        for name in come:
            if name not in taken:
                text = _text(self.after[name])
                self.changes.append(ArrayChange(name=name, kind="added", after=text))
        for name in both:
            self._array(name, self.before[name], self.after[name])

    def _array(self, name: str, old: StreamedArray | str, new: StreamedArray | str) -> None:
        texts = _text(old), _text(new)
        if isinstance(old, str) or isinstance(new, str):
            problem = old if isinstance(old, str) else str(new)
            self.changes.append(
                ArrayChange(
                    name=name, kind="changed", before=texts[0], after=texts[1], problem=problem
                )
            )
            return
        found = self._distance(old, new) if _is_comparable(old, new) else None
        if texts[0] == texts[1] and (found is None or not found.changed_count):
            self.unchanged_count += 1
            return
        is_number = found is not None and not old.spec.logical
        self.changes.append(
            ArrayChange(
                name=name,
                kind="changed",
                before=texts[0],
                after=texts[1],
                changed_count=None if found is None else found.changed_count,
                relative_norm=found.relative_norm if found is not None and is_number else None,
            )
        )

    def _distance(self, old: StreamedArray, new: StreamedArray) -> ArrayDistance:
        found = ArrayDistance(old.spec.dtype, new.spec.dtype)
        for one, other in paired_pieces(old, new):
            found.add(one, other)
            self._done += one.nbytes
            if self.progress is not None:
                self.progress(self._done, self._total)
        return found

    def _followers(self, gone: Sequence[str], come: Sequence[str]) -> dict[str, str]:
        """Returns new names of arrays that are gone, found by equal contents."""
        by_begin: dict[tuple[str, bytes], list[str]] = defaultdict(list)
        for name in come:
            array = self.after[name]
            if not isinstance(array, str) and array.size_bytes:
                by_begin[_begin(array)].append(name)
        found = {}
        for name in gone:
            array = self.before[name]
            if isinstance(array, str) or not array.size_bytes or not by_begin:
                continue
            candidates = by_begin.get(_begin(array), [])
            for candidate in candidates[:_MOST_TRIED]:
                other = self.after[candidate]
                if not isinstance(other, str) and _is_same(array, other):
                    found[name] = candidate
                    candidates.remove(candidate)
                    break
        return found


def _begin(array: StreamedArray) -> tuple[str, bytes]:
    """Returns type, sizes and a few elements, by which most arrays can be told apart."""
    corner = tuple(slice(0, min(size, _CORNER)) for size in array.stored.shape)
    return _text(array), np.ascontiguousarray(array.read(corner)).tobytes()


def _is_same(one: StreamedArray, other: StreamedArray) -> bool:
    return all(is_equal(*pieces) for pieces in paired_pieces(one, other))


def _is_comparable(old: StreamedArray, new: StreamedArray) -> bool:
    """Whether there is a difference of values: of the same sizes, and of keys of the same type."""
    return old.stored.shape == new.stored.shape and old.spec.logical == new.spec.logical


def _size_bytes(array: StreamedArray | str) -> int:
    return 0 if isinstance(array, str) else array.size_bytes


def _text(array: StreamedArray | str) -> str:
    return array if isinstance(array, str) else str(array.spec)
