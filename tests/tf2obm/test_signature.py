"""What a TensorFlow function gives, as what a JAX function takes."""

from __future__ import annotations

import collections

import jax
import numpy as np
import pytest
import tensorflow as tf

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.tf2obm import tf_specs_to_jax
from orbax_model_lite.tf2obm.signature import to_spec_tree

pytestmark = pytest.mark.frameworks

F32 = tf.float32
Pair = collections.namedtuple("Pair", "first second")


def spec(*shape: int | None, dtype: tf.DType = F32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


def texts(tree):
    return jax.tree.map(lambda s: f"{s.dtype.name}[{','.join(map(str, s.shape))}]", tree)


@pytest.mark.parametrize(
    ("structure", "args", "kwargs"),
    [
        pytest.param(spec(2), ("float32[2]",), {}, id="tensor"),
        pytest.param((spec(2), spec(3)), ("float32[2]", "float32[3]"), {}, id="tuple"),
        pytest.param([spec(2), spec(3)], ("float32[2]", "float32[3]"), {}, id="list"),
        pytest.param(
            {"y": spec(2), "x": spec()}, (), {"x": "float32[]", "y": "float32[2]"}, id="dict"
        ),
        pytest.param(Pair(spec(2), spec(3)), ("float32[2]", "float32[3]"), {}, id="named_tuple"),
        pytest.param(
            ([spec(2)], {"a": spec(3)}), (["float32[2]"], {"a": "float32[3]"}), {}, id="nested"
        ),
        pytest.param(None, (), {}, id="nothing"),
        pytest.param((), (), {}, id="empty"),
    ],
)
def test_a_structure_becomes_positional_or_keyword_arguments(structure, args, kwargs):
    found_args, found_kwargs = tf_specs_to_jax(structure)
    assert (texts(found_args), texts(found_kwargs)) == (args, kwargs)


def test_unknown_first_dimensions_are_one_symbol_and_others_one_each():
    args, _ = tf_specs_to_jax((spec(None, None, 3), spec(None, 4), spec(2, None)))
    assert texts(args) == ("float32[b,d0,3]", "float32[b,4]", "float32[2,d1]")


def test_all_symbols_are_in_one_scope():
    args, _ = tf_specs_to_jax((spec(None, 3), spec(None, 3)))
    assert args[0].shape[0] == args[1].shape[0]
    exported = jax.export.export(jax.jit(lambda x, y: x + y))(*args)
    assert str(exported.out_avals[0].shape[0]) == "b"


def test_the_symbols_can_be_chosen():
    args, _ = tf_specs_to_jax((spec(None, None),), batch_symbol="n", symbol_prefix="t")
    assert texts(args) == ("float32[n,t0]",)


def test_symbols_can_be_constrained():
    args, _ = tf_specs_to_jax(spec(None, 3), constraints=["b >= 4"])
    assert bool(args[0].shape[0] >= 2)


def test_strings_of_a_dict_travel_past_the_model():
    _, kwargs = tf_specs_to_jax({"x": spec(2), "id": spec(None, dtype=tf.string)})
    assert set(kwargs) == {"x"}


def test_a_string_that_would_be_an_argument_is_an_error_that_names_it():
    with pytest.raises(InvalidModelError, match=r"output '1': .*string \[\?\].*return a dict"):
        tf_specs_to_jax((spec(2), spec(None, dtype=tf.string)))


def test_a_string_inside_an_argument_is_an_error_that_names_it():
    with pytest.raises(InvalidModelError, match=r"output 'x\.id'"):
        tf_specs_to_jax({"x": {"id": spec(2, dtype=tf.string), "v": spec(2)}})


def test_an_unknown_rank_is_an_error():
    with pytest.raises(InvalidModelError, match="known rank"):
        tf_specs_to_jax(tf.TensorSpec(None, F32))


def test_the_specs_of_a_bundle_are_taken_too():
    args, _ = tf_specs_to_jax((Spec(shape=("n", None), dtype=DType.FLOAT32),))
    assert texts(args) == ("float32[n,d0]",)


@pytest.mark.parametrize(
    "dtype",
    [
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "bfloat16", "float32", "float64", "complex64", "complex128", "string",
        "int4", "uint4", "float8_e5m2", "float8_e4m3fn",
    ],
)  # fmt: skip
def test_every_dtype_that_both_have_is_recorded(dtype):
    assert to_spec_tree(tf.TensorSpec([], tf.as_dtype(dtype)), "x").dtype is DType(dtype)


@pytest.mark.parametrize("dtype", ["resource", "variant", "qint8"])
def test_other_dtypes_are_an_error(dtype):
    with pytest.raises(InvalidModelError, match=f"found dtype '{dtype}'"):
        to_spec_tree({"t": tf.TensorSpec([], tf.as_dtype(dtype))}, "output")


def test_unknown_dimensions_and_ranks_stay_unknown():
    tree = to_spec_tree({"a": spec(None, 2), "b": tf.TensorSpec(None, F32)}, "x")
    assert (tree["a"].shape, tree["b"].shape) == ((None, 2), None)


@pytest.mark.parametrize(
    "structure",
    [tf.RaggedTensorSpec([None, None], F32), tf.SparseTensorSpec([None, 2], F32)],
    ids=["ragged", "sparse"],
)
def test_a_tensor_that_is_not_dense_is_an_error_that_names_it(structure):
    with pytest.raises(InvalidModelError, match=r"output r: expected a dense tensor; found"):
        to_spec_tree({"r": structure}, "output")


def test_containers_of_every_kind_become_plain():
    structure = {
        "ordered": collections.OrderedDict(z=spec(1), a=spec(2)),
        "named": Pair(spec(3), None),
        "numbered": {3: [spec(4)]},
    }
    tree = to_spec_tree(structure, "x")
    assert type(tree["ordered"]) is dict
    assert type(tree["named"]) is tuple
    assert tree["named"][1] is None
    assert [tree["ordered"]["a"].shape, tree["numbered"]["3"][0].shape] == [(2,), (4,)]


def test_keys_of_several_types_are_an_error():
    with pytest.raises(InvalidModelError, match="keys that cannot be sorted; use strings"):
        to_spec_tree({"k": {1: spec(1), "1": spec(2)}}, "x")


def test_float64_stays_float64_for_jax():
    args, _ = tf_specs_to_jax(spec(2, dtype=tf.float64))
    assert args[0].dtype == np.float64
