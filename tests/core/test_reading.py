"""Reading a bundle: what is refused, and with which words."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import integrity, layout
from orbax_model_lite.core.data import FileRange
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.limits import ReadLimits
from orbax_model_lite.core.reading import read, read_with_problems
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.value import UnknownObject
from orbax_model_lite.errors import InvalidBundleError, StorageError, UnsupportedError

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a copy of a small bundle."""
    return pathlib.Path(shutil.copytree(CORPUS / "simple_f32" / "model", tmp_path / "m.obm"))


def change_manifest(root: pathlib.Path, change) -> None:
    path = root / layout.MANIFEST_FILE
    proto = manifest_pb2.Manifest.FromString(path.read_bytes())
    change(proto)
    path.write_bytes(proto.SerializeToString())


def test_a_path_may_be_text(root):
    assert read(str(root)).path == root


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidBundleError, match=r"bundle '.*gone': expected a folder; found noth"):
        read(tmp_path / "gone")


def test_a_file_is_no_bundle(root):
    with pytest.raises(InvalidBundleError, match="expected a folder; found a file; check the path"):
        read(root / layout.MANIFEST_FILE)


def test_an_empty_folder_is_no_bundle(tmp_path):
    with pytest.raises(InvalidBundleError, match=r"no 'orbax_model_version\.txt' and no 'manifest"):
        read(tmp_path)


def test_a_bundle_without_its_marker_is_an_unfinished_save(root):
    (root / layout.VERSION_FILE).unlink()
    with pytest.raises(InvalidBundleError) as caught:
        read(root)
    assert str(caught.value) == (
        f"bundle {str(root)!r}: no 'orbax_model_version.txt', so the save did not finish; "
        "save it again"
    )


@pytest.mark.parametrize("name", [layout.INTEGRITY_FILE, layout.JOURNAL_FILE])
def test_traces_of_a_save_of_ours_tell_an_unfinished_one_from_an_old_layout(tmp_path, name):
    root = shutil.copytree(CORPUS / "legacy_basic__apr25" / "model", tmp_path / "m.obm")
    read(root)
    (pathlib.Path(root) / name).write_bytes(b"")
    with pytest.raises(InvalidBundleError, match="so the save did not finish; save it again"):
        read(root)


def test_a_damaged_marker_is_named(root):
    (root / layout.VERSION_FILE).write_text("version 0.0.1")
    with pytest.raises(InvalidBundleError, match=r"m\.obm', 'orbax_model_version\.txt': expected"):
        read(root)


def test_a_huge_marker_is_not_read(root):
    (root / layout.VERSION_FILE).write_bytes(b"\n" * 100_000)
    with pytest.raises(InvalidBundleError, match="to have at most 65536 bytes; found more"):
        read(root)


def test_a_newer_version_is_refused(root):
    text = (root / layout.VERSION_FILE).read_text().replace("0.0.1", "0.9.0")
    (root / layout.VERSION_FILE).write_text(text)
    with pytest.raises(UnsupportedError, match=r"manifest version '0\.9\.0' is newer than this"):
        read(root)


def test_the_manifest_may_have_another_name(root):
    (root / "deep").mkdir()
    (root / layout.MANIFEST_FILE).rename(root / "deep" / "m.pb")
    text = (root / layout.VERSION_FILE).read_text().replace("manifest.pb", "deep/m.pb")
    (root / layout.VERSION_FILE).write_text(text)
    assert set(read(root).objects) == {"f"}


@pytest.mark.parametrize("path", ["../manifest.pb", "/etc/passwd", "a/../../x"])
def test_a_manifest_outside_is_refused(root, path):
    text = (root / layout.VERSION_FILE).read_text().replace("manifest.pb", path)
    (root / layout.VERSION_FILE).write_text(text)
    with pytest.raises(InvalidBundleError, match=f"manifest: file '{path}' is outside the bundle"):
        read(root)


