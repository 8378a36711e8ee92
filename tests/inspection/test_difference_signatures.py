"""Signatures from a caller's side: what is breaking, what is not, what is no change at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import DType, Spec
from orbax_model_lite.core.spec import Token
from orbax_model_lite.core.tree import StringPairs, map_leaves
from orbax_model_lite.inspection.differences.signatures import Interface, signature_changes

_LEAF = re.compile(r"(?P<dtype>[a-z]\w*)?\[(?P<dims>.*)\]")


def spec(text: str) -> Any:
    """Returns a spec from "float32[b, 4]"; "[...]" has an unknown rank, "?" an unknown size."""
    found = _LEAF.fullmatch(text)
    assert found
    dtype = DType(found["dtype"] or "float32")
    if found["dims"] == "...":
        return Spec(shape=None, dtype=dtype)
    dims = [dim.strip() for dim in found["dims"].split(",") if dim.strip()]
    shape = tuple(int(d) if d.isdecimal() else None if d == "?" else d for d in dims)
    return Spec(shape=shape, dtype=dtype)


def specs(tree: Any) -> Any:
    return map_leaves(lambda leaf: spec(leaf) if isinstance(leaf, str) else leaf, tree)


def of(*args: Any, out: Any = "[1]", names: Any = (), **others: Any) -> Interface:
    kwargs = others.pop("kwargs", {})
    return Interface(
        args=tuple(specs(arg) for arg in args),
        kwargs={key: specs(tree) for key, tree in kwargs.items()},
        outputs=specs(out),
        names=tuple(names),
        **others,
    )


def changes(before: Interface, after: Interface):
    return signature_changes(before, after, "function 'f'")


SAME: Mapping[str, tuple[Interface, Interface]] = {
    "a renamed symbol": (of("[b, 4]", out="[b]"), of("[batch, 4]", out="[batch]")),
    "symbols swapped": (of("[a, b]", out="[b, a]"), of("[b, a]", out="[a, b]")),
    "a renamed symbol in an expression": (
        of("[n]", "[2*n + 1]", out="[n^2]"),
        of("[t]", "[t + 1 + t]", out="[t*t]"),
    ),
    "the order of keys": (of({"a": "[1]", "b": "[2]"}), of({"b": "[2]", "a": "[1]"})),
    "pairs instead of a dict": (
        of({"a": "[1]"}),
        replace(of(), args=(StringPairs((("a", spec("[1]")),)),)),
    ),
    "unknown sizes": (of("[?, 3]", out="[?]"), of("[?, 3]", out="[?]")),
    "an unknown rank": (of("[...]"), of("[...]")),
    "a renamed symbol in a constraint": (
        of("[b]", constraints=("b >= 4",)),
        of("[n]", constraints=("n >= 4",)),
    ),
    "another spelling of a constraint": (
        of("[b]", constraints=("mod(b, 8) == 0",)),
        of("[b]", constraints=("0 == mod(b, 8)",)),
    ),
}
COMPATIBLE: Mapping[str, tuple[Interface, Interface]] = {
    "a fixed batch becomes symbolic": (of("[8, 4]"), of("[b, 4]")),
    "a fixed batch becomes symbolic, output too": (
        of("[8, 4]", out="[8, 3]"),
        of("[b, 4]", out="[b, 3]"),
    ),
    "an output follows by an expression": (of("[8]", out="[17]"), of("[b]", out="[2*b + 1]")),
    "a size becomes unknown": (of("[b]"), of("[?]")),
    "a size of its own for each input": (of("[b]", "[b]"), of("[b]", "[c]")),
    "equal fixed sizes become one symbol": (of("[8]", "[8]"), of("[b]", "[b]")),
    "an expression that gives the fixed size": (of("[8, 2]"), of("[2*b, 2]")),
    "the rank becomes unknown": (of("[3, 4]"), of("[...]")),
    "an output is known now": (of("[?]", out="[?]"), of("[?]", out="[3]")),
    "an added key of the output": (of(out={"a": "[1]"}), of(out={"a": "[1]", "b": "[1]"})),
    "an added key further inside": (
        of(out=[{"a": "[1]"}]),
        of(out=[{"a": "[1]", "b": "[1]"}]),
    ),
    "an added input with a default": (
        of("[1]", names=["x"]),
        of("[1]", "[2]", names=["x", "y"], optional=frozenset({"y"})),
    ),
    "an added keyword with a default": (
        of("[1]"),
        of("[1]", kwargs={"y": "[2]"}, optional=frozenset({"y"})),
    ),
    "an added input that is nothing": (of("[1]"), of("[1]", None)),
    "an input got a default": (
        of("[1]", names=["x"]),
        of("[1]", names=["x"], optional=frozenset({"x"})),
    ),
    "a keyword can be given by position too": (
        of(kwargs={"x": "[1]"}),
        of("[1]", names=["x"]),
    ),
    "a constraint is dropped": (of("[b]", constraints=("b >= 4",)), of("[b]")),
    "a constraint is wider": (
        of("[b]", constraints=("b >= 4",)),
        of("[b]", constraints=("b >= 2",)),
    ),
    "a constraint that the fixed size meets": (
        of("[8]"),
        of("[b]", constraints=("mod(b, 4) == 0",)),
    ),
    "a key may be given as its words": (
        replace(of(), args=(spec("uint32[2]"),)),
        replace(of(), args=(replace(spec("uint32[2]"), logical="key<fry>"),)),
    ),
}
BREAKING: Mapping[str, tuple[Interface, Interface, str]] = {
    "a removed input": (of("[1]", "[2]"), of("[1]"), "removed"),
    "a removed optional input": (
        of("[1]", names=["x"], optional=frozenset({"x"})),
        of(),
        "removed",
    ),
    "a renamed input": (of("[1]", names=["x"]), of("[1]", names=["y"]), "renamed"),
    "a renamed keyword": (of(kwargs={"x": "[1]"}), of(kwargs={"y": "[1]"}), "removed"),
    "inputs swapped": (
        of("[1]", "[1]", names=["x", "y"]),
        of("[1]", "[1]", names=["y", "x"]),
        "position 0",
    ),
    "an input by keyword only": (of("[1]", names=["x"]), of(kwargs={"x": "[1]"}), "keyword only"),
    "an input without a name": (of("[1]", names=["x"]), of("[1]"), "by name"),
    "a default is gone": (
        of("[1]", names=["x"], optional=frozenset({"x"})),
        of("[1]", names=["x"]),
        "required",
    ),
    "a new required input": (of("[1]"), of("[1]", "[1]"), "added"),
    "a new required keyword": (of("[1]"), of("[1]", kwargs={"y": "[1]"}), "added"),
    "a new key in an input": (of({"a": "[1]"}), of({"a": "[1]", "b": "[1]"}), "added"),
    "a missing key in an input": (of({"a": "[1]", "b": "[1]"}), of({"a": "[1]"}), "removed"),
    "a tuple becomes a list": (of(("[1]", "[1]")), of(["[1]", "[1]"]), "structure"),
    "an array becomes a dict": (of("[1]"), of({"a": "[1]"}), "structure"),
    "an array becomes nothing": (of("[1]", "[1]"), of("[1]", None), "structure"),
    "a longer tuple": (of(("[1]",)), of(("[1]", "[1]")), "added"),
    "another input type": (of("float32[1]"), of("bfloat16[1]"), "type"),
    "another rank": (of("[1]"), of("[1, 1]"), "rank"),
    "a known rank": (of("[...]"), of("[1]"), "rank"),
    "another size": (of("[b, 4]"), of("[b, 5]"), "another size"),
    "a symbolic size becomes fixed": (of("[b, 4]"), of("[8, 4]"), "only 8"),
    "an unknown size becomes fixed": (of("[?]"), of("[8]"), "only 8"),
    "two sizes become one": (of("[a]", "[b]"), of("[b]", "[b]"), "narrower"),
    "two unknown sizes become one": (of("[?]", "[?]"), of("[b]", "[b]"), "narrower"),
    "fixed sizes that one symbol cannot be": (of("[8]", "[4]"), of("[b]", "[b]"), "narrower"),
    "any size becomes an even one": (of("[b]"), of("[2*b]"), "narrower"),
    "no size that a symbol can be": (of("[0]"), of("[b]"), "at least 1"),
    "a new constraint": (of("[b]"), of("[b]", constraints=("b >= 2",)), "narrower"),
    "a narrower constraint": (
        of("[b]", constraints=("b >= 2",)),
        of("[b]", constraints=("b >= 4",)),
        "narrower",
    ),
    "a constraint that the fixed size breaks": (
        of("[6]"),
        of("[b]", constraints=("mod(b, 4) == 0",)),
        "narrower",
    ),
    "a removed key of the output": (of(out={"a": "[1]", "b": "[1]"}), of(out={"a": "[1]"}), "rem"),
    "a longer tuple of outputs": (of(out=("[1]",)), of(out=("[1]", "[1]")), "added"),
    "an output that is a dict now": (of(out="[1]"), of(out={"a": "[1]"}), "structure"),
    "another output type": (of(out="float32[1]"), of(out="float64[1]"), "type"),
    "another output size": (of("[b]", out="[b, 3]"), of("[b]", out="[b, 4]"), "size"),
    "an output of another symbol": (
        of("[a]", "[b]", out="[a]"),
        of("[a]", "[b]", out="[b]"),
        "size",
    ),
    "an output that does not follow": (of("[8]", out="[8]"), of("[b]", out="[2*b]"), "size"),
    "an output that is not known any more": (of("[b]", out="[b]"), of("[b]", out="[?]"), "size"),
    "an output whose rank is not known": (of(out="[1]"), of(out="[...]"), "rank"),
    "a key that was its words": (
        replace(of(), outputs=spec("uint32[2]")),
        replace(of(), outputs=replace(spec("uint32[2]"), logical="key<fry>")),
        "type",
    ),
    "a token": (replace(of(), args=(Token(),)), of("[1]"), "kind"),
}


@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME)
def test_it_is_no_change(before, after):
    assert changes(before, after) == []


@pytest.mark.parametrize(("before", "after"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_it_is_a_change_that_breaks_nobody(before, after):
    found = changes(before, after)
    assert found
    assert not [change for change in found if change.is_breaking]


@pytest.mark.parametrize(("before", "after", "said"), BREAKING.values(), ids=BREAKING)
def test_it_breaks_callers(before, after, said):
    breaking = [change for change in changes(before, after) if change.is_breaking]
    assert any(said in f"{c.kind} {c.before} {c.after} {c.reason}" for c in breaking)


@pytest.mark.parametrize("name", sorted(COMPATIBLE.keys() - {"a size becomes unknown"}))
def test_the_way_back_from_a_wider_function_breaks_callers(name):
    before, after = COMPATIBLE[name]
    assert [change for change in changes(after, before) if change.is_breaking]


def test_a_size_that_is_unknown_takes_no_less_when_it_gets_a_name():
    assert not [change for change in changes(of("[?]"), of("[b]")) if change.is_breaking]


dims = st.one_of(
    st.integers(0, 9), st.sampled_from(["a", "b", "2*a", "a + b", "mod(a, 2)"]), st.none()
)
leaf_specs = st.builds(
    Spec,
    shape=st.one_of(st.none(), st.lists(dims, max_size=3).map(tuple)),
    dtype=st.sampled_from([DType.FLOAT32, DType.INT8, DType.UNSPECIFIED]),
)
keys = st.text("abc.", min_size=1, max_size=2)
trees = st.recursive(
    st.one_of(leaf_specs, st.none()),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.lists(below, max_size=3).map(tuple),
        st.dictionaries(keys, below, max_size=3),
    ),
    max_leaves=6,
)
interfaces = st.builds(
    Interface,
    args=st.lists(trees, max_size=3).map(tuple),
    kwargs=st.dictionaries(keys, trees, max_size=2),
    outputs=trees,
    constraints=st.lists(
        st.sampled_from(["a >= 2", "mod(b, 4) == 0", "a + b <= 9"]), unique=True
    ).map(tuple),
)


@given(interfaces)
def test_a_signature_has_no_difference_from_itself(interface):
    assert changes(interface, interface) == []


def paths(found, kind: str) -> list[tuple[str, str]]:
    """Returns what came or went, but for constraints, which may be spelled anew."""
    return sorted(
        (change.where, change.before or change.after)
        for change in found
        if change.kind == kind and not change.where.endswith("sizes")
    )


@given(interfaces, interfaces)
def test_what_is_added_on_the_way_there_is_removed_on_the_way_back(one, other):
    there, back = changes(one, other), changes(other, one)
    assert paths(there, "added") == paths(back, "removed")


@given(interfaces)
def test_new_names_for_all_sizes_are_no_change(interface):
    swapped = {"a": "b", "b": "a"}

    def renamed(leaf):
        if leaf.shape is None:
            return leaf
        shape = [
            re.sub(r"\b[ab]\b", lambda found: swapped[found[0]], dim)
            if isinstance(dim, str)
            else dim
            for dim in leaf.shape
        ]
        return replace(leaf, shape=tuple(shape))

    # So that an input says what each name stands for.
    first = replace(interface, args=(spec("[a, b]"), *interface.args), constraints=())
    other = replace(
        first,
        args=map_leaves(renamed, first.args),
        kwargs=map_leaves(renamed, dict(first.kwargs)),
        outputs=map_leaves(renamed, first.outputs),
    )
    assert changes(first, other) == []
