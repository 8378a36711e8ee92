"""Two leaves of signatures: whether what fits the one fits the other, sizes being translated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Dim, Leaf, Spec, dim_names
from orbax_model_lite.inspection.differences import sizes
from orbax_model_lite.inspection.differences.sizes import Size

Sizes: TypeAlias = tuple[Size | None, ...] | None
"""Dimensions of a leaf before; None where even the rank is unknown."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPair:
    """A leaf that both signatures have.

    Attributes:
      label: Its key path, as messages have it.
      before: What it was.
      after: What it is.
      sizes: Of the leaf before. In inputs, an unknown one is a name that nothing else has.
    """

    label: str
    before: Leaf
    after: Leaf
    sizes: Sizes

    @classmethod
    def of_input(cls, label: str, before: Leaf, after: Leaf, counter: Counter[str]) -> LeafPair:
        """Returns a pair of inputs; `counter` numbers unknown sizes."""

        def size(dim: Dim) -> Size:
            if dim is not None:
                return sizes.parse(dim, {})
            counter["unknown"] += 1
            return sizes.symbol(f"?{counter['unknown']}")

        shape = before.shape if isinstance(before, Spec) else None
        known = None if shape is None else tuple(map(size, shape))
        return cls(label=label, before=before, after=after, sizes=known)

    @classmethod
    def of_output(cls, label: str, before: Leaf, after: Leaf) -> LeafPair:
        """Returns a pair of outputs."""
        shape = before.shape if isinstance(before, Spec) else None
        known = None
        if shape is not None:
            known = tuple(None if dim is None else sizes.parse(dim, {}) for dim in shape)
        return cls(label=label, before=before, after=after, sizes=known)


@final
@dataclass(frozen=True, slots=True)
class Translation:
    """What the names of sizes after stand for, in the sizes of a call of before.

    Attributes:
      known: Name to size.
      renamed: Names that only have another name before, one of their own.
    """

    known: Mapping[str, Size]
    renamed: frozenset[str]

    @classmethod
    def of(cls, inputs: Iterable[LeafPair]) -> Translation:
        """Returns the translation under which inputs after take what inputs before took."""
        dims: list[tuple[Size, Dim]] = []
        for pair in inputs:
            shape = pair.after.shape if isinstance(pair.after, Spec) else None
            if pair.sizes is None or shape is None or len(shape) != len(pair.sizes):
                continue
            dims += [(s, d) for s, d in zip(pair.sizes, shape, strict=True) if s is not None]
        known = sizes.bindings(dims)
        counts = Counter(known.values())
        renamed = {
            name
            for name, size in known.items()
            if counts[size] == 1 and size.symbol is not None and not size.symbol.startswith("?")
        }
        return cls(known, frozenset(renamed))

    def is_same(self, before: Leaf, after: Leaf) -> bool:
        """Whether two leaves say the same, but for the names of sizes."""
        if not isinstance(before, Spec) or not isinstance(after, Spec):
            return before == after
        if (before.dtype, before.logical) != (after.dtype, after.logical):
            return False
        if before.shape is None or after.shape is None:
            return before.shape is after.shape
        if not self.renamed.issuperset(set(dim_names(after.shape)) & self.known.keys()):
            return False
        return [type(dim) for dim in before.shape] == [type(dim) for dim in after.shape]

    def input_problem(self, pair: LeafPair) -> str:
        """Returns why an input takes less than before; "" if it takes all that it took."""
        old, new = pair.before, pair.after
        if not isinstance(old, Spec) or not isinstance(new, Spec):
            return "" if old == new else "another kind"
        unknown = DType.UNSPECIFIED in (old.dtype, new.dtype)
        # The words of a key are as good as the key.
        takes_words = old.logical in (None, new.logical)
        if not unknown and not (old.dtype is new.dtype and takes_words):
            return "another type"
        if new.shape is None:
            return ""
        if pair.sizes is None or len(pair.sizes) != len(new.shape):
            return "another rank"
        for size, dim in zip(pair.sizes, new.shape, strict=True):
            problem = "" if dim is None or size is None else self._size_problem(size, dim)
            if problem:
                return problem
        return ""

    def input_note(self, pair: LeafPair) -> str:
        """Returns how an input that takes all that it took differs: "wider", where it is plain."""
        old, new = pair.before, pair.after
        if not isinstance(old, Spec) or not isinstance(new, Spec) or new.shape is None:
            return "wider"
        dims = zip(old.shape or (), new.shape, strict=False)
        is_wider = any(was is not None and type(was) is not type(dim) for was, dim in dims)
        return "wider" if is_wider else "takes no less"

    def output_problem(self, pair: LeafPair) -> str:
        """Returns why an output is not what it was; "" if it is."""
        old, new = pair.before, pair.after
        if not isinstance(old, Spec) or not isinstance(new, Spec):
            return "" if old == new else "another kind"
        is_unknown = old.dtype is DType.UNSPECIFIED
        if not is_unknown and (old.dtype, old.logical) != (new.dtype, new.logical):
            return "another type"
        if pair.sizes is None:
            return ""
        if new.shape is None or len(pair.sizes) != len(new.shape):
            return "another rank"
        for size, dim in zip(pair.sizes, new.shape, strict=True):
            if size is not None and (dim is None or sizes.parse(dim, self.known) != size):
                return "another size"
        return ""

    def _size_problem(self, size: Size, dim: int | str) -> str:
        if sizes.parse(dim, self.known) == size:
            is_empty = size.number == 0 and isinstance(dim, str)
            return "symbolic sizes are at least 1" if is_empty else ""
        if isinstance(dim, int):
            return "another size" if size.number is not None else f"only {dim} now"
        return "narrower"
