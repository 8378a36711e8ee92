"""Manifests of before 2025-09-05, made here with the schemas of their time."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout, legacy, manifest
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.function import Visibility
from orbax_model_lite.core.reading import read
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"
MODERN = sorted(p.parent for p in CORPUS.glob("*/model/orbax_model_version.txt"))

# Field = number, type, with * for repeated. What has kept its form is `bytes` here.
OF_2025_08 = {
    "Manifest": {
        "objects": (1, "*ObjectsEntry"),
        "supplemental_info": (2, "*SupplementalEntry"),
        "device_assignment": (4, "bytes"),
        "frequent_paths": (5, "*string"),
    },
    "ObjectsEntry": {"key": (1, "string"), "value": (2, "TopLevelObject")},
    "SupplementalEntry": {"key": (1, "string"), "value": (2, "bytes")},
    "TopLevelObject": {
        "function": (1, "Function"),
        "value": (2, "bytes"),
        "poly_fn": (30, "PolymorphicFunction"),
    },
    "PolymorphicFunction": {"concrete_functions": (1, "*Function")},
    "Function": {
        "signature": (1, "bytes"),
        "body": (2, "FunctionBody"),
        "visibility": (3, "int32"),
        "gradient_function_name": (4, "string"),
        "data_names": (5, "*string"),
    },
    "FunctionBody": {"stable_hlo_body": (1, "ShloBody"), "other": (2, "bytes")},
    "ShloBody": {
        "stable_hlo": (1, "bytes"),
        "calling_convention_version": (2, "uint32"),
        "lowering_platforms": (3, "*string"),
        "module_kept_var_idx": (4, "*uint32"),
        "supplemental_info": (5, "*SupplementalEntry"),
    },
}
OF_2025_01 = OF_2025_08 | {
    "Manifest": OF_2025_08["Manifest"]
    | {"supplemental_info": (2, "GlobalSupplemental"), "device_mesh": (3, "bytes")},
    "GlobalSupplemental": {"single": (1, "bytes"), "multiple": (2, "GlobalSupplementalMap")},
    "GlobalSupplementalMap": {"map": (1, "*SupplementalEntry")},
    "ShloBody": OF_2025_08["ShloBody"] | {"supplemental_info": (5, "bytes")},
}


def schema(package: str, messages: dict[str, dict[str, tuple[int, str]]]) -> dict[str, Any]:
    """Returns the message classes of a description like those above."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        added = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = added.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if kind[0] == "*" else field.LABEL_OPTIONAL
            one = kind.removeprefix("*")
            if one in messages:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{one}"
            else:
                field.type = getattr(field, f"TYPE_{one.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


AUGUST = schema("august", OF_2025_08)
JANUARY = schema("january", OF_2025_01)


def to_august(proto: manifest_pb2.Manifest) -> Any:
    """Returns a manifest of today as the writers of August 2025 would have written it."""
    old = AUGUST["Manifest"](frequent_paths=proto.frequent_paths)
    for name, entry in proto.objects.items():
        target = old.objects.add(key=name).value
        match entry.WhichOneof("case"):
            case "function":
                fill_function(entry.function, target.function)
            case "value":
                target.value = entry.value.SerializeToString()
            case "poly_fn":
                target.poly_fn.SetInParent()
                for function in entry.poly_fn.concrete_functions:
                    fill_function(function, target.poly_fn.concrete_functions.add())
    for key, data in proto.supplemental_info.items():
        old.supplemental_info.add(key=key, value=data.SerializeToString())
    if proto.HasField("device_assignment_by_coords"):
        old.device_assignment = proto.device_assignment_by_coords.SerializeToString()
    return old


def fill_function(function: manifest_pb2.Function, old: Any) -> None:
    old.signature = function.signature.SerializeToString()
    old.visibility = function.visibility
    old.gradient_function_name = function.gradient_function_name
    old.data_names.extend(function.data_names)
    if function.body.HasField("other"):
        old.body.other = function.body.other.SerializeToString()
        return
    body, target = function.body.stable_hlo_body, old.body.stable_hlo_body
    target.stable_hlo = body.stable_hlo.SerializeToString()
    target.calling_convention_version = body.calling_convention_version
    target.lowering_platforms.extend(body.lowering_platforms)
    target.module_kept_var_idx.extend(body.module_kept_var_idx)
    for key, data in body.supplemental_info.items():
        target.supplemental_info.add(key=key, value=data.SerializeToString())


def bundle_with(tmp_path: pathlib.Path, source: str, raw: bytes, *markers: str) -> pathlib.Path:
    """Returns a copy of a bundle of the corpus with another manifest and other markers."""
    root = tmp_path / "m.obm"
    shutil.copytree(CORPUS / source / "model", root)
    (root / layout.MANIFEST_FILE).write_bytes(raw)
    if layout.VERSION_FILE not in markers:
        (root / layout.VERSION_FILE).unlink()
    if layout.LEGACY_VERSION_FILE in markers:
        (root / layout.LEGACY_VERSION_FILE).write_text("0.0.1")
    return root


def todays(source: str) -> manifest_pb2.Manifest:
    return manifest_pb2.Manifest.FromString(
        (CORPUS / source / "model" / "manifest.pb").read_bytes()
    )


def facts(bundle: Bundle) -> tuple:
    return bundle.objects, bundle.supplementals, bundle.device_assignment, bundle.frequent_paths


@pytest.mark.parametrize("root", MODERN, ids=lambda root: root.parent.name)
def test_a_bundle_in_the_layout_of_may_2025_says_what_it_says_today(root, tmp_path):
    source = root.parent.name
    raw = to_august(todays(source)).SerializeToString()
    old = read(bundle_with(tmp_path, source, raw, layout.LEGACY_VERSION_FILE))
    assert old.layout == legacy.MAPPED
    assert facts(old) == facts(read(root))


def test_the_first_days_with_todays_marker_are_recognised(tmp_path):
    for source in ("visibility_data_names", "device_assignment_tpu", "poly_fn__feb26"):
        raw = to_august(todays(source)).SerializeToString()
        old = read(bundle_with(tmp_path / source, source, raw, layout.VERSION_FILE))
        assert old.layout == legacy.FIRST_MARKED
        assert facts(old) == facts(read(CORPUS / source / "model"))


def test_data_names_and_gradients_move_to_their_new_numbers(tmp_path):
    old = AUGUST["Manifest"]()
    function = old.objects.add(key="f").value.function
    fill_function(todays("simple_f32").objects["f"].function, function)
    function.gradient_function_name = "f_vjp"
    function.data_names.extend(["params.w", "params.b"])
    raw = old.SerializeToString()
    found = read(bundle_with(tmp_path, "simple_f32", raw, layout.VERSION_FILE)).objects["f"]
    assert found.gradient_function_name == "f_vjp"
    assert found.data_names == ("params.w", "params.b")
    assert found.visibility is Visibility.PUBLIC


def january_manifest(*, visibility: int = 1, data: manifest_pb2.UnstructuredData | None = None):
    """Returns a manifest with one function and its single supplemental."""
    modern = todays("simple_f32").objects["f"].function
    old = JANUARY["Manifest"]()
    function = old.objects.add(key="f").value.function
    function.signature = modern.signature.SerializeToString()
    function.visibility = visibility
    body = function.body.stable_hlo_body
    module = modern.body.stable_hlo_body.stable_hlo
    module.mime_type = "mlir_stablehlo"
    body.stable_hlo = module.SerializeToString()
    body.calling_convention_version = 10
    body.lowering_platforms.append("cpu")
    body.module_kept_var_idx.extend([0, 1, 2])
    if data is None:
        data = manifest_pb2.UnstructuredData(
            file_system_location={"string_path": "f_jax_specific_info_supplemental.pb"},
            mime_type="orbax_model_jax_supplemental",
            version="0.0.1",
        )
    body.supplemental_info = data.SerializeToString()
    return old


def read_january(tmp_path: pathlib.Path, old: Any) -> Bundle:
    return read(bundle_with(tmp_path, "simple_f32", old.SerializeToString()))


def test_a_single_supplemental_of_a_function_is_that_of_jax(tmp_path):
    bundle = read_january(tmp_path, january_manifest())
    assert bundle.layout == legacy.OLDEST
    function, today = bundle.objects["f"], read(CORPUS / "simple_f32" / "model").objects["f"]
    assert (function.signature, function.jax) == (today.signature, today.jax)
    assert function.supplementals == {}


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"inlined_bytes": b"x", "mime_type": "xla_compile_options"}, layout.KEY_COMPILE_OPTIONS),
        ({"inlined_bytes": b"x", "mime_type": "application/x-mine"}, "supplemental_info"),
        ({"inlined_string": "x", "version": "1", "mime_type": "text/plain"}, "supplemental_info"),
    ],
)
def test_another_single_supplemental_is_named_by_its_type(tmp_path, data, key):
    old = january_manifest(data=manifest_pb2.UnstructuredData(**data))
    function = read_january(tmp_path, old).objects["f"]
    assert {key: s.data.inline_bytes for key, s in function.supplementals.items()} == {key: b"x"}


