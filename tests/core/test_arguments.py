"""A caller's arguments in the trees of a signature, whatever engine takes them."""

from __future__ import annotations

import numpy as np
import pytest

from orbax_model_lite.core.arguments import as_arrays
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError

F32 = Spec(shape=(None,), dtype=DType.FLOAT32)
I8 = Spec(shape=(), dtype=DType.INT8)


def call(signature: Signature, *args, names=(), **kwargs):
    return as_arrays(signature, names, args, kwargs)


def takes(*args, **kwargs) -> Signature:
    return Signature.of_call(args, kwargs, F32)


def test_lists_of_numbers_become_arrays_of_the_recorded_dtype():
    (x,), kwargs = call(takes(F32), [1, 2.5])
    assert (x.dtype, x.tolist(), kwargs) == (np.float32, [1, 2.5], {})


def test_arrays_stay_as_they_are():
    given = np.zeros(2, np.float64)
    ((x,), _) = call(takes(F32), given)
    assert x is given


def test_lists_inside_trees_become_arrays():
    ((tree,), _) = call(takes({"a": F32, "b": (I8, None)}), {"a": [1], "b": [7, None]})
    assert tree["b"] == (7, None)
    assert tree["b"][0].dtype == np.int8


def test_an_argument_may_be_given_by_name():
    args, kwargs = call(takes(F32, I8), y=1, x=[2], names=("x", "y"))
    assert [arg.tolist() for arg in args] == [[2], 1]
    assert kwargs == {}


def test_what_follows_a_gap_keeps_its_name():
    args, kwargs = call(takes(F32, I8), y=1, names=("x", "y"))
    assert args == ()
    assert kwargs == {"y": 1}


def test_keyword_arguments_of_the_signature_keep_their_names():
    args, kwargs = call(takes(F32, x=I8), [1], x=2, names=("x",))
    assert [arg.tolist() for arg in args] == [[1]]
    assert kwargs == {"x": 2}


def test_arguments_without_leaves_may_be_left_out():
    args, _ = call(takes(F32, None, ()), [1])
    assert args[1:] == (None, ())


def test_superfluous_arguments_are_passed_on_for_the_engine_to_refuse():
    args, kwargs = call(takes(I8), 1, 2, z=3)
    assert (args, kwargs) == ((1, 2), {"z": 3})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (300, "input '0': expected int8 .*; found 300"),
        ([[1], [2, 3]], "input '0': expected int8"),
    ],
    ids=["range", "ragged"],
)
def test_what_is_no_number_of_the_dtype_is_refused(value, message):
    with pytest.raises(SignatureMismatchError, match=message):
        call(takes(I8), value)


def test_an_argument_given_twice_is_refused():
    with pytest.raises(SignatureMismatchError, match="input 'x': expected it once"):
        call(takes(F32), [1], x=[2], names=("x",))


def test_another_tree_is_refused():
    with pytest.raises(SignatureMismatchError, match="found a dict with keys b"):
        call(takes({"a": F32}), {"b": [1]})
