"""Names of inputs and outputs: never twice, and found again in bundles of every age."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core.signature import Signature
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.tf2obm.names import (
    argument_names,
    input_names,
    joined_output_names,
    matched_names,
    signature_key,
)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        pytest.param([()], ["output_0"], id="single"),
        pytest.param([("output_0",), ("output_1",)], ["output_0", "output_1"], id="sequence"),
        pytest.param([("y",)], ["y"], id="dict"),
        pytest.param(
            [("nest", "output_0"), ("nest", "output_1", "neg")],
            ["nest.output_0", "nest.output_1.neg"],
            id="nested",
        ),
        pytest.param([("a", "b"), ("a.b",)], ["a.b", "a.b_1"], id="dot_in_a_key"),
        pytest.param(
            [("a", "b"), ("a.b",), ("a.b_1",)], ["a.b", "a.b_2", "a.b_1"], id="count_is_taken_too"
        ),
    ],
)
def test_outputs_are_named_after_their_path(paths, names):
    assert joined_output_names(paths) == tuple(names)


keys = st.text(alphabet="ab._1", max_size=5)


@given(st.lists(st.lists(keys, max_size=3).map(tuple), max_size=8))
def test_no_two_outputs_have_one_name(paths):
    names = joined_output_names(paths)
    assert len(set(names)) == len(paths)


@given(st.lists(st.lists(keys, max_size=3).map(tuple), max_size=8, unique=True))
def test_a_name_that_only_one_output_wants_is_its_name(paths):
    wanted = [".".join(path) if path else "output_0" for path in paths]
    for want, name in zip(wanted, joined_output_names(paths), strict=True):
        if wanted.count(want) == 1:
            assert name == want


def test_an_input_is_never_a_word_of_python():
    assert input_names(["x", "lambda", "lambda_"]) == ("x", "lambda_", "lambda__1")


@pytest.mark.parametrize("name", ["pre", "", "a b", "manifest", "orchestration", "ünï"])
def test_a_signature_has_the_name_of_its_function(name):
    assert signature_key(name) == name


def test_the_signature_that_tensorflow_reserves_is_left_to_it():
    keys = {signature_key("__saved_model_init_op"), signature_key("__saved_model_init_op_")}
    assert "__saved_model_init_op" not in keys
    assert len(keys) == 2


def test_only_an_argument_that_is_one_tensor_has_a_name():
    signature = Signature.of_call(("x", {"a": "y", "b": "z"}, None, "w"), {}, None)
    assert argument_names(signature, ["x", "d", "d_1", "w"]) == ["x", None, None, "w"]


@pytest.mark.parametrize(
    ("recorded", "paths", "present", "names"),
    [
        pytest.param(["b", "a"], [("x",), ("y",)], {"a", "b"}, ("b", "a"), id="recorded"),
        pytest.param([], [("a",), ("b",)], {"a", "b"}, ("a", "b"), id="keys_of_a_flat_dict"),
        pytest.param([], [(0,), (1,)], {"input_0", "input_1"}, ("input_0", "input_1"), id="inputs"),
        pytest.param(
            [], [(), ()], {"output_0", "output_1"}, ("output_0", "output_1"), id="outputs"
        ),
        pytest.param([], [()], {"logits"}, ("logits",), id="only_one"),
        pytest.param([], [], {"nothing"}, (), id="none"),
    ],
)
def test_names_are_found_in_bundles_of_every_age(recorded, paths, present, names):
    leaves = [(path, None) for path in paths]
    assert matched_names(recorded, leaves, present, "f, inputs") == names


@pytest.mark.parametrize(
    ("recorded", "present"),
    [(["a"], {"a", "b"}), (["a", "c"], {"a", "b"}), ([], {"x", "y"})],
    ids=["too_few", "unknown", "not_to_be_told"],
)
def test_names_that_the_signature_does_not_have_are_an_error(recorded, present):
    message = re.escape("f, inputs: expected 2 that the SavedModel's signature has")
    with pytest.raises(InvalidBundleError, match=message):
        matched_names(recorded, [(("p",), None), (("q",), None)], present, "f, inputs")