def test_a_single_supplemental_without_a_type_is_that_of_jax(tmp_path):
    location = {"string_path": "f_jax_specific_info_supplemental.pb"}
    data = manifest_pb2.UnstructuredData(file_system_location=location)
    function = read_january(tmp_path, january_manifest(data=data)).objects["f"]
    assert function.jax is not None
    assert function.jax.name == "f"


def test_a_single_text_without_a_type_could_be_a_map_entry_and_is_refused(tmp_path):
    old = january_manifest(data=manifest_pb2.UnstructuredData(inlined_string="x"))
    with pytest.raises(UnsupportedError, match="a function's supplemental in the shape of before"):
        read_january(tmp_path, old)


@pytest.mark.parametrize(
    ("mime_type", "key"),
    [
        ("oex_orchestration_multi_pipeline", layout.KEY_ORCHESTRATION),
        ("simple_orchestration", layout.KEY_ORCHESTRATION),
        ("tensorflow_saved_model", layout.KEY_SAVED_MODEL),
        ("text/plain", "supplemental_info"),
        (None, "supplemental_info"),
    ],
)
def test_a_single_supplemental_of_the_bundle_is_named_by_its_type(tmp_path, mime_type, key):
    data = manifest_pb2.UnstructuredData(inlined_bytes=b"x", mime_type=mime_type)
    old = january_manifest()
    old.supplemental_info.single = data.SerializeToString()
    expected = {key: Data(content=b"x", mime_type=mime_type)}
    assert read_january(tmp_path, old).supplementals == expected


