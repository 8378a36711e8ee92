"""Payloads of a bundle: where they are, and that they are what the bundle says."""

from __future__ import annotations

import hashlib
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import integrity, layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.function import PolymorphicFunction
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.value import TupleValue, UnknownObject
from orbax_model_lite.errors import InvalidBundleError, StorageError

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"
CONTENT = bytes(range(10))


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "m.obm"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "ten.bin").write_bytes(CONTENT)
    return folder


def bundle(root: pathlib.Path, **changes) -> Bundle:
    parts = {
        "path": root,
        "objects": {},
        "supplementals": {},
        "device_assignment": None,
        "layout": "2025-09",
        "frequent_paths": (),
    }
    return Bundle(**(parts | changes))


def ten(**rest) -> FileRange:
    return FileRange(path="deep/ten.bin", **rest)


def test_a_payload_in_memory_is_given_as_it_is(root):
    assert bundle(root).read_bytes(Data(content=b"x")) == b"x"
    assert bundle(root).read_bytes(Data(content="é")) == "é".encode()
    assert bundle(root).read_bytes(Data(content=b"")) == b""


def test_a_payload_that_is_nowhere_is_damage(root):
    with pytest.raises(InvalidBundleError, match="expected bytes or a file; found neither"):
        bundle(root).read_bytes(Data(content=None), where="function 'f'")


RANGES = [
    (None, None, CONTENT),
    (0, 10, CONTENT),
    (3, None, CONTENT[3:]),
    (3, 2, CONTENT[3:5]),
    (-4, None, CONTENT[-4:]),
    (-4, 2, CONTENT[6:8]),
    (-10, 10, CONTENT),
    (10, None, b""),
    (10, 0, b""),
    (None, 0, b""),
]


@pytest.mark.parametrize(("offset", "size", "expected"), RANGES)
@pytest.mark.parametrize("is_recorded", [False, True], ids=["no digest", "digest"])
def test_a_range_is_counted_from_the_beginning_or_the_end(
    root, offset, size, expected, is_recorded
):
    digests = {"deep/ten.bin": FileDigest.of(CONTENT)} if is_recorded else None
    found = bundle(root, digests=digests).read_bytes(Data(content=ten(offset=offset, size=size)))
    assert found == expected


@pytest.mark.parametrize(
    ("offset", "size"), [(11, None), (0, 11), (5, 6), (-11, None), (-2, 3), (0, 2**64 - 1)]
)
def test_a_range_beyond_the_file_is_damage(root, offset, size):
    data = Data(content=ten(offset=offset, size=size))
    with pytest.raises(InvalidBundleError, match=r"function 'f': expected a range .* of 10 bytes"):
        bundle(root).read_bytes(data, where="function 'f'")


@given(st.binary(max_size=50), st.integers(-60, 60), st.none() | st.integers(0, 60))
def test_ranges_of_a_file_with_and_without_a_digest_are_the_same(
    tmp_path_factory, content, offset, size
):
    root = tmp_path_factory.mktemp("m")
    (root / "f").write_bytes(content)
    data = Data(content=FileRange(path="f", offset=offset, size=size))
    found = []
    for digests in (None, {"f": FileDigest.of(content)}):
        try:
            found.append(bundle(root, digests=digests).read_bytes(data))
        except InvalidBundleError as e:
            found.append(str(e))
    assert found[0] == found[1]


def test_a_file_of_several_pieces_is_read_whole(root):
    content = bytes(range(256)) * 12_345
    (root / "big").write_bytes(content)
    data = Data(content=FileRange(path="big", offset=1_048_000, size=1_100_000))
    found = bundle(root, digests={"big": FileDigest.of(content)}).read_bytes(data)
    assert found == content[1_048_000:2_148_000]


