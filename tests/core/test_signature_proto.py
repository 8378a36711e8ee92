"""Signatures <-> types of the manifest, case by case."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

from orbax_model_lite._proto import dtype_pb2, manifest_pb2, type_pb2
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.limits import Budget
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.signature_proto import (
    signature_from_proto,
    signature_to_proto,
    tree_from_proto,
    tree_to_proto,
)
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import StringPairs
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError


def leaf(*shape: Any, dtype: DType = DType.FLOAT32, **rest: Any) -> Spec:
    return Spec(shape=shape, dtype=dtype, **rest)


def there_and_back(tree: Any) -> Any:
    return tree_from_proto(tree_to_proto(tree, "f"), "f")


SAME = {
    "scalar": leaf(),
    "known": leaf(2, 0, 2**64 - 1),
    "unknown dimension": leaf(None, 3),
    "unknown rank": Spec(shape=None, dtype=DType.STRING),
    "replicated": leaf(4, sharding=b""),
    "sharded": leaf(4, sharding=b"\x08\x03", layout=b"\n\x01\0"),
    "token": Token(),
    "none": None,
    "tuple": (leaf(1), (leaf(2),)),
    "list": [leaf(1), [leaf(2)]],
    "dict": {"b": leaf(1), "a": {"": leaf(2)}},
    "string pairs": StringPairs((("b", leaf(1)), ("a", leaf(2)), ("b", Token()))),
    "empty tuple": (),
    "empty list": [],
    "empty dict": {},
    "empty string pairs": StringPairs(),
    "mixed": ({"x": [None, (), leaf(1)]}, [], StringPairs((("k", {}),))),
}


@pytest.mark.parametrize("tree", SAME.values(), ids=SAME)
def test_a_tree_comes_back_with_its_containers(tree):
    again = there_and_back(tree)
    assert again == tree
    assert type(again) is type(tree)


@pytest.mark.parametrize("dtype", [d for d in DType if d.has_wire], ids=lambda d: d.value)
def test_every_dtype_of_the_format_is_read_and_written(dtype):
    assert there_and_back(leaf(2, dtype=dtype)) == leaf(2, dtype=dtype)


def test_every_number_of_the_format_has_a_dtype():
    for number in dtype_pb2.DType.values():
        if number:
            assert DType.from_wire(number).wire == number


def test_a_shape_is_present_even_when_its_rank_is_unknown():
    proto = tree_to_proto(Spec(shape=None, dtype=DType.FLOAT32), "f")
    assert proto.leaf.tensor_type.HasField("shape")
    assert not proto.leaf.tensor_type.shape.HasField("shape_with_known_rank")


def test_the_sizes_of_numpy_are_sizes():
    assert there_and_back(leaf(np.int64(3))) == leaf(3)


def test_an_absent_shape_is_an_unknown_rank():
    proto = type_pb2.Type()
    proto.leaf.tensor_type.dtype = dtype_pb2.si32
    assert tree_from_proto(proto, "f") == Spec(shape=None, dtype=DType.INT32)


@pytest.mark.parametrize(
    ("break_it", "place"),
    [
        (lambda s: s.ClearField("input"), "function 'f', input: "),
        (lambda s: s.output.Clear(), "function 'f', output: "),
        (lambda s: s.input.tuple.elements.add(), r"function 'f', input '2': "),
        (
            lambda s: s.input.tuple.elements[1].dict.string_to_type["x"].ClearField("leaf"),
            r"function 'f', input '1\.x': ",
        ),
        (
            lambda s: s.input.tuple.elements[0].tuple.elements[0].leaf.ClearField("tensor_type"),
            r"function 'f', input '0\.0': expected a tensor or a token",
        ),
    ],
    ids=["no input", "no output", "node", "in a dict", "leaf"],
)
def test_a_node_with_nothing_set_is_damage_and_is_named(break_it, place):
    proto = signature_to_proto(Signature.of_call((leaf(),), {"x": leaf()}, leaf()), "f")
    break_it(proto)
    with pytest.raises(InvalidBundleError, match=place + ".*found nothing set"):
        signature_from_proto(proto, "function 'f'")


def test_a_node_of_an_unknown_kind_is_told_from_damage():
    proto = type_pb2.Type.FromString(b"\x4a\x00")  # field 9
    with pytest.raises(UnsupportedError, match=r"kind that this version does not know \(field 9\)"):
        tree_from_proto(proto, "f")


def test_an_ordered_dict_of_before_may_2025_keeps_its_order():
    pairs = type_pb2.StringTypePairs()
    for key in "zay":
        pairs.elements.add(fst=key, snd=tree_to_proto(leaf(ord(key)), "f"))
    content = pairs.SerializeToString()
    proto = type_pb2.Type.FromString(bytes([5 << 3 | 2, len(content)]) + content)
    tree = tree_from_proto(proto, "f")
    assert tree == StringPairs(tuple((key, leaf(ord(key))) for key in "zay"))
    assert tree_to_proto(tree, "f").string_type_pairs == pairs


def test_an_ordered_dict_that_does_not_parse_is_damage():
    proto = type_pb2.Type.FromString(bytes([5 << 3 | 2, 1, 0xFF]))
    with pytest.raises(InvalidBundleError, match="an ordered dict that does not parse"):
        tree_from_proto(proto, "f")


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Record:
    x: Any


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": Pair(leaf(), leaf())}, "'a': expected .* plain tuple.*; found Pair"),
        (collections.OrderedDict(b=leaf(), a=leaf()), "found OrderedDict; make the tree plain"),
        ([Record(leaf())], "'0': expected .*; found Record"),
        ([3.0], "'0': expected .*; found float"),
        ({1: leaf()}, "expected keys that are strings of valid Unicode; found 1"),
        ({"\ud800": leaf()}, "expected keys that are strings of valid Unicode"),
        (StringPairs(((1, leaf()),)), "expected keys that are strings"),
        (leaf(2**64), "expected sizes from 0 to .*; found 18446744073709551616"),
        (leaf(2.5), r"expected sizes from 0 to .*; found 2\.5"),
    ],
)
def test_a_tree_that_the_format_cannot_hold_is_refused(tree, message):
    with pytest.raises(InvalidModelError, match=message):
        tree_to_proto(tree, "function 'f', input")


def nested(depth: int, wrap) -> Any:
    tree: Any = leaf(1, sharding=b"\x08\x03")
    for _ in range(depth):
        tree = wrap(tree)
    return tree


WRAPS = {
    "tuple": lambda tree: (tree,),
    "list": lambda tree: [tree],
    "dict": lambda tree: {"k": tree},
    "pairs": lambda tree: StringPairs((("k", tree),)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("is_variant", [False, True])
def test_whatever_depth_is_written_is_read_again(wrap, is_variant):
    depth = 0
    while (proto := written_at(depth + 1, wrap)) is not None:
        depth += 1
        manifest = manifest_pb2.Manifest()
        entry = manifest.objects["f"]
        target = entry.poly_fn.concrete_functions.add() if is_variant else entry.function
        target.signature.CopyFrom(proto)
        again = manifest_pb2.Manifest.FromString(manifest.SerializeToString()).objects["f"]
        function = again.poly_fn.concrete_functions[0] if is_variant else again.function
        found = signature_from_proto(function.signature, "function 'f'")
        assert found == Signature(inputs=nested(depth, wrap), outputs=None)
    assert depth > 25


def written_at(depth: int, wrap) -> type_pb2.FunctionSignature | None:
    """Returns the record of a nested signature; None where it is refused."""
    signature = Signature(inputs=nested(depth, wrap), outputs=None)
    try:
        return signature_to_proto(signature, "function 'f'")
    except InvalidModelError:
        return None


def test_a_tree_that_is_nested_too_deeply_is_named():
    with pytest.raises(
        InvalidModelError, match=r"function 'f' '0\.0.*': expected containers nested"
    ):
        tree_to_proto(nested(99, WRAPS["tuple"]), "function 'f'")


def test_nodes_beyond_the_budget_are_refused():
    proto = tree_to_proto([leaf()] * 10, "f")
    assert tree_from_proto(proto, "f", Budget(11, "nodes")) == [leaf()] * 10
    with pytest.raises(InvalidBundleError, match="at most 10 nodes in a manifest; found more"):
        tree_from_proto(proto, "f", Budget(10, "nodes"))
