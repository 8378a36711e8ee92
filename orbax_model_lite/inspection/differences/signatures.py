"""Two signatures, from a caller's side: which calls still work, and give what they gave.

A call of the function before has to be one of the function after: its inputs may become wider, not
narrower. What it returns may only gain keys. Names of symbolic sizes do not matter: each name after
is taken for the size that it has in a call of before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, final

from orbax_model_lite.core.signature import Signature, format_tree
from orbax_model_lite.core.spec import Leaf
from orbax_model_lite.core.tree import StringPairs, Tree, children, leaves
from orbax_model_lite.inspection.differences import sizes
from orbax_model_lite.inspection.differences.leaves import LeafPair, Translation
from orbax_model_lite.inspection.differences.nouns import Change, Kind

_MOST_LEAVES: Final = 6
_MOST_CHARACTERS: Final = 200
_MOST_PAIRS: Final = 1 << 16

_Found: TypeAlias = tuple[str, Leaf, Leaf]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What callers know of a function.

    Attributes:
      args: Positional inputs.
      kwargs: Keyword inputs.
      outputs: What it returns.
      names: Under which positional inputs can be given too; None where there is none.
      optional: Names of inputs that may be left out.
      constraints: On symbolic sizes, as JAX spells them.
    """

    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    outputs: Tree
    names: tuple[str | None, ...] = ()
    optional: frozenset[str] = frozenset()
    constraints: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        signature: Signature,
        *,
        names: Sequence[str | None] = (),
        optional: frozenset[str] = frozenset(),
        constraints: Sequence[str] = (),
    ) -> Interface:
        """Returns the interface of a function with this signature."""
        return cls(
            args=signature.args,
            kwargs=signature.kwargs,
            outputs=signature.outputs,
            names=tuple(names),
            optional=optional,
            constraints=tuple(constraints),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """One argument: its tree, name, position (None for a keyword), and if it may be left out."""

    tree: Tree
    name: str | None
    position: int | None
    is_optional: bool

    @property
    def label(self) -> str:
        return self.name or str(self.position)


def signature_changes(
    before: Interface, after: Interface, where: str, section: str = "signatures"
) -> list[Change]:
    """Returns what changed for a caller, inputs first.

    Args:
      before: What callers know.
      after: What there is now.
      where: The function, as the beginning of `Change.where`.
      section: Of the changes.
    """
    return _Comparison(where, section).run(before, after)


def tree_text(tree: Tree) -> str:
    """Returns a tree of specs on one line; a large one is counted."""
    count = len(leaves(tree))
    if count > _MOST_LEAVES:
        return f"{{{count} arrays}}"
    text = format_tree(tree)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."


@final
@dataclass(slots=True)
class _Comparison:
    """One walk through two interfaces, which collects changes."""

    where: str
    section: str
    changes: list[Change] = field(default_factory=list)

    def run(self, before: Interface, after: Interface) -> list[Change]:
        counter: Counter[str] = Counter()
        inputs = [
            LeafPair.of_input(*found, counter)
            for old, new in _matched(_inputs(before), _inputs(after))
            for found in self._input(old, new)
        ]
        translation = Translation.of(inputs)
        for pair in inputs:
            self._leaf(f"input {pair.label!r}", pair, translation, translation.input_problem(pair))
        self._constraints(before.constraints, after.constraints, translation)
        for found in self._trees(before.outputs, after.outputs, "output", ""):
            pair = LeafPair.of_output(*found)
            what = f"output {pair.label!r}" if pair.label else "output"
            self._leaf(what, pair, translation, translation.output_problem(pair))
        return self.changes

    def _add(
        self,
        what: str,
        kind: Kind,
        texts: tuple[str, str],
        *,
        is_breaking: bool,
        reason: str = "",
    ) -> None:
        self.changes.append(
            Change(
                section=self.section,
                where=f"{self.where}, {what}",
                kind=kind,
                before=texts[0],
                after=texts[1],
                is_breaking=is_breaking,
                reason=reason,
            )
        )

    def _input(self, old: _Input | None, new: _Input | None) -> Iterator[_Found]:
        """Compares an argument, and gives its leaves where both sides have it."""
        if old is None or new is None:
            self._lone_input(old, new)
            return
        what = f"input {old.label!r}"
        if old.name and new.name and old.name != new.name:
            self._add(what, "renamed", (old.name, new.name), is_breaking=True)
        elif old.name and not new.name:
            reason = "can no longer be given by name"
            self._add(what, "changed", (old.name, "nameless"), is_breaking=True, reason=reason)
        if old.position != new.position:
            places = _place(old.position), _place(new.position)
            self._add(what, "changed", places, is_breaking=old.position is not None)
        if old.is_optional != new.is_optional:
            texts = _need(old.is_optional), _need(new.is_optional)
            self._add(what, "changed", texts, is_breaking=old.is_optional)
        yield from self._trees(old.tree, new.tree, "input", new.label)

    def _lone_input(self, old: _Input | None, new: _Input | None) -> None:
        if old is not None:
            self._add(
                f"input {old.label!r}", "removed", (tree_text(old.tree), ""), is_breaking=True
            )
        if new is not None:
            self._add(
                f"input {new.label!r}",
                "added",
                ("", tree_text(new.tree)),
                is_breaking=not new.is_optional,
                reason=_need(new.is_optional),
            )

    def _trees(self, before: Tree, after: Tree, side: str, label: str) -> Iterator[_Found]:
        """Compares containers, and gives the leaves that both sides have."""
        # A stack of its own: a stranger's tree may be deep.
        stack = [(label, before, after)]
        while stack:
            at, old, new = stack.pop()
            old, new = _without_pairs(old), _without_pairs(new)
            if _container(old) != _container(new):
                what = f"{side} {at!r}" if at else side
                texts = tree_text(old), tree_text(new)
                self._add(what, "changed", texts, is_breaking=True, reason="another structure")
                continue
            below, now = children(old), children(new)
            if below is None or now is None:
                if old is not None:
                    yield at, old, new
                continue
            had, has = dict(below), dict(now)
            self._keys(had, has, f"{side} {at}." if at else f"{side} ", side)
            stack += [
                (f"{at}.{key}" if at else str(key), had[key], has[key])
                for key in reversed(had)
                if key in has
            ]

    def _keys(
        self, had: Mapping[str | int, Tree], has: Mapping[str | int, Tree], start: str, side: str
    ) -> None:
        head, _, prefix = start.partition(" ")
        for key, tree in had.items():
            if key not in has:
                what = f"{head} {prefix + str(key)!r}"
                self._add(what, "removed", (tree_text(tree), ""), is_breaking=True)
        for key, tree in has.items():
            if key not in had:
                what = f"{head} {prefix + str(key)!r}"
                is_breaking = side == "input" or not isinstance(key, str)
                self._add(what, "added", ("", tree_text(tree)), is_breaking=is_breaking)

    def _leaf(self, what: str, pair: LeafPair, translation: Translation, problem: str) -> None:
        if not problem and translation.is_same(pair.before, pair.after):
            return
        texts = str(pair.before), str(pair.after)
        if problem or texts[0] != texts[1]:
            is_input = what.startswith("input")
            note = translation.input_note(pair) if is_input else "follows its inputs"
            is_breaking = bool(problem)
            self._add(what, "changed", texts, is_breaking=is_breaking, reason=problem or note)

    def _constraints(
        self, before: Sequence[str], after: Sequence[str], translation: Translation
    ) -> None:
        had = {text: sizes.constraint(text, {}) for text in before}
        has = {text: sizes.constraint(text, translation.known) for text in after}
        known, kept = set(had.values()), set(has.values())
        # Which follows from which is a matter of pairs; a stranger's record may have many.
        given = known if len(known) * len(kept) <= _MOST_PAIRS else ()
        for text, found in has.items():
            if found not in known:
                is_met = found.follows_from(given)
                reason = "takes no less" if is_met else "narrower"
                self._add("sizes", "added", ("", text), is_breaking=not is_met, reason=reason)
        for text, found in had.items():
            if found not in kept:
                self._add("sizes", "removed", (text, ""), is_breaking=False)


def _inputs(interface: Interface) -> list[_Input]:
    found = []
    for i, tree in enumerate(interface.args):
        name = interface.names[i] if i < len(interface.names) else None
        is_optional = name in interface.optional or not leaves(tree)
        found.append(_Input(tree=tree, name=name, position=i, is_optional=is_optional))
    for name, tree in sorted(interface.kwargs.items()):
        is_optional = name in interface.optional or not leaves(tree)
        found.append(_Input(tree=tree, name=name, position=None, is_optional=is_optional))
    return found


def _matched(
    before: Sequence[_Input], after: Sequence[_Input]
) -> list[tuple[_Input | None, _Input | None]]:
    """Returns which argument after is which before: by name, then what is left by position."""
    named = {new.name: i for i, new in enumerate(after) if new.name is not None}
    partners: dict[int, int] = {}
    for i, old in enumerate(before):
        if old.name in named:
            partners[i] = named.pop(old.name)
    taken = set(partners.values())
    places = {new.position: i for i, new in enumerate(after) if i not in taken}
    for i, old in enumerate(before):
        if i not in partners and old.position is not None and old.position in places:
            partners[i] = places.pop(old.position)
    taken = set(partners.values())
    pairs: list[tuple[_Input | None, _Input | None]] = [
        (old, after[partners[i]] if i in partners else None) for i, old in enumerate(before)
    ]
    return pairs + [(None, new) for i, new in enumerate(after) if i not in taken]


def _place(position: int | None) -> str:
    return "keyword only" if position is None else f"position {position}"


def _need(is_optional: bool) -> str:
    return "optional" if is_optional else "required"


def _without_pairs(tree: Tree) -> Tree:
    """Returns string pairs as the dict that a caller gives for them."""
    if isinstance(tree, StringPairs) and len(dict(tree.pairs)) == len(tree.pairs):
        return dict(tree.pairs)
    return tree


def _container(tree: Tree) -> str:
    for kind in (tuple, list, dict, StringPairs):
        if isinstance(tree, kind):
            return kind.__name__
    return "None" if tree is None else "leaf"
