"""Our record of what JAX knew of inputs and outputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from orbax_model_lite.errors import InvalidBundleError, InvalidModelError
from orbax_model_lite.jaxtypes.jax_trees import (
    JaxTrees,
    Placement,
    input_name,
    path_text,
    shared_axes,
)
from orbax_model_lite.jaxtypes.shardings import MeshAxis
from orbax_model_lite.jaxtypes.trees import NodeKind

pytestmark = pytest.mark.frameworks

P = PartitionSpec


def test_a_record_comes_back_as_it_was():
    record = JaxTrees(
        axes=(MeshAxis(name="data", size=2), MeshAxis(name="model", size=4, axis_type="explicit")),
        inputs={0: Placement(spec=P(("data", "model"), None)), 3: Placement(spec=P())},
        outputs={1: Placement(spec=P(None, P.UNCONSTRAINED), memory_kind="pinned_host")},
        input_kinds={"0.0": NodeKind(kind="namedtuple:Point", children=("x", "y"))},
        output_kinds={"": NodeKind(kind="ordereddict", children=("b", "a"))},
        constraints=("b >= 2",),
        argument_names=("params", ""),
    )
    data = record.to_data()
    assert JaxTrees.from_payload(data.content, "function 'f'") == record


def test_equal_records_have_equal_bytes():
    one = JaxTrees(input_kinds={"a": NodeKind(kind="x"), "b": NodeKind(kind="y")})
    other = JaxTrees(input_kinds={"b": NodeKind(kind="y"), "a": NodeKind(kind="x")})
    assert one.to_data() == other.to_data()


def test_damaged_bytes_are_refused_by_name():
    with pytest.raises(InvalidBundleError, match=r"^function 'f': supplemental"):
        JaxTrees.from_payload(b"\xff\xff\xff", "function 'f'")


@given(st.lists(st.text(alphabet="ab.\\", min_size=1), max_size=3), st.data())
def test_different_paths_of_strings_have_different_texts(path, data):
    other = data.draw(st.lists(st.text(alphabet="ab.\\", min_size=1), max_size=3))
    assert (path_text(tuple(path)) == path_text(tuple(other))) == (path == other)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((0, 0, "kernel"), "params.kernel"),
        ((0, 1), "1"),
        ((0, 2), "2"),
        ((1, "x", 0), "x.0"),
    ],
)
def test_an_input_is_called_as_the_author_called_it(path, name):
    assert input_name(path, ("params", "")) == name


def test_shardings_over_two_meshes_are_refused():
    one = NamedSharding(AbstractMesh((2,), ("x",)), P("x"))
    other = NamedSharding(AbstractMesh((4,), ("x",)), P("x"))
    with pytest.raises(InvalidModelError, match=r"\(x=2\) and \(x=4\)"):
        shared_axes([one, None, other], "function 'f'")
