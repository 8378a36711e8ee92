"""The `jax_specific_info` supplemental <-> `JaxInfo` and the symbolic part of a signature.

On disk the record refines the manifest's types leaf by leaf: expressions for dimensions that the
manifest leaves unknown, float0 where it says i1. In memory both are in the signature's specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orbax_model_lite._proto import jax_supplemental_pb2 as jax_pb2
from orbax_model_lite.core import records
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import JaxInfo
from orbax_model_lite.core.graft import keep_unknown
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Dim, Leaf, Shape, Spec
from orbax_model_lite.core.tree import Tree, leaves, map_leaves, unflatten
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

_CUSTOM_CALL = "custom_call:"
_UNKNOWN = "unknown:"


def decode(raw: bytes, signature: Signature, where: str) -> tuple[JaxInfo, Signature]:
    """Returns the facts of a record, and the signature with its refinements applied.

    Args:
      raw: Serialized `orbax_model_jax_supplemental.Function`.
      signature: As the manifest alone has it.
      where: Beginning of a message, for example "function 'f'".

    Raises:
      InvalidBundleError: If it does not parse, or contradicts the signature.
    """
    proto = records.parsed(jax_pb2.Function(), raw, f"{where}, 'jax_specific_info'")
    info = JaxInfo(
        name=proto.name,
        device_count=proto.nr_devices,
        ordered_effects=tuple(proto.ordered_effects),
        unordered_effects=tuple(proto.unordered_effects),
        disabled_checks=tuple(map(_check_from_proto, proto.disabled_checks)),
        uses_shape_polymorphism=proto.uses_shape_polymorphism,
        origin=raw,
    )
    refined = Signature(
        inputs=_refined(signature.inputs, proto.input_spec_refinements, f"{where}, input leaf"),
        outputs=_refined(signature.outputs, proto.output_spec_refinements, f"{where}, output leaf"),
    )
    return info, refined


def encode(info: JaxInfo | None, signature: Signature, where: str) -> bytes | None:
    """Returns the record of `info` and of the symbolic part of `signature`.

    A record that was read and still says the same comes back byte for byte.

    Args:
      info: The facts; None when there are none, then default ones go with a symbolic signature.
      signature: As it is in memory.
      where: Beginning of a message.

    Returns:
      The serialized record, or None when there is nothing to record.

    Raises:
      InvalidModelError: If a symbolic dimension is a mere number, or a disabled check is none of
        those that `JaxInfo` lists.
    """
    inputs = _refinements(leaves(signature.inputs), f"{where}, input leaf")
    outputs = _refinements(leaves(signature.outputs), f"{where}, output leaf")
    if info is None:
        if inputs is None and outputs is None:
            return None
        info = JaxInfo()
    if info.origin and _still_says(info, signature, where):
        return info.origin
    proto = jax_pb2.Function(
        input_spec_refinements=inputs,
        output_spec_refinements=outputs,
        nr_devices=info.device_count,
        ordered_effects=info.ordered_effects,
        unordered_effects=info.unordered_effects,
        disabled_checks=[_check_to_proto(check, where) for check in info.disabled_checks],
        uses_shape_polymorphism=info.uses_shape_polymorphism,
        name=info.name,
    )
    keep_unknown(jax_pb2.Function.FromString(info.origin), proto)
    return proto.SerializeToString(deterministic=True)


def plain(signature: Signature) -> Signature:
    """Returns the signature as the manifest alone can say it: sizes unknown, float0 as bool."""
    return Signature(
        inputs=map_leaves(_plain_leaf, signature.inputs),
        outputs=map_leaves(_plain_leaf, signature.outputs),
    )


def is_refined(leaf: Leaf) -> bool:
    """Whether a leaf has a symbolic dimension or is float0."""
    return isinstance(leaf, Spec) and (leaf.dtype is DType.FLOAT0 or _is_symbolic(leaf.shape))


def _still_says(info: JaxInfo, signature: Signature, where: str) -> bool:
    try:
        return decode(info.origin, plain(signature), where) == (info, signature)
    except InvalidBundleError:
        return False


def _is_symbolic(shape: Shape) -> bool:
    return any(isinstance(dim, str) for dim in shape or ())


def _plain_leaf(leaf: Leaf) -> Leaf:
    if not isinstance(leaf, Spec) or not is_refined(leaf):
        return leaf
    shape = leaf.shape
    if shape is not None:
        shape = tuple(None if isinstance(dim, str) else dim for dim in shape)
    dtype = DType.BOOL if leaf.dtype is DType.FLOAT0 else leaf.dtype
    return replace(leaf, shape=shape, dtype=dtype)


def _refined(tree: Tree, proto: jax_pb2.ShapeDTypeRefinements, where: str) -> Tree:
    found = leaves(tree)
    match proto.WhichOneof("case"):
        case "list":
            entries: Iterable[tuple[int, jax_pb2.ShapeDTypeRefinement]]
            entries = enumerate(proto.list.refinements)
            count = len(proto.list.refinements)
            if count != len(found):
                raise InvalidBundleError(
                    f"{where}s: expected one refinement for each of the {len(found)} leaves; found "
                    f"{count} in 'jax_specific_info'; the bundle is damaged, save it again"
                )
        case "map":
            entries = sorted(proto.map.idx_to_refinement.items())
        case _:
            return tree
    for index, refinement in entries:
        if index >= len(found):
            raise InvalidBundleError(
                f"{where} {index}: expected one of {len(found)} leaves; found a refinement of a "
                "leaf that does not exist in 'jax_specific_info'; save the bundle again"
            )
        found[index] = _refined_leaf(found[index], refinement, f"{where} {index}")
    return unflatten(tree, found)


def _refined_leaf(leaf: Leaf, proto: jax_pb2.ShapeDTypeRefinement, where: str) -> Leaf:
    has_dtype = proto.HasField("dtype") and proto.dtype == jax_pb2.f0
    if not proto.HasField("shape") and not has_dtype:
        return leaf
    if not isinstance(leaf, Spec):
        raise _contradiction(where, "no refinement of a token", "one")
    if has_dtype:
        if leaf.dtype is not DType.BOOL:
            raise _contradiction(where, "float0 over bool", f"float0 over {leaf.dtype.value}")
        leaf = replace(leaf, dtype=DType.FLOAT0)
    if proto.HasField("shape"):
        sizes = proto.shape.dimension_sizes
        shape = _refined_shape(leaf.shape, sizes, where)
        leaf = replace(leaf, shape=shape)
    return leaf


def _refined_shape(
    shape: Shape, sizes: Sequence[jax_pb2.DimensionSizeRefinement], where: str
) -> Shape:
    if shape is None or len(shape) != len(sizes):
        rank = "unknown rank" if shape is None else f"rank {len(shape)}"
        raise _contradiction(where, f"a shape of {rank}", f"{len(sizes)} refined dimensions")
    pairs = zip(shape, sizes, strict=True)
    return tuple(_refined_dim(d, s.size, where) if s.HasField("size") else d for d, s in pairs)


def _refined_dim(dim: Dim, text: str, where: str) -> Dim:
    if dim is None and text and not text.isdecimal():
        return text
    if text.isdecimal() and dim == int(text):
        return dim
    found = f"the refinement {text!r}"
    raise _contradiction(where, f"a dimension of size {'?' if dim is None else dim}", found)


def _contradiction(where: str, expected: str, found: str) -> InvalidBundleError:
    return InvalidBundleError(
        f"{where}: expected {expected} as the manifest has it; found {found} in "
        "'jax_specific_info'; the bundle is damaged, save it again"
    )


def _refinements(found: Sequence[Leaf], where: str) -> jax_pb2.ShapeDTypeRefinements | None:
    entries = {
        i: _refinement(leaf, f"{where} {i}")
        for i, leaf in enumerate(found)
        if isinstance(leaf, Spec) and is_refined(leaf)
    }
    if not entries:
        return None
    proto = jax_pb2.ShapeDTypeRefinements()
    # The rule of the format: a list while at least half of its entries say something.
    if 2 * len(entries) >= len(found):
        nothing = jax_pb2.ShapeDTypeRefinement()
        proto.list.refinements.extend(entries.get(i, nothing) for i in range(len(found)))
    else:
        for index, entry in entries.items():
            proto.map.idx_to_refinement[index].CopyFrom(entry)
    return proto


def _refinement(leaf: Spec, where: str) -> jax_pb2.ShapeDTypeRefinement:
    proto = jax_pb2.ShapeDTypeRefinement()
    if leaf.dtype is DType.FLOAT0:
        proto.dtype = jax_pb2.f0
    if _is_symbolic(leaf.shape):
        for dim in leaf.shape or ():
            if isinstance(dim, str) and dim.isdecimal():
                raise InvalidModelError(
                    f"{where}: expected sizes as numbers and symbolic expressions as text; found "
                    f"the text {dim!r}; write {int(dim)}"
                )
            proto.shape.dimension_sizes.add(size=dim if isinstance(dim, str) else None)
    return proto


def _check_from_proto(proto: jax_pb2.DisabledSafetyCheck) -> str:
    case = proto.WhichOneof("value")
    if case == "custom_call":
        return _CUSTOM_CALL + proto.custom_call.target_name
    return case or _UNKNOWN + proto.SerializeToString(deterministic=True).hex()


def _check_to_proto(check: str, where: str) -> jax_pb2.DisabledSafetyCheck:
    proto = jax_pb2.DisabledSafetyCheck()
    if check.startswith(_CUSTOM_CALL):
        proto.custom_call.target_name = check.removeprefix(_CUSTOM_CALL)
    elif check.startswith(_UNKNOWN):
        proto.MergeFromString(bytes.fromhex(check.removeprefix(_UNKNOWN)))
    elif check in {"platform", "shape_assertions"}:
        getattr(proto, check).SetInParent()
    else:
        raise InvalidModelError(
            f"{where}: expected disabled checks 'platform', 'shape_assertions' or "
            f"'custom_call:<target>'; found {check!r}; correct `JaxInfo.disabled_checks`"
        )
    return proto
