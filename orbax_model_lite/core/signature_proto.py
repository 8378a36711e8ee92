"""Signatures and trees of specs <-> `type.proto`.

Only what the manifest's own types can say. Symbolic dimensions and float0 (`jax_info`) and element
types without a number (`logical_types`) are added after reading; writing leaves them out here.
"""

from __future__ import annotations

import operator
from typing import Any, TypeAlias, cast

from google.protobuf import message, unknown_fields

from orbax_model_lite._proto import dtype_pb2, type_pb2
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.limits import Budget
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Dim, Shape, Spec, Token
from orbax_model_lite.core.tree import Path, StringPairs, Tree, format_path
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError

# Protobuf parses at most 100 messages inside each other. A signature's root lies 6 deep in the
# manifest, a leaf's dimension 5 below its type; a dict costs 3 for each level, others 2.
_MAX_DEPTH = 100 - 6 - 5
# `ordered_dict`, a message like StringTypePairs, until 2025-05-02.
_OLD_ORDERED_DICT = 5

# Layers are alike: leaves with the same bytes are one object, so that a hundred thousand of them
# take little time and memory.
_Seen: TypeAlias = dict[bytes, Spec | Token]


def signature_from_proto(
    proto: type_pb2.FunctionSignature, where: str, budget: Budget | None = None
) -> Signature:
    """Returns the signature that a record describes.

    Args:
      proto: The record.
      where: Beginning of a message, for example "function 'f'".
      budget: Counts the nodes of the trees.

    Raises:
      InvalidBundleError: If an input or output, or a node of it, has nothing set, or the budget
        is spent.
      UnsupportedError: If a node is of a kind that this version does not know.
    """
    return Signature(
        inputs=tree_from_proto(proto.input, f"{where}, input", budget),
        outputs=tree_from_proto(proto.output, f"{where}, output", budget),
    )


def signature_to_proto(signature: Signature, where: str) -> type_pb2.FunctionSignature:
    """Returns the record of a signature; see the module's docstring for what it leaves out.

    Raises:
      InvalidModelError: If a tree is not plain, or is nested too deeply for the format.
    """
    return type_pb2.FunctionSignature(
        input=tree_to_proto(signature.inputs, f"{where}, input"),
        output=tree_to_proto(signature.outputs, f"{where}, output"),
    )


def tree_from_proto(proto: type_pb2.Type, where: str, budget: Budget | None = None) -> Tree:
    """Returns the plain tree of `Spec` and `Token` leaves that a type describes.

    Raises:
      InvalidBundleError: See `signature_from_proto`.
      UnsupportedError: See `signature_from_proto`.
    """
    return _read(proto, where, (), budget, {})


def tree_to_proto(tree: Tree, where: str) -> type_pb2.Type:
    """Returns the type of a plain tree of `Spec` and `Token` leaves.

    Raises:
      InvalidModelError: See `signature_to_proto`.
    """
    proto = type_pb2.Type()
    _write(tree, proto, where, (), 0)
    return proto


def _read(proto: type_pb2.Type, where: str, path: Path, budget: Budget | None, seen: _Seen) -> Tree:
    if budget is not None:
        budget.spend(where)
    match proto.WhichOneof("type"):
        case "leaf":
            key = proto.leaf.SerializeToString()
            leaf = seen.get(key)
            if leaf is None:
                leaf = seen[key] = _read_leaf(proto.leaf, where, path)
            return leaf
        case "tuple":
            items = enumerate(proto.tuple.elements)
            return tuple([_read(child, where, (*path, i), budget, seen) for i, child in items])
        case "list":
            items = enumerate(proto.list.elements)
            return [_read(child, where, (*path, i), budget, seen) for i, child in items]
        case "none":
            return None
        case "dict":
            children = proto.dict.string_to_type
            return {
                key: _read(children[key], where, (*path, key), budget, seen)
                for key in sorted(children)
            }
        case "string_type_pairs":
            return _read_pairs(proto.string_type_pairs, where, path, budget, seen)
    return _read_pairs(_old_ordered_dict(proto, where, path), where, path, budget, seen)


def _read_pairs(
    proto: type_pb2.StringTypePairs, where: str, path: Path, budget: Budget | None, seen: _Seen
) -> StringPairs:
    return StringPairs(
        tuple([(p.fst, _read(p.snd, where, (*path, p.fst), budget, seen)) for p in proto.elements])
    )


def _old_ordered_dict(proto: type_pb2.Type, where: str, path: Path) -> type_pb2.StringTypePairs:
    numbers = []
    for field in unknown_fields.UnknownFieldSet(proto):
        numbers.append(field.field_number)
        if field.field_number == _OLD_ORDERED_DICT and isinstance(field.data, bytes):
            try:
                return type_pb2.StringTypePairs.FromString(field.data)
            except message.DecodeError:
                break
    raise _not_set("a leaf or a container", numbers, where, path)


