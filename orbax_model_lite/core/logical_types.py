"""Our supplemental for element types that the manifest has no number for, both directions.

Such a dtype (float8_e3m4, int2, ...) is UNSPECIFIED in the manifest, and a typed PRNG key is the
integers it is made of; the names are kept beside it. In memory they are in the specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from orbax_model_lite._proto import bundle_info_pb2 as info_pb2
from orbax_model_lite.core import records
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Leaf, Spec
from orbax_model_lite.core.tree import Tree, leaves, unflatten
from orbax_model_lite.errors import InvalidBundleError

_BY_NAME = {dtype.value: dtype for dtype in DType if not dtype.wire}


def parse(raw: bytes, where: str) -> info_pb2.LogicalTypes:
    """Returns a record.

    Raises:
      InvalidBundleError: If it does not parse.
    """
    return records.parsed(info_pb2.LogicalTypes(), raw, where)


def decode(proto: info_pb2.LogicalTypes, signature: Signature, where: str) -> Signature:
    """Returns the signature with the names of a record applied.

    Raises:
      InvalidBundleError: If the record names a leaf that does not exist or has no element type.
    """
    return Signature(
        inputs=_named(signature.inputs, proto.inputs, f"{where}, input leaf"),
        outputs=_named(signature.outputs, proto.outputs, f"{where}, output leaf"),
    )


def encode(signature: Signature) -> info_pb2.LogicalTypes:
    """Returns the record of what the manifest cannot say of a signature; empty for most."""
    return info_pb2.LogicalTypes(
        inputs=_names(leaves(signature.inputs)), outputs=_names(leaves(signature.outputs))
    )


def is_empty(proto: info_pb2.LogicalTypes) -> bool:
    """Whether a record says nothing."""
    return proto.ByteSize() == 0


def _names(found: Iterable[Leaf]) -> dict[int, str]:
    named = enumerate(map(_name, found))
    return {index: name for index, name in named if name is not None}


def _name(leaf: Leaf) -> str | None:
    if not isinstance(leaf, Spec):
        return None
    if leaf.dtype.wire:
        return leaf.logical
    if leaf.logical is None:
        return None if leaf.dtype is DType.UNSPECIFIED else leaf.dtype.value
    return f"{leaf.dtype.value} {leaf.logical}"


def _named(tree: Tree, names: Mapping[int, str], where: str) -> Tree:
    if not names:
        return tree
    found = leaves(tree)
    for index, name in names.items():
        leaf = found[index] if index < len(found) else None
        if not isinstance(leaf, Spec):
            kind = "no such leaf" if leaf is None else "a token"
            raise InvalidBundleError(
                f"{where} {index}: expected a tensor that is a logical {name!r}; found {kind}; "
                "the bundle is damaged, save it again"
            )
        found[index] = _named_leaf(leaf, name)
    return unflatten(tree, found)


def _named_leaf(leaf: Spec, name: str) -> Spec:
    if leaf.dtype.wire:
        return replace(leaf, logical=name)
    dtype, _, logical = name.partition(" ")
    if dtype not in _BY_NAME:
        return replace(leaf, logical=name)
    return replace(leaf, dtype=_BY_NAME[dtype], logical=logical or None)
