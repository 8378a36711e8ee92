"""StableHLO forms of opaque functions: inside the function in memory, objects beside it on disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbax_model_lite import core
from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite._proto.bundle_info_pb2 import Lowerings
from orbax_model_lite.core import layout, manifest
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    JaxInfo,
    Lowering,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

OPEN = Spec(shape=(None, 2), dtype=DType.FLOAT32)
SYMBOLIC = Spec(shape=("b", 2), dtype=DType.FLOAT32)


def shlo(spec: Spec = SYMBOLIC, module: bytes = b"ML") -> ShloFunction:
    return ShloFunction(
        signature=Signature.of_call((spec,), {}, spec),
        module=Data(content=module, mime_type=layout.MIME_STABLEHLO),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=(0,),
        jax=JaxInfo(uses_shape_polymorphism=True),
        visibility=Visibility.PRIVATE,
    )


def opaque(lowering: Lowering | None) -> OpaqueFunction:
    signature = Signature.of_call((OPEN,), {}, OPEN)
    body = Data(content=b"handle", mime_type=layout.MIME_TF_FUNCTION)
    return OpaqueFunction(signature=signature, body=body, lowering=lowering)


def read(proto: manifest_pb2.Manifest) -> manifest.Contents:
    return manifest.from_proto(proto, lambda data, where: data.inline_bytes or b"")


def sized(*sizes: int) -> PolymorphicFunction:
    specs = [Spec(shape=(size, 2), dtype=DType.FLOAT32) for size in sizes]
    return PolymorphicFunction(functions=tuple(shlo(spec) for spec in specs))


@pytest.mark.parametrize(
    "lowering",
    [
        Lowering(function=shlo()),
        Lowering(function=sized(1, 8), reason="its rows depend on each other"),
        Lowering(reason="DecodePng takes strings", operation="DecodePng"),
        None,
    ],
    ids=["whole", "some sizes", "none", "not tried"],
)
def test_a_function_comes_back_with_its_form(lowering):
    found = {"pre": opaque(lowering), "other": opaque(None)}
    contents = read(manifest.to_proto(found))
    assert contents.objects == found
    assert contents.supplementals == {}


def test_the_form_is_an_object_of_its_own_for_readers_that_do_not_know_it():
    proto = manifest.to_proto({"pre": opaque(Lowering(function=shlo()))})
    assert set(proto.objects) == {"pre", "pre_stablehlo"}
    assert proto.objects["pre"].function.body.WhichOneof("case") == "other"
    assert proto.objects["pre_stablehlo"].function.body.WhichOneof("case") == "stable_hlo_body"


def test_a_function_that_nobody_tried_to_lower_leaves_no_record():
    proto = manifest.to_proto({"pre": opaque(None)})
    assert not proto.supplemental_info


def test_a_form_takes_a_name_that_is_free():
    found = {"pre": opaque(Lowering(function=shlo())), "pre_stablehlo": shlo(module=b"another")}
    proto = manifest.to_proto(found)
    assert set(proto.objects) == {"pre", "pre_stablehlo", "pre_stablehlo_1"}
    assert read(proto).objects == found


def test_a_form_keeps_the_name_it_was_read_with():
    lowering = Lowering(function=shlo(), object_name="chosen by another writer")
    proto = manifest.to_proto({"pre": opaque(lowering)})
    contents = read(proto)
    again = manifest.to_proto(contents.objects, contents.supplementals, origin=contents.origin)
    assert set(again.objects) == {"pre", "chosen by another writer"}
    assert again == proto


def test_unknown_fields_of_the_record_survive():
    proto = manifest.to_proto({"pre": opaque(Lowering(reason="of strings"))})
    proto.supplemental_info[layout.KEY_LOWERINGS].inlined_bytes += b"\xf8\x7c\x05"
    contents = read(proto)
    again = manifest.to_proto(contents.objects, contents.supplementals, origin=contents.origin)
    assert again == proto


def test_a_record_about_a_function_that_is_gone_is_left_out():
    proto = manifest.to_proto({"pre": opaque(Lowering(function=shlo()))})
    del proto.objects["pre"]
    assert read(proto).objects == {"pre_stablehlo": shlo()}


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda objects: objects.pop("pre_stablehlo"), "nothing of that name"),
        (
            lambda objects: objects["pre_stablehlo"].CopyFrom(
                manifest.to_proto({"f": opaque(None)}).objects["f"]
            ),
            "a OpaqueFunction",
        ),
    ],
    ids=["missing", "not StableHLO"],
)
def test_a_form_that_is_not_there_is_damage(damage, found):
    proto = manifest.to_proto({"pre": opaque(Lowering(function=shlo()))})
    damage(proto.objects)
    with pytest.raises(InvalidBundleError, match=f"form of function 'pre'; found {found}"):
        read(proto)


def test_a_record_that_does_not_parse_is_damage():
    proto = manifest.to_proto({"pre": opaque(Lowering(reason="of strings"))})
    proto.supplemental_info[layout.KEY_LOWERINGS].inlined_bytes = b"\xff"
    with pytest.raises(InvalidBundleError, match="a record of type Lowerings; found 1 bytes"):
        read(proto)


def test_a_record_of_another_type_under_our_name_is_left_alone():
    data = Data(content=b"\xff", mime_type="text/plain")
    proto = manifest.to_proto({}, {layout.KEY_LOWERINGS: data})
    assert read(proto).supplementals == {layout.KEY_LOWERINGS: data}


def test_a_variant_of_a_polymorphic_function_has_no_form_of_its_own():
    variants = PolymorphicFunction(functions=(opaque(Lowering(reason="of strings")),))
    with pytest.raises(InvalidModelError, match="function 'p', variant 0: expected no StableHLO"):
        manifest.to_proto({"p": variants})


def test_the_mime_type_names_its_message():
    expected = f"application/protobuf; type={Lowerings.DESCRIPTOR.full_name}"
    assert expected == layout.MIME_LOWERINGS


def test_a_form_is_saved_read_and_saved_again_without_loss(tmp_path):
    objects = {"pre": opaque(Lowering(function=sized(1, 8), reason="its rows belong together"))}
    core.save(objects, tmp_path / "a")
    bundle = core.read(tmp_path / "a")
    lowering = bundle.objects["pre"].lowering
    assert lowering.reason == "its rows belong together"
    assert [f.signature for f in lowering.function.functions] == [
        f.signature for f in sized(1, 8).functions
    ]
    for path in sorted((tmp_path / "a").glob("*.shlo")):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    for path in (tmp_path / "a").glob("*_supplemental.pb"):
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    core.save(bundle.objects, tmp_path / "b", core.SaveOptions.keeping(bundle))
    assert (tmp_path / "b" / "manifest.pb").read_bytes() == (
        tmp_path / "a" / "manifest.pb"
    ).read_bytes()


def test_the_digests_cover_the_form(tmp_path):
    core.save({"pre": opaque(Lowering(function=shlo()))}, tmp_path)
    (tmp_path / "pre_stablehlo.shlo").write_bytes(b"MX")
    report = core.check(tmp_path)
    assert [f.where for f in report.findings if f.severity == "error"] == [
        "file 'pre_stablehlo.shlo'"
    ]
    bundle = core.read(tmp_path)
    with pytest.raises(InvalidBundleError, match="SHA-256"):
        bundle.read_bytes(bundle.objects["pre"].lowering.function.module)


def test_a_file_of_the_form_that_is_missing_is_found(tmp_path):
    core.save({"pre": opaque(Lowering(function=shlo()))}, tmp_path)
    (tmp_path / "pre_stablehlo.shlo").unlink()
    found = [f.where for f in core.check(tmp_path).findings if f.severity == "error"]
    assert "function 'pre', StableHLO form, module" in " ".join(found)


def test_problems_of_the_form_are_the_authors(tmp_path):
    broken = replace(shlo(), kept_inputs=(7,))
    with pytest.raises(InvalidModelError, match="function 'pre', StableHLO form: expected kept"):
        core.save({"pre": opaque(Lowering(function=broken))}, tmp_path)