def _read_leaf(proto: type_pb2.LeafType, where: str, path: Path) -> Spec | Token:
    case = proto.WhichOneof("type")
    if case == "token_type":
        return Token()
    if case is None:
        numbers = [f.field_number for f in unknown_fields.UnknownFieldSet(proto)]
        raise _not_set("a tensor or a token", numbers, where, path)
    tensor = proto.tensor_type
    shape: Shape = None
    if tensor.shape.HasField("shape_with_known_rank"):
        sizes = tensor.shape.shape_with_known_rank.dimension_sizes
        shape = tuple([d.size if d.HasField("size") else None for d in sizes])
    return Spec(
        shape=shape,
        dtype=DType.from_wire(tensor.dtype),
        sharding=tensor.sharding if tensor.HasField("sharding") else None,
        layout=tensor.layout if tensor.HasField("layout") else None,
    )


def _not_set(
    expected: str, numbers: list[int], where: str, path: Path
) -> InvalidBundleError | UnsupportedError:
    place = _place(where, path)
    if numbers and numbers != [_OLD_ORDERED_DICT]:
        return UnsupportedError(
            f"{place}: expected {expected}; found a kind that this version does not know (field "
            f"{', '.join(map(str, numbers))}); upgrade orbax_model_lite"
        )
    found = "an ordered dict that does not parse" if numbers else "nothing set"
    return InvalidBundleError(
        f"{place}: expected {expected}; found {found}; the manifest is damaged, save it again"
    )


def _place(where: str, path: Path) -> str:
    return f"{where} {format_path(path)!r}" if path else where


def _write(tree: Tree, proto: type_pb2.Type, where: str, path: Path, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidModelError(
            f"{_place(where, path)}: expected containers nested at most about "
            f"{_MAX_DEPTH // 3} deep; found deeper ones; flatten them before tracing"
        )
    # Subclasses are refused: an OrderedDict's order, or a named tuple's type, would be lost.
    kind = type(tree)
    if kind is Spec:
        _write_tensor(tree, proto.leaf.tensor_type, where, path)
    elif kind is Token:
        proto.leaf.token_type.SetInParent()
    elif tree is None:
        proto.none.SetInParent()
    elif kind is tuple or kind is list:
        container = proto.tuple if kind is tuple else proto.list
        container.SetInParent()
        for i, child in enumerate(tree):
            _write(child, container.elements.add(), where, (*path, i), depth + 2)
    elif kind is dict:
        proto.dict.SetInParent()
        for key in _checked_keys(tree, where, path):
            below = proto.dict.string_to_type[key]
            _write(tree[key], below, where, (*path, key), depth + 3)
    elif kind is StringPairs:
        proto.string_type_pairs.SetInParent()
        _checked_keys(dict(tree.pairs), where, path)
        for key, child in tree.pairs:
            pair = proto.string_type_pairs.elements.add(fst=key)
            _write(child, pair.snd, where, (*path, key), depth + 3)
    else:
        raise InvalidModelError(
            f"{_place(where, path)}: expected a Spec, Token, plain tuple, list, dict, "
            f"StringPairs or None; found {kind.__name__}; make the tree plain first"
        )


def _checked_keys(tree: dict[Any, Tree], where: str, path: Path) -> list[str]:
    for key in tree:
        if not isinstance(key, str) or not (key.isascii() or _is_text(key)):
            raise InvalidModelError(
                f"{_place(where, path)}: expected keys that are strings of valid Unicode; found "
                f"{key!r}; make the tree plain before tracing"
            )
    return sorted(tree)


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_tensor(spec: Spec, proto: type_pb2.TensorType, where: str, path: Path) -> None:
    proto.shape.SetInParent()
    if spec.shape is not None:
        known = proto.shape.shape_with_known_rank
        known.SetInParent()
        for dim in spec.shape:
            _write_dim(dim, known.dimension_sizes.add(), where, path)
    proto.dtype = cast("dtype_pb2.DType", spec.dtype.wire)
    if spec.sharding is not None:
        proto.sharding = spec.sharding
    if spec.layout is not None:
        proto.layout = spec.layout


def _write_dim(dim: Dim, proto: type_pb2.DimensionSize, where: str, path: Path) -> None:
    if dim is None or isinstance(dim, str):
        return
    try:
        proto.size = operator.index(dim)
    except (TypeError, ValueError) as e:
        raise InvalidModelError(
            f"{_place(where, path)}: expected sizes from 0 to 2**64 - 1, symbolic "
            f"expressions or None; found {dim!r}; correct the shape"
        ) from e
