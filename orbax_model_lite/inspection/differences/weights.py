"""The weights of two bundles: what files with other digests hold, array by array, in a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import InvalidBundleError, MissingDependencyError, UnsupportedError
from orbax_model_lite.inspection.differences.nouns import (
    ArrayChange,
    Change,
    Kind,
    WeightsDifference,
)
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.weights import (
    ListedArray,
    format_name,
    is_weights,
    list_weights,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Weights of both bundles under one name, or under two where one took the place of the other.

    Attributes:
      before: The one bundle.
      after: The other.
      old_name: Of the object before.
      new_name: Of the object after.
      old: The object before.
      new: The object after.
    """

    before: Side
    after: Side
    old_name: str
    new_name: str
    old: ExternalValue
    new: ExternalValue

    def has_other_files(self) -> bool | None:
        """Whether the files differ, by recorded digests; None where one has none."""
        if self.old.data.file is None or self.new.data.file is None:
            return None
        old, new = f"weights {self.old_name!r}: ", f"weights {self.new_name!r}: "
        had = self.before.recorded_files(self.old.data.file.path, old)
        has = self.after.recorded_files(self.new.data.file.path, new)
        return None if had is None or has is None else had != has


def weights_difference(
    before: Side, after: Side, *, is_read: bool, progress: Progress | None
) -> tuple[list[Change], list[WeightsDifference]]:
    """Returns weights that came and went, and the differences of those that both bundles have.

    Args:
      before: The one bundle.
      after: The other.
      is_read: Whether values are compared; else names, types and sizes are.
      progress: Told how much of the files that differ has been read.

    Weights that are missing or damaged are a problem of theirs; the others are compared.

    Raises:
      StorageError: If the file system refuses.
    """
    had, has = _weights(before), _weights(after)
    gone = [name for name in had if name not in has]
    new = [name for name in has if name not in had]
    names = {name: name for name in had if name in has}
    changes: list[Change] = []
    if len(gone) == len(new) == 1 and is_weights(had[gone[0]]) and is_weights(has[new[0]]):
        # The only ones that are left are taken for the same weights under a new name.
        names[gone[0]] = new[0]
        changes.append(_change(f"weights {gone[0]!r}", "renamed", (gone.pop(), new.pop())))
    changes += [
        _change(f"weights {name!r}", "removed", (format_name(had[name]), "")) for name in gone
    ]
    changes += [_change(f"weights {name!r}", "added", ("", format_name(has[name]))) for name in new]
    pairs = [
        Pair(before=before, after=after, old_name=old, new_name=n, old=had[old], new=has[n])
        for old, n in names.items()
    ]
    for pair in pairs:
        texts = format_name(pair.old), format_name(pair.new)
        if texts[0] != texts[1]:
            changes.append(_change(f"weights {pair.old_name!r}", "changed", texts))
    return changes, [_judged(pair, is_read=is_read, progress=progress) for pair in pairs]


def _judged(pair: Pair, *, is_read: bool, progress: Progress | None) -> WeightsDifference:
    try:
        return _compared(pair, is_read=is_read, progress=progress)
    except InvalidBundleError as e:
        return WeightsDifference(name=pair.new_name, problem=str(e), is_damaged=True)


def _compared(pair: Pair, *, is_read: bool, progress: Progress | None) -> WeightsDifference:
    has_other_files = pair.has_other_files()
    if not is_weights(pair.old) or not is_weights(pair.new):
        return _as_files(pair)
    with pair.before.errors():
        had = {a.name: a for a in list_weights(pair.before.bundle, pair.old_name, pair.old)}
    if has_other_files is False:
        return WeightsDifference(
            name=pair.new_name, unchanged_count=len(had), has_other_files=False
        )
    with pair.after.errors():
        has = {a.name: a for a in list_weights(pair.after.bundle, pair.new_name, pair.new)}
    if not is_read:
        return _by_headers(pair, had, has, has_other_files)
    # NumPy is imported only where values are read.
    from orbax_model_lite.inspection.differences.contents import compare_contents

    try:
        return replace(compare_contents(pair, progress), has_other_files=has_other_files)
    except (MissingDependencyError, UnsupportedError) as e:
        by_headers = _by_headers(pair, had, has, has_other_files)
        return WeightsDifference(
            name=pair.new_name,
            arrays=by_headers.arrays,
            unread_count=by_headers.unread_count,
            has_other_files=has_other_files,
            problem=str(e),
        )


def _as_files(pair: Pair) -> WeightsDifference:
    """Returns whether data of another format differ, by the digests of their files."""
    had = pair.before.files(pair.old.data, f"value {pair.old_name!r}")
    has = pair.after.files(pair.new.data, f"value {pair.new_name!r}")
    if had == has:
        return WeightsDifference(name=pair.new_name, unchanged_count=1, has_other_files=False)
    return WeightsDifference(name=pair.new_name, unread_count=1, has_other_files=True)


def _by_headers(
    pair: Pair,
    had: Mapping[str, ListedArray],
    has: Mapping[str, ListedArray],
    has_other_files: bool | None,
) -> WeightsDifference:
    texts = {name: _listed_text(array) for name, array in had.items()}
    now = {name: _listed_text(array) for name, array in has.items()}
    changes = [
        ArrayChange(name=name, kind="removed", before=text)
        for name, text in texts.items()
        if name not in now
    ]
    changes += [
        ArrayChange(name=name, kind="added", after=text)
        for name, text in now.items()
        if name not in texts
    ]
    unread = 0
    for name, text in texts.items():
        if name not in now:
            continue
        if text and now[name] and text != now[name]:
            changes.append(ArrayChange(name=name, kind="changed", before=text, after=now[name]))
        else:
            unread += 1
    return WeightsDifference(
        name=pair.new_name,
        arrays=tuple(changes),
        unread_count=unread,
        has_other_files=has_other_files,
    )


def _weights(side: Side) -> dict[str, ExternalValue]:
    values = side.bundle.values.items()
    return {name: value for name, value in values if isinstance(value, ExternalValue)}


def _listed_text(array: ListedArray) -> str:
    return "" if array.dtype is None else f"{array.dtype} {list(array.shape or ())}"


def _change(where: str, kind: Kind, texts: tuple[str, str]) -> Change:
    return Change(section="weights", where=where, kind=kind, before=texts[0], after=texts[1])