@pytest.mark.parametrize("keys", [(), ("a",), ("b", "", "a")])
def test_several_supplementals_of_the_bundle_keep_their_names(tmp_path, keys):
    old = january_manifest()
    old.supplemental_info.multiple.SetInParent()
    for key in keys:
        data = manifest_pb2.UnstructuredData(inlined_string=key or "empty")
        old.supplemental_info.multiple.map.add(key=key or "k", value=data.SerializeToString())
    found = read_january(tmp_path, old).supplementals
    assert found == {key or "k": Data(content=key or "empty") for key in sorted(keys)}


def test_an_empty_message_of_supplementals_is_none(tmp_path):
    old = january_manifest()
    old.supplemental_info.SetInParent()
    assert read_january(tmp_path, old).supplementals == {}


def test_the_device_mesh_that_has_no_field_any_more_is_kept_as_a_supplemental(tmp_path):
    mesh = b"\n\x05\n\x01x\x10\x02"
    old = january_manifest()
    old.device_mesh = mesh
    bundle = read_january(tmp_path, old)
    assert bundle.device_assignment is None
    data = bundle.supplementals[layout.KEY_DEVICE_MESH]
    assert (data.content, data.mime_type) == (mesh, layout.MIME_DEVICE_MESH)
    proto = manifest.to_proto(bundle.objects, bundle.supplementals, origin=bundle.origin)
    assert proto.supplemental_info[layout.KEY_DEVICE_MESH].inlined_bytes == mesh


def test_devices_and_frequent_paths_move_to_their_new_numbers(tmp_path):
    old = january_manifest()
    devices = manifest_pb2.DeviceAssignmentByCoords(devices=[{}, {"id": 1}])
    old.device_assignment = devices.SerializeToString()
    old.frequent_paths.extend(["a", "b/"])
    bundle = read_january(tmp_path, old)
    assert bundle.device_assignment == (Device(id=0), Device(id=1))
    assert bundle.frequent_paths == ("a", "b/")


def test_before_authors_could_choose_every_function_is_public(tmp_path):
    # The writers of that time wrote either public or nothing.
    old = january_manifest(visibility=0)
    assert read_january(tmp_path, old).objects["f"].visibility is Visibility.PUBLIC


