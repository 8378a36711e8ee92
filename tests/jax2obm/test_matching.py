"""Weights meet a signature by key path, never by position."""

from __future__ import annotations

import hypothesis
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from hypothesis import strategies as st

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path, map_leaves
from orbax_model_lite.errors import InvalidModelError, SignatureMismatchError
from orbax_model_lite.jax2obm.weights import load_weights
from orbax_model_lite.jax2obm.weights.matching import choose, match, pruned, spec_of

pytestmark = pytest.mark.frameworks

W = np.arange(3, dtype=np.float32)
F3 = Spec(shape=(3,), dtype=DType.FLOAT32)
KEY = Spec(shape=(2,), dtype=DType.UINT32, logical="key<fry>")
LAYERS = [np.full((2, 2), i, np.float32) for i in range(12)]
LAYER = Spec(shape=(2, 2), dtype=DType.FLOAT32)


def numbers_of(layers):
    return [int(layer[0, 0]) for layer in layers]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        pytest.param(tuple(LAYERS), (LAYER,) * 12, id="a tuple"),
        pytest.param(LAYERS, [LAYER] * 12, id="a list"),
        pytest.param(dict(enumerate(LAYERS)), [LAYER] * 12, id="integer keys"),
        pytest.param({str(i): a for i, a in enumerate(LAYERS)}, (LAYER,) * 12, id="text keys"),
    ],
)
def test_twelve_equal_layers_of_an_orbax_checkpoint_keep_their_numbers(tmp_path, written, wanted):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(tmp_path / "c", args=ocp.args.PyTreeSave({"layers": written}))
    found = match(load_weights(tmp_path / "c", to="host"), {"layers": wanted}, "weights")
    assert type(found["layers"]) is type(wanted)
    assert numbers_of(found["layers"]) == list(range(12))


def test_the_result_has_the_containers_of_the_signature():
    spec = {"a": (F3, None, []), "b": {"c": [F3]}}
    found = match({"b": {"c": {"0": W}}, "a": {"0": W}}, spec, "weights")
    assert map_leaves(spec_of, found) == spec


def test_keys_count_and_not_the_order_of_a_dict():
    found = match({"b": W, "a": W + 1}, {"a": F3, "b": F3}, "weights")
    assert found["a"][0] == 1


def test_dotted_keys_of_a_flat_file_meet_a_nested_signature():
    flat = {"a.b.0": W, "a.b.1": W + 1, "c": W + 2}
    found = match(flat, {"a": {"b": (F3, F3)}, "c": F3}, "weights")
    assert [found["a"]["b"][1][0], found["c"][0]] == [1, 2]


def test_a_key_path_goes_before_the_same_text_as_one_key():
    found = match({"a.b": W + 1, "a": {"b": W}}, {"a": {"b": F3}, "a.b": F3}, "weights")
    assert [found["a"]["b"][0], found["a.b"][0]] == [0, 1]


def test_all_that_is_wrong_is_named_at_once():
    found = {"a": W, "x": {"y": W}, "shape": W[:2], "type": W.astype(np.int8), "rank": W[None]}
    want = {"a": F3, "b": [F3], "shape": F3, "type": F3, "rank": F3}
    with pytest.raises(SignatureMismatchError) as caught:
        match(found, want, "weights 'w'")
    message = str(caught.value)
    assert message.startswith("weights 'w': expected one array for each of 5 key paths; found ")
    assert "missing: b.0;" in message
    assert "left over: x.y;" in message
    assert "shape is float32 [2], not float32 [3]" in message
    assert "type is int8 [3], not float32 [3]" in message
    assert "rank is float32 [1, 3], not float32 [3]" in message


def test_arrays_that_nobody_asks_for_are_left_out_when_allowed():
    assert list(match({"a": W, "b": W}, {"a": F3}, "weights", allow_extra=True)) == ["a"]


def test_the_caller_chooses_the_error():
    with pytest.raises(InvalidModelError, match="missing: a"):
        match({}, {"a": F3}, "weights", error=InvalidModelError)


@pytest.mark.parametrize(
    "spec",
    [
        Spec(shape=("n",), dtype=DType.FLOAT32),
        Spec(shape=(None,), dtype=DType.FLOAT32),
        Spec(shape=None, dtype=DType.FLOAT32),
        Spec(shape=(3,), dtype=DType.UNSPECIFIED),
    ],
    ids=str,
)
def test_what_a_signature_leaves_open_fits(spec):
    assert match({"a": W}, {"a": spec}, "weights")["a"] is W


def test_specs_are_matched_like_arrays():
    assert match({"a": [F3]}, {"a": (F3,)}, "weights") == {"a": (F3,)}


def test_keys_become_words_where_a_function_takes_words():
    key = jax.random.key(3)
    words = Spec(shape=(2,), dtype=DType.UINT32)
    found = match({"k": key}, {"k": words}, "weights")["k"]
    assert np.array_equal(found, jax.random.key_data(key))


def test_words_become_keys_where_a_function_takes_keys():
    key = jax.random.key(3)
    found = match({"k": jax.random.key_data(key)}, {"k": KEY}, "weights")["k"]
    assert found.dtype == key.dtype


def test_keys_of_another_generator_do_not_fit():
    with pytest.raises(SignatureMismatchError, match=r"key<rbg> \[4\], not key<fry> \[2\]"):
        match({"k": jax.random.key(3, impl="rbg")}, {"k": KEY}, "weights")


trees = st.recursive(
    st.integers(0, 9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("ab.0", max_size=2), inner, max_size=3)
    ),
)


@hypothesis.given(tree=trees)
def test_a_tree_matches_its_own_specs(tree):
    arrays = map_leaves(np.int32, tree)
    assert match(arrays, map_leaves(spec_of, arrays), "weights") == tree


@hypothesis.given(tree=trees, data=st.data())
def test_what_is_left_of_a_tree_keeps_its_paths(tree, data):
    found = dict(flatten_with_path(tree))
    chosen = data.draw(st.sets(st.sampled_from(sorted(found, key=str)))) if found else set()
    left = pruned(tree, {path: found[path] for path in chosen})
    as_text = {tuple(map(str, path)): leaf for path, leaf in flatten_with_path(left)}
    assert as_text == {tuple(map(str, path)): found[path] for path in chosen}


def test_choosing_among_many_names_is_not_a_matter_of_all_pairs():
    paths = [("layers", i, "kernel") for i in range(20_000)]
    names = [f"layers.{i}.kernel" for i in range(0, 20_000, 2)]
    assert len(choose(paths, names, "weights")) == 10_000
