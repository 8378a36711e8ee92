"""Digests of a bundle's files and their record."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import digests, integrity, layout
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError

paths = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
file_digests = st.builds(FileDigest.of, st.binary(max_size=40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights" / "deep").mkdir(parents=True)
    (tmp_path / "weights" / "deep" / "chunk").write_bytes(b"\1" * 3_000_000)
    (tmp_path / "weights" / "a").write_bytes(b"a")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / layout.VERSION_FILE).write_text("marker")
    return tmp_path


@given(st.dictionaries(paths, file_digests))
def test_a_record_is_read_as_it_was_written(listed: dict[str, FileDigest]) -> None:
    assert integrity.from_bytes(integrity.to_bytes(listed), "bundle 'm'") == listed


@given(st.dictionaries(paths, file_digests))
def test_the_order_of_files_does_not_change_the_record(listed: dict[str, FileDigest]) -> None:
    backwards = dict(reversed(listed.items()))
    assert integrity.to_bytes(backwards) == integrity.to_bytes(listed)


def test_every_file_but_the_record_and_the_marker_is_listed(folder: Path) -> None:
    integrity.write_integrity(folder)
    assert integrity.load_integrity(folder) == {
        "empty": FileDigest.of(b""),
        "weights/a": FileDigest.of(b"a"),
        "weights/deep/chunk": FileDigest.of(b"\1" * 3_000_000),
    }


def test_the_content_hash_is_the_sha256_of_the_record(folder: Path) -> None:
    written = integrity.write_integrity(folder)
    record = (folder / layout.INTEGRITY_FILE).read_bytes()
    assert written == integrity.content_hash(folder) == hashlib.sha256(record).hexdigest()


def test_two_folders_with_the_same_files_have_the_same_hash(tmp_path: Path) -> None:
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for file in order:
            (tmp_path / name / file).write_text(file)
    hashes = {integrity.write_integrity(tmp_path / name) for name in ("one", "two")}
    assert len(hashes) == 1


def test_a_folder_without_a_record_has_no_digests(folder: Path) -> None:
    assert integrity.load_integrity(folder) is None
    assert integrity.content_hash(folder) is None


def test_files_with_known_digests_are_not_read_again(folder: Path) -> None:
    known = {"weights/a": FileDigest(size_bytes=1, sha256=b"k" * 32)}
    integrity.write_integrity(folder, known=known)
    listed = integrity.load_integrity(folder)
    assert listed is not None
    assert listed["weights/a"].sha256 == b"k" * 32


def test_progress_counts_all_bytes_and_ends_at_the_total(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    integrity.write_integrity(folder, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 3_000_001)
    assert seen[-1] == (3_000_001, 3_000_001)
    assert seen == sorted(seen)


def test_a_damaged_record_is_refused(folder: Path) -> None:
    (folder / layout.INTEGRITY_FILE).write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidBundleError, match="do not parse"):
        integrity.load_integrity(folder)


def test_a_record_that_lists_a_file_twice_is_refused(folder: Path) -> None:
    once = integrity.to_bytes({"a": FileDigest.of(b"1")})
    twice = once + integrity.to_bytes({"a": FileDigest.of(b"2")})
    with pytest.raises(InvalidBundleError, match="each file once"):
        integrity.from_bytes(twice, "bundle 'm'")


def test_a_record_of_another_algorithm_is_unsupported(folder: Path) -> None:
    record = integrity.to_bytes({}).replace(b"sha256", b"blake3")
    with pytest.raises(UnsupportedError, match="blake3"):
        integrity.from_bytes(record, "bundle 'm'")


def test_a_record_that_is_a_pipe_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / layout.INTEGRITY_FILE)
    with pytest.raises(InvalidBundleError, match="device, socket or pipe"):
        integrity.load_integrity(folder)


def test_everything_a_bundle_may_not_hold_is_named_at_once(folder: Path) -> None:
    (folder / "outside").symlink_to("/etc/hostname")
    (folder / "nowhere").symlink_to("missing")
    (folder / "alias").symlink_to("weights")
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidModelError) as caught:
        digests.list_files(folder)
    for line in (
        "'outside': a link that leads out of the folder, to '/etc/hostname'",
        "'nowhere': a link to nothing",
        "'alias': a link to a folder",
        "'pipe': neither a regular file nor a folder",
    ):
        assert line in str(caught.value)


def test_a_link_to_a_file_inside_counts_as_that_file(folder: Path) -> None:
    (folder / "alias").symlink_to("weights/a")
    assert digests.digest_folder(folder, known={})["alias"] == FileDigest.of(b"a")


def test_a_name_that_is_not_unicode_is_refused(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff")).write_text("x")
    with pytest.raises(InvalidModelError, match="not valid Unicode"):
        digests.list_files(folder)
