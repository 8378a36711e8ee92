"""Pytrees of every kind made plain, and back."""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core.tree import flatten_with_path, map_leaves
from orbax_model_lite.core.tree import leaves as plain_leaves
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes import plain
from orbax_model_lite.jaxtypes.trees import NodeKind, is_leaf, make_plain

pytestmark = pytest.mark.frameworks


class Point(NamedTuple):
    x: Any
    y: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    kernel: Any
    bias: Any
    name: str = dataclasses.field(default="s", metadata={"static": True})


@jax.tree_util.register_pytree_node_class
class Pair:
    """A node whose children have no names."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and vars(self) == vars(other)

    __hash__ = None

    def tree_flatten(self):
        return (self.first, self.second), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


@jax.tree_util.register_pytree_with_keys_class
class Clashing:
    """A node with two children whose names are equal as text."""

    def tree_flatten_with_keys(self):
        return ((jax.tree_util.DictKey(1), 1), (jax.tree_util.DictKey("1"), 2)), None

    @classmethod
    def tree_unflatten(cls, _, __):
        return cls()


@pytest.mark.parametrize(
    ("tree", "expected", "kinds"),
    [
        pytest.param((1, [2, {"a": None}], ()), (1, [2, {"a": None}], ()), {}, id="plain"),
        pytest.param(None, None, {}, id="none"),
        pytest.param({"a": {}, "b": []}, {"a": {}, "b": []}, {}, id="empty containers"),
        pytest.param(
            Point(1, 2),
            (1, 2),
            {(): NodeKind(kind="namedtuple:Point", children=("x", "y"))},
            id="named tuple",
        ),
        pytest.param(
            {10: 1, 9: 2},
            {"10": 1, "9": 2},
            {(): NodeKind(kind="dict", children=("10", "9"))},
            id="integer keys",
        ),
        pytest.param(
            {("a", 1): 1},
            {"('a', 1)": 1},
            {(): NodeKind(kind="dict", children=("('a', 1)",))},
            id="tuple keys",
        ),
        pytest.param(
            collections.OrderedDict(b=1, a=2),
            {"b": 1, "a": 2},
            {(): NodeKind(kind="ordereddict", children=("b", "a"))},
            id="ordered dict",
        ),
        pytest.param(
            collections.defaultdict(list, a=1),
            {"a": 1},
            {(): NodeKind(kind="defaultdict", children=("a",))},
            id="default dict",
        ),
        pytest.param(
            [State(1, (2,))],
            [{"kernel": 1, "bias": (2,)}],
            {(0,): NodeKind(kind="dataclass:State", children=("kernel", "bias"))},
            id="dataclass",
        ),
        pytest.param(
            {"a": Pair(1, Pair(2, None))},
            {"a": [1, [2, None]]},
            {
                ("a",): NodeKind(kind="custom:Pair", children=("0", "1")),
                ("a", 1): NodeKind(kind="custom:Pair", children=("0", "1")),
            },
            id="custom node without names",
        ),
    ],
)
def test_a_tree_becomes_plain_and_its_kinds_are_recorded(tree, expected, kinds):
    found, found_kinds = plain(tree)
    assert (found, dict(found_kinds)) == (expected, kinds)


def test_rebuilding_gives_the_authors_own_objects_with_new_leaves():
    tree = {1: State(Point(1, 2), collections.OrderedDict(b=3, a=4), "t"), 2: Pair(5, None)}
    made = make_plain(tree)
    rebuilt = made.rebuild(map_leaves(lambda leaf: leaf * 10, made.tree))
    assert rebuilt == {
        1: State(Point(10, 20), collections.OrderedDict(b=30, a=40), "t"),
        2: Pair(50, None),
    }


def test_a_rebuilt_default_dict_keeps_its_factory():
    made = make_plain(collections.defaultdict(list, a=1))
    assert made.rebuild(made.tree).default_factory is list


def test_keys_that_become_equal_as_strings_are_refused():
    with pytest.raises(InvalidModelError, match="two keys that become equal as strings, 1 and '1'"):
        plain({"layers": {1: 0, "1": 0}}, "weights")


def test_children_of_a_custom_node_that_become_equal_as_strings_are_refused():
    with pytest.raises(InvalidModelError, match="become equal as strings"):
        plain([Clashing()])


def test_the_error_names_the_place_of_the_clash():
    with pytest.raises(InvalidModelError, match=r"^weights at 'layers\.0': expected"):
        plain({"layers": [{1: 0, "1": 0}]}, "weights")


def test_flax_frozen_dicts_and_struct_dataclasses_become_dicts():
    flax = pytest.importorskip("flax")

    @flax.struct.dataclass
    class Train:
        step: Any
        params: Any

    tree = Train(1, flax.core.freeze({"dense": {"kernel": 2}}))
    made = make_plain(tree)
    assert made.tree == {"step": 1, "params": {"dense": {"kernel": 2}}}
    assert made.kinds[()].kind == "dataclass:Train"
    assert made.kinds["params",].kind == "custom:FrozenDict"
    assert made.rebuild(made.tree) == tree


def test_nnx_states_become_dicts_of_their_paths():
    nnx = pytest.importorskip("flax.nnx")
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    made = make_plain(state)
    assert {path[0] for path, _ in flatten_with_path(made.tree)} == {"kernel", "bias"}
    rebuilt = made.rebuild(made.tree)
    assert type(rebuilt) is type(state)
    assert jax.tree.structure(rebuilt) == jax.tree.structure(state)


def test_equinox_modules_become_dicts_of_their_fields():
    equinox = pytest.importorskip("equinox")
    module = equinox.nn.Linear(2, 3, key=jax.random.key(0))
    made = make_plain(module)
    assert set(made.tree) == {"weight", "bias"}
    assert jax.tree.structure(made.rebuild(made.tree)) == jax.tree.structure(module)


@pytest.mark.parametrize("leaf", [1, 2.5, "text", np.zeros(2), object(), functools.partial(print)])
def test_what_jax_cannot_look_into_is_a_leaf(leaf):
    assert is_leaf(leaf)
    assert plain(leaf) == (leaf, {}) or isinstance(leaf, np.ndarray)


@pytest.mark.parametrize("node", [(), [1], {"a": 1}, Point(1, 2), Pair(1, 2)])
def test_what_jax_can_look_into_is_no_leaf(node):
    assert not is_leaf(node)


keys = st.one_of(st.text(max_size=3), st.integers(0, 20))
trees = st.recursive(
    st.one_of(st.integers(), st.none()),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.lists(below, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), below, max_size=3),
        st.dictionaries(st.integers(0, 20), below, max_size=3),
        st.dictionaries(st.text(max_size=3), below, max_size=3).map(collections.OrderedDict),
        st.builds(Point, below, below),
        st.builds(State, below, below),
        st.builds(Pair, below, below),
    ),
    max_leaves=20,
)


@given(trees)
def test_every_tree_comes_back_as_it_was(tree):
    made = make_plain(tree)
    assert made.rebuild(made.tree) == tree


@given(trees)
def test_a_plain_tree_has_the_same_leaves_and_nothing_to_record(tree):
    made = make_plain(tree)
    again = make_plain(made.tree)
    assert (again.tree, again.kinds) == (made.tree, {})
    assert sorted(plain_leaves(made.tree)) == sorted(jax.tree.leaves(tree))


@given(trees)
def test_the_flatten_order_of_a_plain_tree_is_that_of_jax(tree):
    made = make_plain(tree).tree
    assert plain_leaves(made) == jax.tree.leaves(made)
