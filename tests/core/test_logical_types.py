"""Element types that the manifest has no number for are kept beside it."""

from __future__ import annotations

import pytest

from orbax_model_lite._proto import dtype_pb2, manifest_pb2
from orbax_model_lite._proto.bundle_info_pb2 import (
    Examples,
    JaxTrees,
    LogicalTypes,
    Metadata,
    ModuleFacts,
    ObjectTypes,
)
from orbax_model_lite.core import layout, logical_types, manifest
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    JaxInfo,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import InvalidBundleError

E3M4 = Spec(shape=(2,), dtype=DType.FLOAT8_E3M4)
KEY = Spec(shape=(2,), dtype=DType.UINT32, logical="key<fry>")
PLAIN = Spec(shape=(2,), dtype=DType.FLOAT32)


def shlo(*inputs: Spec, outputs=PLAIN) -> ShloFunction:
    return ShloFunction(
        signature=Signature.of_call(inputs, {}, outputs),
        module=Data(content=b"ML"),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(0,),
        jax=JaxInfo(),
    )


def opaque(*inputs: Spec) -> OpaqueFunction:
    signature = Signature.of_call(inputs, {}, PLAIN)
    return OpaqueFunction(signature=signature, body=Data(content=b"x"))


def read(proto: manifest_pb2.Manifest) -> manifest.Contents:
    return manifest.from_proto(proto, lambda data, where: data.inline_bytes or b"")


@pytest.mark.parametrize(
    ("mime_type", "message"),
    [
        (layout.MIME_LOGICAL_TYPES, LogicalTypes),
        (layout.MIME_OBJECT_TYPES, ObjectTypes),
        (layout.MIME_JAX_TREES, JaxTrees),
        (layout.MIME_MODULE_FACTS, ModuleFacts),
        (layout.MIME_METADATA, Metadata),
        (layout.MIME_EXAMPLES, Examples),
    ],
)
def test_a_mime_type_of_ours_names_its_message(mime_type, message):
    assert mime_type == f"application/protobuf; type={message.DESCRIPTOR.full_name}"


def test_the_manifest_holds_what_the_module_takes():
    proto = manifest.to_proto({"f": shlo(E3M4, KEY)})
    inputs = proto.objects["f"].function.signature.input.tuple.elements[0].tuple.elements
    dtypes = [element.leaf.tensor_type.dtype for element in inputs]
    assert dtypes == [dtype_pb2.UNSPECIFIED, dtype_pb2.ui32]


def test_a_function_that_needs_no_record_has_none():
    proto = manifest.to_proto({"f": shlo(PLAIN), "g": opaque(PLAIN)})
    body = proto.objects["f"].function.body.stable_hlo_body
    assert set(body.supplemental_info) == {layout.KEY_JAX_INFO}
    assert not proto.supplemental_info


@pytest.mark.parametrize("dtype", [d for d in DType if not d.wire], ids=lambda d: d.value)
@pytest.mark.parametrize("logical", [None, "key<rbg>", "two words"])
def test_every_dtype_without_a_number_comes_back(dtype, logical):
    spec = Spec(shape=(), dtype=dtype, logical=logical)
    found = {"f": shlo(PLAIN, spec, outputs={"y": spec})}
    assert read(manifest.to_proto(found)).objects == found


def test_the_record_of_a_function_is_not_seen_in_memory():
    contents = read(manifest.to_proto({"f": shlo(E3M4)}))
    assert contents.objects["f"].supplementals == {}


def test_opaque_functions_and_values_share_one_record_of_the_bundle():
    found = {
        "f": opaque(KEY),
        "p": PolymorphicFunction(functions=(opaque(PLAIN), shlo(KEY), opaque(E3M4))),
        "w": ExternalValue(data=Data(content=b""), type={"rng": KEY, "x": PLAIN}),
        "plain": opaque(PLAIN),
    }
    proto = manifest.to_proto(found)
    record = ObjectTypes.FromString(proto.supplemental_info[layout.KEY_LOGICAL_TYPES].inlined_bytes)
    assert set(record.objects) == {"f", "p", "w"}
    contents = read(proto)
    assert contents.objects == found
    assert contents.supplementals == {}


def test_a_record_of_another_type_under_our_name_is_left_alone():
    data = Data(content=b"\xff", mime_type="text/plain")
    proto = manifest.to_proto({}, {layout.KEY_LOGICAL_TYPES: data})
    assert read(proto).supplementals == {layout.KEY_LOGICAL_TYPES: data}


def test_a_name_that_is_no_dtype_is_the_logical_type():
    names = LogicalTypes(inputs={0: "posit8 of mine"})
    plain = Signature.of_call((Spec(shape=(), dtype=DType.UNSPECIFIED),), {}, ())
    found = logical_types.decode(names, plain, "f").args[0]
    assert found == Spec(shape=(), dtype=DType.UNSPECIFIED, logical="posit8 of mine")


def test_a_record_about_a_leaf_that_does_not_exist_is_damage():
    names = LogicalTypes(outputs={3: "key<fry>"})
    plain = Signature.of_call((), {}, (PLAIN,))
    with pytest.raises(InvalidBundleError, match="function 'f', output leaf 3: expected a tensor"):
        logical_types.decode(names, plain, "function 'f'")


def test_a_record_that_does_not_fit_its_object_is_damage():
    record = ObjectTypes()
    record.objects["f"].types.add(inputs={0: "key<fry>"})
    data = Data(content=record.SerializeToString(), mime_type=layout.MIME_OBJECT_TYPES)
    proto = manifest.to_proto({"f": shlo(PLAIN)}, {layout.KEY_LOGICAL_TYPES: data})
    with pytest.raises(
        InvalidBundleError, match="object 'f': expected logical types for an opaque"
    ):
        read(proto)


@pytest.mark.parametrize("where", ["function", "bundle"])
def test_a_record_that_does_not_parse_is_damage(where):
    proto = manifest.to_proto({"f": shlo(KEY) if where == "function" else opaque(KEY)})
    records = proto.supplemental_info
    if where == "function":
        records = proto.objects["f"].function.body.stable_hlo_body.supplemental_info
    records[layout.KEY_LOGICAL_TYPES].inlined_bytes = b"\xff"
    with pytest.raises(
        InvalidBundleError, match=r"a record of type (Logical|Object)Types; found 1 byte"
    ):
        read(proto)


def test_unknown_fields_of_the_records_survive():
    proto = manifest.to_proto({"f": shlo(KEY), "g": opaque(KEY)})
    body = proto.objects["f"].function.body.stable_hlo_body
    for records in (proto.supplemental_info, body.supplemental_info):
        records[layout.KEY_LOGICAL_TYPES].inlined_bytes += b"\xf8\x7c\x05"
    contents = read(proto)
    again = manifest.to_proto(contents.objects, contents.supplementals, origin=contents.origin)
    assert again == proto
