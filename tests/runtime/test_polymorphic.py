"""Which concrete function of a polymorphic one takes the arguments."""

from __future__ import annotations

import numpy as np
import pytest

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.polymorphic import PolymorphicCallable


def takes(*shapes, dtype=DType.FLOAT32, **kwargs) -> Signature:
    args = tuple(Spec(shape=shape, dtype=dtype) for shape in shapes)
    return Signature.of_call(args, kwargs, Spec(shape=(), dtype=dtype))


def poly(*signatures: Signature) -> PolymorphicCallable:
    return PolymorphicCallable("p", signatures, lambda i: lambda *args, **kwargs: i)


def test_a_static_shape_is_preferred_to_a_symbolic_one():
    function = poly(takes(("b", 4)), takes((8, 4)), takes((None, None)))
    assert function(np.zeros((8, 4), np.float32)) == 1
    assert function(np.zeros((7, 4), np.float32)) == 0
    assert function(np.zeros((7, 3), np.float32)) == 2


def test_the_authors_order_decides_between_equals():
    assert poly(takes(("b", 4)), takes((4, "b")))(np.zeros((4, 4), np.float32)) == 0


def test_the_dtype_decides():
    function = poly(takes((2,)), takes((2,), dtype=DType.INT32))
    assert function(np.zeros(2, np.int32)) == 1


def test_one_symbol_is_one_size():
    function = poly(takes(("b",), ("b",)), takes(("b",), ("c",)))
    assert function(np.zeros(2, np.float32), np.zeros(2, np.float32)) == 0
    assert function(np.zeros(2, np.float32), np.zeros(3, np.float32)) == 1


def test_keywords_belong_to_the_signature():
    spec = Spec(shape=(2,), dtype=DType.FLOAT32)
    function = poly(takes((2,)), takes((2,), scale=spec))
    array = np.zeros(2, np.float32)
    assert function(array, scale=array) == 1


def test_an_error_lists_all_signatures_when_none_takes_the_arguments():
    function = poly(takes((1, 4)), takes((2, 4)))
    with pytest.raises(SignatureMismatchError) as caught:
        function(np.zeros((3, 4), np.float32))
    message = str(caught.value)
    assert "'p'" in message
    assert "float32 [1, 4]" in message
    assert "float32 [2, 4]" in message
    assert "found (float32 [3, 4])" in message