def test_a_missing_manifest_is_named(root):
    (root / layout.MANIFEST_FILE).unlink()
    with pytest.raises(InvalidBundleError, match=r"manifest: expected file 'manifest\.pb' in the"):
        read(root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\xff",
        lambda raw: b"\x00" + raw,
        lambda raw: b"not a manifest",
        lambda raw: raw.replace(b"float", b"flo\xff") + b"\x0a\x03\x0a\x01\xff",
    ],
    ids=["cut off", "too long", "zero", "text", "no UTF-8"],
)
def test_a_damaged_manifest_is_named(root, damage):
    path = root / layout.MANIFEST_FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidBundleError, match=r"m\.obm', manifest: expected .*again"):
        read(root)


def test_a_manifest_nested_beyond_all_measure_is_damage(root):
    nested = manifest_pb2.Manifest()
    node = nested.objects["f"].function.signature.input
    for _ in range(300):
        node = node.tuple.elements.add()
    (root / layout.MANIFEST_FILE).write_bytes(nested.SerializeToString())
    with pytest.raises(InvalidBundleError, match="bytes that do not parse"):
        read(root)


def test_an_empty_manifest_is_an_empty_bundle(root):
    (root / layout.MANIFEST_FILE).write_bytes(b"")
    bundle = read(root)
    assert (bundle.objects, bundle.supplementals) == ({}, {})


def test_a_manifest_beyond_the_limit_is_not_read(root):
    with pytest.raises(InvalidBundleError, match="manifest: expected at most 1000 bytes; found"):
        read(root, limits=ReadLimits(manifest_bytes=1000))


def test_too_many_objects_are_refused(root):
    def add(proto):
        for i in range(20):
            proto.objects[f"t{i}"].value.tuple.SetInParent()

    change_manifest(root, add)
    assert len(read(root, limits=ReadLimits(objects=21)).objects) == 21
    with pytest.raises(InvalidBundleError, match="at most 20 objects in a manifest; found more"):
        read(root, limits=ReadLimits(objects=20))


def test_functions_inside_a_polymorphic_one_count_as_objects(root):
    def add(proto):
        for _ in range(3):
            proto.objects["p"].poly_fn.concrete_functions.add().CopyFrom(
                proto.objects["f"].function
            )

    change_manifest(root, add)
    with pytest.raises(InvalidBundleError, match="at most 3 objects"):
        read(root, limits=ReadLimits(objects=3))


def test_too_many_type_nodes_are_refused(root):
    with pytest.raises(InvalidBundleError, match=r"function 'f', .*: expected at most 5 nodes of"):
        read(root, limits=ReadLimits(type_nodes=5))


def test_a_record_for_jax_beyond_the_limit_is_not_read(root):
    with pytest.raises(InvalidBundleError, match="'jax_specific_info': expected at most 4 bytes"):
        read(root, limits=ReadLimits(payload_bytes=4))


def test_the_missing_record_of_a_function_is_named(root):
    (root / "f_jax_specific_info_supplemental.pb").unlink()
    message = (
        r"m\.obm', function 'f', supplemental 'jax_specific_info': expected file "
        r"'f_jax_specific_info_supplemental\.pb' in the bundle; found nothing"
    )
    with pytest.raises(InvalidBundleError, match=message):
        read(root)


@pytest.mark.parametrize("index", [7, -1])
def test_a_frequent_path_beyond_the_table_is_damage(root, index):
    def point(proto):
        body = proto.objects["f"].function.body.stable_hlo_body
        body.stable_hlo.file_system_location.frequent_path_idx = index
        proto.frequent_paths.append("x")

    change_manifest(root, point)
    message = f"function 'f', module: expected an index into the 1 frequent paths .* found {index};"
    with pytest.raises(InvalidBundleError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.Clear(), "object 'f': expected a function or a value; found nothing set"),
        (lambda e: e.value.SetInParent(), "value 'f': expected a value; found nothing set"),
        (lambda e: e.function.body.Clear(), "function 'f': expected a body; found none"),
        (lambda e: e.function.signature.Clear(), "function 'f', input: expected a leaf or a cont"),
    ],
    ids=["object", "value", "body", "signature"],
)
def test_an_object_with_nothing_set_is_damage(root, change, message):
    change_manifest(root, lambda proto: change(proto.objects["f"]))
    with pytest.raises(InvalidBundleError, match=message):
        read(root)