@pytest.mark.parametrize("where", [0, 9], ids=["inside the range", "outside the range"])
def test_a_changed_file_is_refused_before_its_bytes_are_given(root, where):
    changed = bytearray(CONTENT)
    changed[where] ^= 1
    (root / "deep" / "ten.bin").write_bytes(changed)
    data = Data(content=ten(size=4))
    with pytest.raises(InvalidBundleError, match="SHA-256 that the bundle records; found another"):
        bundle(root, digests={"deep/ten.bin": FileDigest.of(CONTENT)}).read_bytes(data)


def test_a_file_of_another_size_is_refused_with_both_sizes(root):
    digests = {"deep/ten.bin": FileDigest.of(CONTENT + b"x")}
    with pytest.raises(InvalidBundleError, match="to have 11 bytes, as its digest says; found 10"):
        bundle(root, digests=digests).read_bytes(ten())


@pytest.mark.parametrize("path", ["./deep/ten.bin", "deep//ten.bin", "link", "folder/ten.bin"])
def test_no_spelling_of_a_path_goes_around_its_digest(root, path):
    (root / "link").symlink_to("deep/ten.bin")
    (root / "folder").symlink_to("deep")
    (root / "deep" / "ten.bin").write_bytes(b"changed")
    digests = {"deep/ten.bin": FileDigest.of(CONTENT)}
    with pytest.raises(InvalidBundleError, match="as its digest says; found 7"):
        bundle(root, digests=digests).read_bytes(FileRange(path=path))


def test_a_digest_is_found_by_the_name_of_a_link_too(root):
    (root / "link").symlink_to("deep/ten.bin")
    digest = FileDigest.of(CONTENT)
    assert bundle(root, digests={"link": digest}).digest("link") == digest
    assert bundle(root, digests={"deep/ten.bin": digest}).digest("link") == digest
    assert bundle(root, digests={}).digest("link") is None
    assert bundle(root).digest("link") is None


def test_a_folder_has_no_bytes(root):
    with pytest.raises(InvalidBundleError, match="expected 'deep/' to be a file; found a folder"):
        bundle(root).read_bytes(Data(content=FileRange(path="deep/")))


def test_places_are_resolved_in_all_their_forms(root):
    found = bundle(root)
    file = root / "deep" / "ten.bin"
    assert found.resolve("deep/ten.bin") == file
    assert found.resolve(ten()) == file
    assert found.resolve(Data(content=ten(offset=3))) == file
    assert found.resolve("deep/") == root / "deep"


def test_messages_name_the_bundle_unless_told_otherwise(root):
    with pytest.raises(InvalidBundleError, match=r"bundle '.*m\.obm': file '\.\./x' is outside"):
        bundle(root).resolve("../x")
    with pytest.raises(InvalidBundleError, match=r"weights 'w': file '\.\./x' is outside"):
        bundle(root).resolve("../x", where="weights 'w'")


def test_a_payload_inside_the_manifest_has_no_path(root):
    with pytest.raises(InvalidBundleError, match="expected a payload in a file or folder; found"):
        bundle(root).resolve(Data(content=b"x"))


def test_a_file_that_cannot_be_opened_is_an_error_of_storage(root, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(
        StorageError, match=r"function 'f', file 'deep/ten.bin': expected to be able"
    ):
        bundle(root).read_bytes(ten(), where="function 'f'")


def test_functions_and_values_are_views_of_the_objects(root):
    objects = {
        "p": PolymorphicFunction(functions=()),
        "t": TupleValue(elements=()),
        "u": UnknownObject(origin=b""),
    }
    found = bundle(root, objects=objects)
    assert found.functions == {"p": objects["p"]}
    assert found.values == {"t": objects["t"]}


def test_the_content_hash_is_that_of_the_record_of_digests(root):
    assert bundle(root).content_hash is None
    integrity.write_integrity(root)
    record = (root / layout.INTEGRITY_FILE).read_bytes()
    assert bundle(root).content_hash == hashlib.sha256(record).hexdigest()


def test_two_readings_of_one_bundle_are_equal():
    root = CORPUS / "tf_pre_post" / "model"
    assert read(root) == read(root)