def test_unknown_fields_of_an_old_manifest_survive_its_rewriting(tmp_path):
    raw = january_manifest().SerializeToString() + b"\xf8\x7c\x05"
    bundle = read(bundle_with(tmp_path, "simple_f32", raw))
    proto = manifest.to_proto(bundle.objects, bundle.supplementals, origin=bundle.origin)
    assert manifest.to_bytes(proto).endswith(b"\xf8\x7c\x05")


def test_an_upgraded_bundle_is_read_as_todays(tmp_path):
    bundle = read_january(tmp_path, january_manifest())
    proto = manifest.to_proto(bundle.objects, bundle.supplementals, origin=bundle.origin)
    root = bundle_with(
        tmp_path / "again", "simple_f32", manifest.to_bytes(proto), layout.VERSION_FILE
    )
    again = read(root)
    assert again.layout == legacy.CURRENT
    assert again.objects == bundle.objects


@pytest.mark.parametrize("root", MODERN, ids=lambda root: root.parent.name)
def test_a_bundle_of_today_without_its_marker_is_an_unfinished_save(root, tmp_path):
    source = root.parent.name
    copy = bundle_with(tmp_path, source, (root / "manifest.pb").read_bytes())
    with pytest.raises(InvalidBundleError, match="so the save did not finish; save it again"):
        read(copy)


def mixed() -> bytes:
    old = AUGUST["Manifest"]()
    fill_function(
        todays("simple_f32").objects["f"].function, old.objects.add(key="old").value.function
    )
    new = manifest_pb2.Manifest()
    new.objects["new"].CopyFrom(todays("simple_f32").objects["f"])
    return old.SerializeToString() + new.SerializeToString()


@pytest.mark.parametrize("marker", [layout.VERSION_FILE, layout.LEGACY_VERSION_FILE])
def test_a_manifest_of_two_layouts_is_refused_by_name(marker, tmp_path):
    root = bundle_with(tmp_path, "simple_f32", mixed(), marker)
    message = (
        r"the visibility of function 'old' is in field 3\) beside those of since then "
        r"\(the visibility of function 'new' is in field 4\)"
    )
    with pytest.raises(UnsupportedError, match=message):
        read(root)


def test_new_numbers_under_the_old_marker_are_refused(tmp_path):
    raw = todays("simple_f32").SerializeToString()
    root = bundle_with(tmp_path, "simple_f32", raw, layout.LEGACY_VERSION_FILE)
    with pytest.raises(UnsupportedError, match=r"'manifest_version\.txt' is there\) beside"):
        read(root)


def test_another_version_in_the_old_marker_is_refused(tmp_path):
    raw = to_august(todays("simple_f32")).SerializeToString()
    root = bundle_with(tmp_path, "simple_f32", raw, layout.LEGACY_VERSION_FILE)
    (root / layout.LEGACY_VERSION_FILE).write_text("0.1.0\n")
    with pytest.raises(UnsupportedError, match=r"manifest version '0\.1\.0' is newer"):
        read(root)


def test_only_values_with_old_mime_types_are_of_an_old_layout(tmp_path):
    proto = manifest_pb2.Manifest()
    data = proto.objects["w"].value.external.data
    data.file_system_location.string_path = "w/"
    data.mime_type = "orbax_checkpoint"
    raw = proto.SerializeToString()
    assert read(bundle_with(tmp_path, "simple_f32", raw)).layout == legacy.OLDEST


def test_a_path_in_field_4_is_not_taken_for_devices(tmp_path):
    for path in ("weights/", "\nweights/", "\n\x02\x08\x01x"):
        raw = manifest_pb2.Manifest(frequent_paths=[path]).SerializeToString()
        root = bundle_with(tmp_path / str(len(path)), "simple_f32", raw, layout.VERSION_FILE)
        assert read(root).frequent_paths == (path,)


@pytest.mark.parametrize("length", range(1, 60, 7))
def test_a_cut_off_manifest_is_damage_in_every_layout(length, tmp_path):
    for name, raw in (
        ("old", january_manifest().SerializeToString()),
        ("new", todays("simple_f32").SerializeToString()),
    ):
        for marker in (layout.VERSION_FILE, layout.LEGACY_VERSION_FILE):
            root = bundle_with(tmp_path / name / marker, "simple_f32", raw[:length], marker)
            with pytest.raises(InvalidBundleError):
                read(root)
