"""Files and values as the inputs of a call: what they may be called, and every way to be wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import flatten_with_path, map_leaves
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.documents import (
    FileBytes,
    JsonValue,
    OneArray,
    read_document,
)
from orbax_model_lite.runtime.calling.matching import call_from
from orbax_model_lite.runtime.calling.outputs import HostTree, json_tree, write_npz
from orbax_model_lite.runtime.calling.placing import Source
from orbax_model_lite.runtime.calling.target import Form, Target


def source(document: Any, name: str | None = None, text: str = "file") -> Source:
    return Source(text=text, name=name, document=document)


def npz(**entries: Any) -> Any:
    stream = io.BytesIO()
    np.savez(stream, **{key: np.asarray(value) for key, value in entries.items()})
    return read_document("-", io.BytesIO(stream.getvalue()))


X = np.arange(8, dtype=np.float32).reshape(2, 4)
ROWS = X.tolist()


def test_one_array_is_the_only_input(target, spec):
    call = call_from(target(spec("b", 4)), [source(OneArray(X))])
    np.testing.assert_array_equal(call.args[0], X)
    assert call.kwargs == {}


def test_one_array_is_the_only_input_that_must_be_given(target, spec):
    takes = target(spec("b", 4), spec(), names=("x", "scale"), optional=("scale",))
    call = call_from(takes, [source(OneArray(X))])
    assert len(call.args) == 1


def test_one_array_may_be_the_only_leaf_of_a_tree(target, spec):
    call = call_from(target({"x": (spec("b", 4),)}), [source(OneArray(X))])
    np.testing.assert_array_equal(call.args[0]["x"][0], X)


@pytest.mark.parametrize(
    "keys",
    [("0", "1"), ("x", "y"), ("arr_0", "arr_1"), ("0", "y")],
    ids=["positions", "names", "NumPy's own", "mixed"],
)
def test_arrays_find_their_arguments(keys, target, spec):
    takes = target(spec("b", 4), spec("b"), names=("x", "y"))
    call = call_from(takes, [source(npz(**{keys[0]: X, keys[1]: X[:, 0]}))])
    np.testing.assert_array_equal(call.args[0], X)
    np.testing.assert_array_equal(call.args[1], X[:, 0])


@pytest.mark.parametrize("prefix", ["", "0.", "batch."])
def test_arrays_find_the_leaves_of_a_tree_by_key_path(prefix, target, spec):
    takes = target({"a": spec(4), "b": [spec(4), spec(2)]}, names=("batch",))
    given = {f"{prefix}a": X[0], f"{prefix}b.0": X[1], f"{prefix}b.1": X[0, :2]}
    (tree,) = call_from(takes, [source(npz(**given))]).args
    np.testing.assert_array_equal(tree["b"][0], X[1])
    np.testing.assert_array_equal(tree["b"][1], X[0, :2])


def test_a_file_for_one_argument_names_its_parts(target, spec):
    takes = target({"a": spec(4), "b": spec(4)}, spec(), names=("x", "y"))
    sources = [source(npz(a=X[0], b=X[1]), "x"), source(JsonValue(2), "y")]
    call = call_from(takes, sources)
    np.testing.assert_array_equal(call.args[0]["b"], X[1])
    assert call.args[1] == 2


def test_a_lone_nameless_array_of_an_npz_file_is_as_good_as_an_npy_file(target, spec):
    call = call_from(target(spec("b", 4), names=("x",)), [source(npz(arr_0=X))])
    np.testing.assert_array_equal(call.args[0], X)


@pytest.mark.parametrize(
    "value",
    [ROWS, {"x": ROWS}, {"0": ROWS}],
    ids=["itself", "by name", "by position"],
)
def test_json_is_the_only_input_or_names_it(value, target, spec):
    call = call_from(target(spec("b", 4), names=("x",)), [source(JsonValue(value))])
    np.testing.assert_array_equal(call.args[0], X)
    assert call.args[0].dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [[ROWS, 3], {"x": ROWS, "k": 3}, {"0": ROWS, "1": 3}],
    ids=["positions", "names", "positions as keys"],
)
def test_json_gives_several_arguments(value, target, spec):
    takes = target(spec("b", 4), spec(dtype="int32"), names=("x", "k"))
    call = call_from(takes, [source(JsonValue(value))])
    np.testing.assert_array_equal(call.args[0], X)
    assert call.args[1] == 3


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2], "b": {"c": [3], "d": None}},
        {"tree": {"a": [1, 2], "b": {"c": [3], "d": None}}},
        {"a": [1, 2], "b.c": [3]},
    ],
    ids=["itself", "by name", "key paths"],
)
def test_nested_json_is_a_tree(value, target, spec):
    takes = target({"a": spec(2), "b": {"c": spec(1), "d": None}}, names=("tree",))
    (tree,) = call_from(takes, [source(JsonValue(value))]).args
    assert tree["a"].tolist() == [1, 2]
    assert tree["b"]["c"].tolist() == [3]
    assert tree["b"]["d"] is None


def test_keywords_are_passed_by_keyword(target, spec):
    call = call_from(target(spec(), scale=spec()), [source(JsonValue({"0": 1, "scale": 2}))])
    assert call.args == (1,)
    assert dict(call.kwargs) == {"scale": 2}


def test_what_follows_an_input_that_is_left_out_is_passed_by_name(target, spec):
    takes = target(spec(), spec(), spec(), names=("a", "b", "c"), optional=("b",))
    call = call_from(takes, [source(JsonValue({"a": 1, "c": 3}))])
    assert call.args == (1,)
    assert dict(call.kwargs) == {"c": 3}


def test_an_input_without_arrays_need_not_be_given(target, spec):
    call = call_from(target({}, None, spec()), [source(JsonValue({"2": 1}))])
    assert call.args == ({}, None, 1)


@pytest.mark.parametrize("shape", [(), (1,), ("b",), (None,), ("b", 1)], ids=str)
def test_a_file_for_a_string_is_its_bytes(shape, target, spec):
    call = call_from(target(spec(*shape, dtype="string")), [source(FileBytes(b"\x89PNG\0"))])
    assert call.args[0].shape == (1,) * len(shape)
    assert call.args[0].reshape(-1).tolist() == [b"\x89PNG\0"]


def test_a_string_of_unknown_rank_is_a_scalar(target):
    takes = target(Spec(shape=None, dtype=DType.STRING))
    assert call_from(takes, [source(FileBytes(b"a"))]).args[0].shape == ()


def test_several_files_for_one_string_are_the_rows_of_a_batch(target, spec):
    sources = [source(FileBytes(text), "x") for text in (b"a", b"bc")]
    call = call_from(target(spec("b", dtype="string"), names=("x",)), sources)
    assert call.args[0].tolist() == [b"a", b"bc"]


def test_a_lone_string_of_json_is_a_batch_of_one(target, spec):
    call = call_from(target(spec("b", dtype="string")), [source(JsonValue("a"))])
    assert call.args[0].tolist() == [b"a"]


def test_bytes_in_json_are_not_taken_for_names(target, spec):
    call = call_from(target(spec(dtype="string")), [source(JsonValue({"base64": "/w=="}))])
    assert call.args[0].item() == b"\xff"


@pytest.mark.frameworks
def test_pictures_are_the_rows_of_a_batch(target, spec):
    from PIL import Image

    def picture(value: int) -> FileBytes:
        stream = io.BytesIO()
        Image.fromarray(np.full((2, 3), value, np.uint8)).save(stream, "PNG")
        return FileBytes(stream.getvalue())

    takes = target(spec("b", 2, 3, 1), names=("x",))
    call = call_from(takes, [source(picture(5), "x"), source(picture(7), "x")])
    assert call.args[0].dtype == np.float32
    assert call.args[0][:, 0, 0, 0].tolist() == [5, 7]
    assert call.notes == ("input 'x': a picture, its pixels as they are, 0 to 255",)


def test_the_first_form_that_takes_the_inputs_is_chosen(spec):
    forms = tuple(Form(args=(spec(rows, 4),), kwargs={}) for rows in (1, 2, "b"))
    takes = Target(kind="function", name="p", forms=forms, stages=())
    assert call_from(takes, [source(OneArray(X))]).form is forms[1]


WRONG = {
    "nothing": ([], "found nothing for x: float32 [b, 4], y.a: int32 [b]"),
    "half": ([source(JsonValue({"x": ROWS}))], "found nothing for y.a: int32 [b]"),
    "a name that is none": (
        [source(npz(x=X, z=X))],
        "input 'file': expected the name of an input; found 'z'; there is: x, y.a",
    ),
    "a name that is nearly one": ([source(npz(**{"y.b": X}))], "did you mean 'y.a'?"),
    "an array without a name": (
        [source(OneArray(X))],
        "which of the 2 inputs (x: float32 [b, 4], y: {a: int32 [b]}) it is; found no name",
    ),
    "a list of another length": ([source(JsonValue([1, 2, 3]))], "name each"),
    "twice": (
        [source(JsonValue({"x": ROWS})), source(OneArray(X), "x", "x=x.npy")],
        "input 'x=x.npy': expected 'x' once; found it in input 'file' too",
    ),
    "an array for a tree": (
        [source(OneArray(X), "y")],
        "expected a file with a key for each part of {a: int32 [b]}",
    ),
    "a key that names a tree": ([source(npz(y=X))], "name the parts as y.KEY"),
    "another rank": (
        [source(JsonValue({"x": [1, 2], "y": {"a": [1]}}))],
        "input 'x': expected float32 [b, 4]; found [2]; give an array of that rank",
    ),
    "another size": (
        [source(JsonValue({"x": [[1, 2]], "y": {"a": [1]}}))],
        "input 'x': expected float32 [b, 4]; found [1, 2]; give an array of that shape",
    ),
    "two sizes of one dimension": (
        [source(JsonValue({"x": ROWS, "y": {"a": [1]}}))],
        "input 'y.a': expected int32 [b] with b = 2 as in 'x'; found [1]",
    ),
    "another type": (
        [source(JsonValue({"x": ROWS, "y": {"a": [0.5, 1]}}))],
        "input 'y.a': expected int32 [b]; found float64 [2]",
    ),
    "other keys": (
        [source(JsonValue({"x": ROWS, "y": {"b": 1}}))],
        "input 'file', 'y': expected {a: int32 [b]}; found keys b; give the same keys",
    ),
    "no tree at all": (
        [source(JsonValue({"x": ROWS, "y": 3}))],
        "input 'file', 'y': expected {a: int32 [b]}; found 3; give the same keys",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_told_with_what_was_expected(name, target, spec):
    sources, message = WRONG[name]
    takes = target(spec("b", 4), {"a": spec("b", dtype="int32")}, names=("x", "y"))
    with pytest.raises(SignatureMismatchError) as caught:
        call_from(takes, sources)
    assert str(caught.value).startswith("function 'f', inp")
    assert message in str(caught.value)


def test_keys_that_are_equal_as_text_are_not_guessed(target, spec):
    takes = target({"a.b": spec(), "a": {"b": spec()}})
    with pytest.raises(SignatureMismatchError, match=r"found 'a\.b', which means 2"):
        call_from(takes, [source(npz(**{"a.b": 1.0}))])
    nested = JsonValue({"a.b": 1, "a": {"b": 2}})
    assert call_from(takes, [source(nested)]).args == ({"a.b": 1, "a": {"b": 2}},)


def test_a_token_cannot_be_given(target, spec):
    with pytest.raises(SignatureMismatchError, match="tokens cannot be passed"):
        call_from(target(Token(), spec()), [source(JsonValue([1, 2]))])


def test_when_no_form_fits_all_are_listed(spec):
    forms = tuple(Form(args=(spec(rows, 4),), kwargs={}, names=("x",)) for rows in (1, 8))
    takes = Target(kind="function", name="p", forms=forms, stages=())
    with pytest.raises(SignatureMismatchError) as caught:
        call_from(takes, [source(OneArray(X))])
    assert "(x: float32 [1, 4])" in str(caught.value)
    assert "(x: float32 [8, 4])" in str(caught.value)


LEAVES = [np.float32(1.5), np.array([1, 2], np.int32), np.array([[True]]), np.array(b"a", object)]
KEYS = st.text("abcXYZ_é 0123", min_size=1, max_size=3)
TREES = st.recursive(
    st.sampled_from(range(len(LEAVES))).map(lambda i: np.asarray(LEAVES[i])),
    lambda below: st.one_of(
        st.dictionaries(KEYS, below, min_size=1, max_size=3),
        st.lists(below, min_size=1, max_size=3),
        st.lists(below, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=6,
)


def specs_of(tree: Any) -> Any:
    return map_leaves(lambda x: Spec(shape=x.shape, dtype=DType.from_numpy(x.dtype)), tree)


def require_equal(found: Any, expected: Any) -> None:
    pairs = zip(flatten_with_path(found), flatten_with_path(expected), strict=True)
    for (path, new), (same_path, old) in pairs:
        assert path == same_path
        assert new.dtype == old.dtype
        np.testing.assert_array_equal(new, old)


@given(TREES)
def test_a_tree_written_as_npz_is_the_argument_again(tree):
    form = Form(args=(specs_of(tree),), kwargs={})
    takes = Target(kind="function", name="f", forms=(form,), stages=())
    stream = io.BytesIO()
    write_npz(stream, HostTree(tree=(tree,), logical={}))
    document = read_document("-", io.BytesIO(stream.getvalue()))
    require_equal(call_from(takes, [source(document)]).args[0], tree)


@given(TREES)
def test_a_tree_written_as_json_is_the_argument_again(tree):
    form = Form(args=(specs_of(tree),), kwargs={}, names=("argument",))
    takes = Target(kind="function", name="f", forms=(form,), stages=())
    value = json.loads(json.dumps(json_tree(HostTree(tree={"argument": tree}, logical={}))))
    require_equal(call_from(takes, [source(JsonValue(value))]).args[0], tree)
