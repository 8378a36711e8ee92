"""Objects become a manifest and the same objects again, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout, manifest
from orbax_model_lite.core.data import Data, FileRange, FunctionSupplemental
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    JaxInfo,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.core.tree import StringPairs
from orbax_model_lite.core.value import ExternalValue, LoaderType, NamedTupleValue, TupleValue
from orbax_model_lite.errors import InvalidModelError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = texts.filter(lambda text: text != layout.KEY_JAX_INFO)
words = st.text("abcxyz<>_ ", min_size=1, max_size=8).map(str.strip).filter(bool)
optional_bytes = st.none() | st.binary(max_size=6)

plain_dims = st.none() | st.integers(0, 2**64 - 1)
symbolic_dims = plain_dims | st.sampled_from(["b", "2*t + 1", "max(b, 4)", "floordiv(n, 2)"])


def shapes(dims: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | st.lists(dims, max_size=4).map(tuple)


def specs(dims: st.SearchStrategy, dtypes: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(
        Spec,
        shape=shapes(dims),
        dtype=dtypes,
        logical=st.none() | words,
        sharding=optional_bytes,
        layout=optional_bytes,
    )


def trees(leaves: st.SearchStrategy) -> st.SearchStrategy:
    def containers(children: st.SearchStrategy) -> st.SearchStrategy:
        some = st.lists(children, max_size=3)
        pairs = st.lists(st.tuples(texts, children), max_size=3)
        return st.one_of(
            some,
            some.map(tuple),
            st.dictionaries(texts, children, max_size=3),
            pairs.map(lambda items: StringPairs(tuple(items))),
        )

    return st.recursive(st.none() | st.just(Token()) | leaves, containers, max_leaves=8)


plain_trees = trees(specs(plain_dims, st.sampled_from([d for d in DType if d is not DType.FLOAT0])))
full_trees = trees(specs(symbolic_dims, st.sampled_from(list(DType))))


def signatures(tree: st.SearchStrategy) -> st.SearchStrategy:
    call = st.tuples(
        st.lists(tree, max_size=2).map(tuple), st.dictionaries(texts, tree, max_size=2)
    )
    return st.builds(Signature, inputs=st.one_of(call, tree), outputs=tree)


def in_file(stem: str) -> st.SearchStrategy:
    return st.builds(
        FileRange,
        path=words.map(lambda word: f"{stem}{word}.bin"),
        offset=st.none() | st.integers(-(2**63), 2**63 - 1),
        size=st.none() | st.integers(0, 2**64 - 1),
    )


def data(content: st.SearchStrategy) -> st.SearchStrategy:
    types = st.none() | st.sampled_from(["", "text/plain", "mlir_stablehlo"])
    return st.builds(Data, content=content, mime_type=types, version=st.none() | texts)


inline = data(st.none() | texts | st.binary(max_size=9))
filed = data(in_file("x/"))
payloads = inline | filed
supplementals = st.builds(FunctionSupplemental, data=inline) | st.builds(
    FunctionSupplemental, data=filed, extension=st.just("bin")
)
jax_infos = st.builds(
    JaxInfo,
    name=texts,
    device_count=st.integers(0, 2**31 - 1),
    ordered_effects=st.lists(texts, max_size=2).map(tuple),
    unordered_effects=st.lists(texts, max_size=2).map(tuple),
    disabled_checks=st.lists(
        st.sampled_from(["platform", "shape_assertions"]) | texts.map("custom_call:{}".format),
        max_size=3,
    ).map(tuple),
    uses_shape_polymorphism=st.booleans(),
)
common = {
    "data_names": st.lists(texts, max_size=3).map(tuple),
    "visibility": st.sampled_from(list(Visibility)),
    "gradient_function_name": st.none() | texts,
}
shlo_functions = st.builds(
    ShloFunction,
    signature=signatures(full_trees),
    module=payloads,
    calling_convention_version=st.integers(0, 2**32 - 1),
    platforms=st.lists(texts, max_size=3).map(tuple),
    kept_inputs=st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple),
    jax=jax_infos,
    supplementals=st.dictionaries(names, supplementals, max_size=2),
    **common,
)
# What an opaque function, a value or a function without JAX cannot record is refused, see below.
opaque_functions = st.builds(
    OpaqueFunction, signature=signatures(plain_trees), body=inline, **common
) | st.builds(
    OpaqueFunction,
    signature=signatures(plain_trees),
    body=filed,
    extension=st.just("bin"),
    **common,
)
functions_without_jax = st.builds(
    ShloFunction,
    signature=signatures(plain_trees),
    module=payloads,
    calling_convention_version=st.just(10),
    platforms=st.just(("cpu",)),
    kept_inputs=st.just(()),
    **common,
)
concrete = shlo_functions | opaque_functions | functions_without_jax
objects = st.one_of(
    concrete,
    st.builds(PolymorphicFunction, functions=st.lists(concrete, max_size=3).map(tuple)),
    st.builds(
        ExternalValue,
        data=payloads,
        type=plain_trees,
        loader_type=st.sampled_from(list(LoaderType)),
    ),
    st.builds(TupleValue, elements=st.lists(texts, max_size=3).map(tuple)),
    st.builds(NamedTupleValue, elements=st.lists(st.tuples(texts, texts), max_size=3).map(tuple)),
)
devices = st.builds(
    Device,
    id=st.integers(-(2**63), 2**63 - 1),
    coords=st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(tuple),
    core_on_chip=st.none() | st.integers(0, 7),
)


def read_payload(payload: Data, where: str) -> bytes:
    content = payload.inline_bytes
    assert content is not None, f"{where}: records of the manifest itself stay inside it"
    return content


def written_and_read(found: dict, **rest) -> manifest.Contents:
    content = manifest.to_bytes(manifest.to_proto(found, **rest))
    return manifest.from_proto(manifest_pb2.Manifest.FromString(content), read_payload)


@settings(max_examples=300)
@given(st.dictionaries(texts, objects, max_size=3))
def test_objects_come_back_as_they_were(found):
    assert written_and_read(found).objects == found


@settings(max_examples=100)
@given(st.dictionaries(texts, objects, max_size=3))
def test_what_was_read_is_written_as_the_same_bytes(found):
    first = manifest.to_proto(found)
    contents = manifest.from_proto(first, read_payload)
    second = manifest.to_proto(contents.objects, contents.supplementals, origin=contents.origin)
    assert manifest.to_bytes(second) == manifest.to_bytes(first)


@settings(max_examples=100)
@given(st.dictionaries(texts, objects, min_size=2, max_size=3))
def test_the_order_of_objects_does_not_change_the_bytes(found):
    backwards = dict(reversed(found.items()))
    assert manifest.to_bytes(manifest.to_proto(backwards)) == manifest.to_bytes(
        manifest.to_proto(found)
    )


@given(
    supplementals=st.dictionaries(texts, payloads, max_size=3),
    device_assignment=st.none() | st.lists(devices, max_size=3).map(tuple),
    frequent_paths=st.lists(texts, max_size=3).map(tuple),
)
def test_everything_beside_the_objects_comes_back(**rest):
    contents = written_and_read({}, **rest)
    assert contents.supplementals == rest["supplementals"]
    assert contents.device_assignment == rest["device_assignment"]
    assert contents.frequent_paths == rest["frequent_paths"]


@given(st.lists(words, min_size=1, max_size=4), st.data(), st.none() | st.integers(-9, 9))
def test_ranges_of_frequent_paths_refer_to_them_by_index(paths, draw, offset):
    index = draw.draw(st.integers(0, len(paths) - 1))
    place = FileRange(path=paths[index], offset=offset, frequent_index=index)
    value = ExternalValue(data=Data(content=place))
    proto = manifest.to_proto({"v": value}, frequent_paths=paths)
    assert proto.objects["v"].value.external.data.file_system_location.frequent_path_idx == index
    assert manifest.from_proto(proto, read_payload).objects == {"v": value}


def test_a_range_whose_frequent_path_is_gone_is_written_by_its_path():
    place = FileRange(path="weights/", frequent_index=4)
    proto = manifest.to_proto({"v": ExternalValue(data=Data(content=place))}, frequent_paths=["x"])
    location = proto.objects["v"].value.external.data.file_system_location
    assert location.string_path == "weights/"


def scalar(**changes) -> Spec:
    return Spec(**({"shape": (), "dtype": DType.FLOAT32} | changes))


@pytest.mark.parametrize(
    "leaf", [scalar(shape=("b",)), scalar(dtype=DType.FLOAT0)], ids=["symbolic", "float0"]
)
def test_an_opaque_function_refuses_what_its_record_cannot_hold(leaf):
    signature = Signature.of_call((), {"x": leaf}, ())
    function = OpaqueFunction(signature=signature, body=Data(content=b""))
    with pytest.raises(InvalidModelError, match=r"function 'pre', input '1\.x': expected sizes"):
        manifest.to_proto({"pre": function})


@pytest.mark.parametrize("key", [layout.KEY_JAX_INFO, layout.KEY_LOGICAL_TYPES])
def test_a_supplemental_under_a_name_of_the_format_is_refused(key):
    function = ShloFunction(
        signature=Signature.of_call((scalar(logical="key<fry>"),), {}, scalar()),
        module=Data(content=b""),
        calling_convention_version=10,
        platforms=(),
        kept_inputs=(),
        jax=JaxInfo(),
        supplementals={key: FunctionSupplemental(data=Data(content=b""))},
    )
    with pytest.raises(InvalidModelError, match=f"supplemental '{key}': expected a name that"):
        manifest.to_proto({"f": function})


def test_something_that_is_no_object_is_refused():
    with pytest.raises(InvalidModelError, match="object 'f': expected a function or a value"):
        manifest.to_proto({"f": lambda x: x})


def test_payloads_are_placed_one_by_one_with_the_names_that_the_format_gives_them():
    function = ShloFunction(
        signature=Signature.of_call((scalar(shape=("b",)),), {}, scalar()),
        module=Data(content=b"ML"),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(0,),
        jax=JaxInfo(),
        supplementals={"notes": FunctionSupplemental(data=Data(content="hi"), extension="")},
    )
    asked: dict[str, bytes | None] = {}

    def place(payload):
        asked[payload.file_name] = payload.data.inline_bytes
        return payload.data.moved_to(payload.file_name)

    poly = PolymorphicFunction(functions=(function,))
    body = manifest.to_proto({"p": poly, "f": function}, place=place).objects["f"].function.body
    assert set(asked) == {
        "f.shlo",
        "f_jax_specific_info_supplemental.pb",
        "f_notes_supplemental",
        "__p_0.shlo",
        "__p_0_jax_specific_info_supplemental.pb",
        "__p_0_notes_supplemental",
    }
    record = body.stable_hlo_body.supplemental_info["notes"]
    assert record.file_system_location.string_path == "f_notes_supplemental"


def test_a_payload_that_moves_to_a_file_has_type_and_version_as_present_strings():
    function = OpaqueFunction(
        signature=Signature(inputs=None, outputs=None), body=Data(content=b"x"), extension="pb"
    )
    proto = manifest.to_proto(
        {"f": function}, place=lambda payload: payload.data.moved_to(payload.file_name)
    )
    record = proto.objects["f"].function.body.other
    assert (record.HasField("mime_type"), record.HasField("version")) == (True, True)
    assert (record.mime_type, record.version) == ("", "")
