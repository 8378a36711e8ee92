"""The functions of two bundles: what callers see of them, where they run, what they consist of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.function import ConcreteFunction, Function, ShloFunction
from orbax_model_lite.inspection.describing import kind_of
from orbax_model_lite.inspection.differences import seen, traits
from orbax_model_lite.inspection.differences.nouns import Change, CountChange, Kind
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.differences.signatures import (
    Interface,
    signature_changes,
    tree_text,
)
from orbax_model_lite.inspection.signatures import brief

# Supplementals whose content is compared by what it says, not by its bytes.
_READ: Final = frozenset(
    {
        layout.KEY_MODULE_FACTS,
        layout.KEY_JAX_TREES,
        layout.KEY_JAX_INFO,
        layout.KEY_LOGICAL_TYPES,
    }
)
# Of variants, each of which is compared with each.
_MOST_PAIRS: Final = 1 << 12


@final
@dataclass(slots=True)
class FunctionsDifference:
    """One walk through the functions of two bundles, which collects what changed.

    Attributes:
      before: The one bundle.
      after: The other.
      in_use: Private functions that a pipeline begins or ends with, so that callers see them.
      changes: What was found.
      operations: Likewise.
      custom_calls: Likewise.
    """

    before: Side
    after: Side
    in_use: Collection[str] = ()
    changes: list[Change] = field(default_factory=list)
    operations: list[CountChange] = field(default_factory=list)
    custom_calls: list[CountChange] = field(default_factory=list)

    def run(self) -> None:
        """Compares all functions, by name."""
        had, has = self.before.bundle.functions, self.after.bundle.functions
        gone = {name: f for name, f in had.items() if name not in has}
        new = {name: f for name, f in has.items() if name not in had}
        for name, follower in self._renamed(gone, new).items():
            where, is_breaking = f"function {name!r}", self._is_seen(name, gone.pop(name))
            del new[follower]
            self._add("signatures", where, "renamed", (name, follower), is_breaking=is_breaking)
        for name, function in gone.items():
            is_breaking = self._is_seen(name, function)
            texts = traits.function_text(function), ""
            self._add("signatures", f"function {name!r}", "removed", texts, is_breaking=is_breaking)
        for name, function in new.items():
            texts = "", traits.function_text(function)
            self._add("signatures", f"function {name!r}", "added", texts)
        for name, function in had.items():
            if name in has:
                self._function(name, function, has[name])

    def _renamed(self, gone: Mapping[str, Function], new: Mapping[str, Function]) -> dict[str, str]:
        """Returns functions with the same signature and program under another name."""
        if not gone or not new:
            return {}
        by_program: dict[tuple[object, ...], str] = {}
        for name, function in new.items():
            by_program.setdefault(_identity(self.after, function), name)
        found = {}
        for name, function in gone.items():
            follower = by_program.pop(_identity(self.before, function), None)
            if follower is not None:
                found[name] = follower
        return found

    def _is_seen(self, name: str, function: Function) -> bool:
        return name in self.in_use or traits.is_public(function)

    def _function(self, name: str, before: Function, after: Function) -> None:
        where = f"function {name!r}"
        is_seen = self._is_seen(name, before)
        if traits.is_public(before) != traits.is_public(after):
            texts = traits.visibility(before), traits.visibility(after)
            self._add("signatures", where, "changed", texts, is_breaking=is_seen)
        had, has = traits.variants(before), traits.variants(after)
        old = [seen.interface(self.before, variant) for variant in had]
        new = [seen.interface(self.after, variant) for variant in has]
        if len(had) == len(has) == 1:
            self._signature(where, old[0], new[0], is_seen=is_seen)
            self._concrete(where, had[0], has[0])
            return
        partners = _partners(old, new)
        for i, variant in enumerate(had):
            at = f"{where}, variant {i}"
            if i in partners:
                self._signature(at, old[i], new[partners[i]], is_seen=is_seen)
                self._concrete(at, variant, has[partners[i]])
            else:
                texts = brief(variant.signature), ""
                self._add("signatures", at, "removed", texts, is_breaking=is_seen)
        for k, variant in enumerate(has):
            if k not in partners.values():
                texts = "", brief(variant.signature)
                self._add("signatures", f"{where}, variant {k}", "added", texts)

    def _signature(self, where: str, before: Interface, after: Interface, *, is_seen: bool) -> None:
        for change in signature_changes(before, after, where):
            is_private = change.is_breaking and not is_seen
            self.changes.append(
                replace(change, is_breaking=False, reason="private") if is_private else change
            )

    def _concrete(self, where: str, before: ConcreteFunction, after: ConcreteFunction) -> None:
        """Compares everything but the signature."""
        for key, old, new in traits.properties(before, after):
            self._add("programs", f"{where}, {key}", "changed", (old, new))
        self._needs(where, before, after)
        if isinstance(before, ShloFunction) and isinstance(after, ShloFunction):
            self._shlo(where, before, after)
        elif kind_of(before) == kind_of(after):
            self._program(where, before, after)
        self._forms(where, before, after)

    def _needs(self, where: str, before: ConcreteFunction, after: ConcreteFunction) -> None:
        texts = traits.kind_text(before), traits.kind_text(after)
        if texts[0] == texts[1]:
            return
        is_breaking = not traits.needs_tensorflow(before) and traits.needs_tensorflow(after)
        reason = "needs TensorFlow now" if is_breaking else ""
        self._add("programs", where, "changed", texts, is_breaking=is_breaking, reason=reason)

    def _shlo(self, where: str, before: ShloFunction, after: ShloFunction) -> None:
        for platform in sorted(set(before.platforms) - set(after.platforms)):
            self._add("platforms", where, "removed", (platform, ""), is_breaking=True)
        for platform in sorted(set(after.platforms) - set(before.platforms)):
            self._add("platforms", where, "added", ("", platform))
        self._program(where, before, after)
        old, new = seen.recorded_facts(self.before, before), seen.recorded_facts(self.after, after)
        if old is not None and new is not None:
            self.operations += _counts(where, old.operations, new.operations)
            self.custom_calls += _counts(where, old.custom_calls, new.custom_calls)
        elif old is not None or new is not None:
            texts = traits.recorded_text(old), traits.recorded_text(new)
            self._add("programs", f"{where}, facts about its module", "changed", texts)
        self._placements(where, before, after)
        self._supplementals(where, before, after)

    def _program(self, where: str, before: ConcreteFunction, after: ConcreteFunction) -> None:
        old, new = traits.body(before), traits.body(after)
        texts = self.before.digest(old), self.after.digest(new)
        if texts[0] != texts[1]:
            short = traits.short(texts[0]), traits.short(texts[1])
            self._add("programs", f"{where}, program", "changed", short)

    def _placements(self, where: str, before: ShloFunction, after: ShloFunction) -> None:
        old = seen.leaf_shardings(self.before, before)
        new = seen.leaf_shardings(self.after, after)
        for name in old:
            if name in new and old[name] != new[name]:
                texts = old[name] or "unspecified", new[name] or "unspecified"
                self._add("programs", f"{where}, sharding of {name}", "changed", texts)

    def _supplementals(self, where: str, before: ShloFunction, after: ShloFunction) -> None:
        had = {k: s.data for k, s in before.supplementals.items() if k not in _READ}
        has = {k: s.data for k, s in after.supplementals.items() if k not in _READ}
        for key in sorted(had.keys() | has.keys()):
            old = traits.short(self.before.digest(had[key])) if key in had else ""
            new = traits.short(self.after.digest(has[key])) if key in has else ""
            if old != new or (key in had) != (key in has):
                at = f"{where}, supplemental {key!r}"
                kind: Kind = "changed" if old and new else "removed" if old else "added"
                self._add("programs", at, kind, (old, new))

    def _forms(self, where: str, before: ConcreteFunction, after: ConcreteFunction) -> None:
        old, new = traits.form(before), traits.form(after)
        if old is None or new is None:
            return  # that there is one now, or none any more, is said by the kind
        had, has = traits.variants(old), traits.variants(new)
        at = f"{where}, StableHLO form"
        if len(had) != len(has):
            texts = f"{len(had)} sizes", f"{len(has)} sizes"
            self._add("programs", at, "changed", texts)
            return
        for i, (one, other) in enumerate(zip(had, has, strict=True)):
            self._concrete(at if len(had) == 1 else f"{at} {i}", one, other)

    def _add(
        self,
        section: str,
        where: str,
        kind: Kind,
        texts: tuple[str, str],
        *,
        is_breaking: bool = False,
        reason: str = "",
    ) -> None:
        self.changes.append(
            Change(
                section=section,
                where=where,
                kind=kind,
                before=texts[0],
                after=texts[1],
                is_breaking=is_breaking,
                reason=reason,
            )
        )


def _partners(before: Sequence[Interface], after: Sequence[Interface]) -> dict[int, int]:
    """Returns which variant takes the calls of which: the same, else a wider, else the same place.

    One variant after may take the calls of several before. Of very many, place alone decides.
    """
    if len(before) * len(after) > _MOST_PAIRS:
        return {i: i for i in range(min(len(before), len(after)))}
    changes = {
        (i, k): signature_changes(old, new, "")
        for i, old in enumerate(before)
        for k, new in enumerate(after)
    }
    partners: dict[int, int] = {}
    left = list(range(len(after)))
    for i in range(len(before)):
        same = [k for k in left if not changes[i, k]]
        if same:
            partners[i] = i if i in same else same[0]
            left.remove(partners[i])
    for i in range(len(before)):
        if i not in partners:
            fitting = [
                k for k in range(len(after)) if not any(c.is_breaking for c in changes[i, k])
            ]
            if fitting:
                partners[i] = next((k for k in fitting if k in left), fitting[0])
    left = [k for k in left if k not in partners.values()]
    return partners | {i: i for i in range(len(before)) if i not in partners and i in left}


def _counts(
    function: str, before: Mapping[str, int], after: Mapping[str, int]
) -> Iterator[CountChange]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, 0), after.get(name, 0)
        if old != new:
            yield CountChange(function=function, name=name, before=old, after=new)


def _identity(side: Side, function: Function) -> tuple[object, ...]:
    return tuple(
        (brief(f.signature), tree_text(f.signature.inputs), side.digest(traits.body(f)))
        for f in traits.variants(function)
    )