def test_a_value_without_data_is_described(root):
    change_manifest(root, lambda proto: proto.objects["w"].value.external.SetInParent())
    assert read(root).objects["w"].data.content is None


@pytest.mark.parametrize(
    "dtype", [d for d in DType if d.has_wire or d is DType.UNSPECIFIED], ids=lambda d: d.value
)
def test_every_dtype_that_a_manifest_can_name_is_described(root, dtype):
    def set_dtype(proto):
        signature = proto.objects["f"].function.signature
        signature.output.leaf.tensor_type.MergeFromString(b"\x10" + bytes([dtype.wire]))

    change_manifest(root, set_dtype)
    assert read(root).objects["f"].signature.outputs == Spec(shape=(2, 3), dtype=dtype)


def test_a_path_out_of_the_bundle_is_described_and_not_followed(root):
    def point(proto):
        data = proto.objects["w"].value.external.data
        data.file_system_location.string_path = "../../x"

    change_manifest(root, point)
    bundle = read(root)
    data = bundle.objects["w"].data
    assert data.file == FileRange(path="../../x")
    with pytest.raises(InvalidBundleError) as caught:
        bundle.resolve(data, where="weights 'w'")
    assert str(caught.value) == (
        "weights 'w': file '../../x' is outside the bundle; refusing to read it"
    )


@pytest.mark.parametrize("name", ["manifest.pb", "f_jax_specific_info_supplemental.pb"])
def test_what_is_parsed_has_the_recorded_digest(root, name):
    integrity.write_integrity(root)
    read(root)
    content = bytearray((root / name).read_bytes())
    content[-1] ^= 1
    (root / name).write_bytes(content)
    with pytest.raises(InvalidBundleError, match=f"file '{name}' to have the SHA-256 that"):
        read(root)


def test_a_folder_that_may_not_be_listed_is_an_error_of_storage(root, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "iterdir", refuse)
    with pytest.raises(StorageError, match=r"expected to be able to read it; .*Permission denied"):
        read(root)


def test_a_bundle_may_be_moved_and_made_read_only(root, tmp_path):
    moved = root.rename(tmp_path / "elsewhere")
    for path in moved.rglob("*"):
        path.chmod(0o444)
    moved.chmod(0o555)
    try:
        bundle = read(moved)
        assert bundle.read_bytes(bundle.objects["f"].module).startswith(b"ML\xefR")
    finally:
        moved.chmod(0o755)


def test_all_problems_of_a_bundle_are_found_at_once(root):
    def damage(proto):
        proto.objects["damaged"].SetInParent()
        proto.objects["newer"].MergeFromString(b"\xea\x04\x01x")
        copy = proto.objects["g"]
        copy.CopyFrom(proto.objects["f"])
        record = copy.function.body.stable_hlo_body.supplemental_info["jax_specific_info"]
        record.file_system_location.string_path = "gone"
        proto.supplemental_info["s"].file_system_location.frequent_path_idx = 3

    change_manifest(root, damage)
    bundle, problems = read_with_problems(root)
    assert bundle is not None
    assert set(bundle.objects) == {"f", "newer"}
    assert isinstance(bundle.objects["newer"], UnknownObject)
    texts = sorted(map(str, problems))
    assert len(texts) == 3
    assert "object 'damaged'" in texts[1]
    assert "function 'g'" in texts[0]
    assert "supplemental 's'" in texts[2]


def test_a_bundle_that_cannot_be_read_at_all_is_one_problem(tmp_path):
    bundle, problems = read_with_problems(tmp_path)
    assert bundle is None
    assert [type(problem) for problem in problems] == [InvalidBundleError]


def test_a_sound_bundle_has_no_problems(root):
    bundle, problems = read_with_problems(root)
    assert (bundle, problems) == (read(root), [])
