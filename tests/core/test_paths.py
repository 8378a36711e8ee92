"""The one resolver of paths: what it finds and what it refuses."""

from __future__ import annotations

import errno
import os
import pathlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.core import paths
from orbax_model_lite.errors import InvalidBundleError, StorageError


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "m.obm"
    (folder / "weights" / "deep").mkdir(parents=True)
    (folder / "weights" / "a.bin").write_bytes(b"abc")
    (folder / "with space é").write_bytes(b"s")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("weights/a.bin", "weights/a.bin"),
        ("./weights//a.bin", "weights/a.bin"),
        ("weights/./a.bin", "weights/a.bin"),
        ("weights", "weights"),
        ("weights/", "weights"),
        ("weights/deep/", "weights/deep"),
        ("with space é", "with space é"),
        (".", "."),
        ("./", "."),
    ],
)
def test_files_and_folders_inside_are_found(root, path, found):
    assert paths.resolve(root, path, "value 'w'") == (root / found).resolve()


def test_a_link_inside_is_followed(root):
    (root / "link").symlink_to("weights/a.bin")
    (root / "folder").symlink_to(root / "weights")
    assert paths.resolve(root, "link", "w") == root / "weights" / "a.bin"
    assert paths.resolve(root, "folder/a.bin", "w") == root / "weights" / "a.bin"


def test_the_bundle_itself_may_be_reached_through_a_link(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert paths.resolve(tmp_path / "alias", "weights/a.bin", "w").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "path",
    ["../secret", "/etc/passwd", "weights/../../secret", "weights/..", "..", "//x", "a/../b"],
)
def test_a_path_out_of_the_bundle_is_refused(root, path):
    with pytest.raises(InvalidBundleError) as caught:
        paths.resolve(root, path, "weights 'w'")
    assert str(caught.value) == (
        f"weights 'w': file {path!r} is outside the bundle; refusing to read it"
    )


@pytest.mark.parametrize("path", ["C:\\x", "c:x", "C:/x", "\\\\host\\share", "a\\..\\b", "\\x"])
def test_a_path_in_the_form_of_windows_is_refused(root, path):
    with pytest.raises(InvalidBundleError, match="leaves the bundle on Windows; refusing"):
        paths.resolve(root, path, "weights 'w'")


def test_a_nul_byte_is_refused(root):
    with pytest.raises(InvalidBundleError, match="found a NUL byte in 'a"):
        paths.resolve(root, "a\0b", "weights 'w'")


def test_an_empty_path_is_refused(root):
    with pytest.raises(InvalidBundleError, match=r"weights 'w': .*found an empty one"):
        paths.resolve(root, "", "weights 'w'")


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", ".."])
def test_a_link_out_of_the_bundle_is_refused(root, target):
    (root / "link").symlink_to(target)
    with pytest.raises(InvalidBundleError, match="file 'link' is outside the bundle; refusing"):
        paths.resolve(root, "link", "weights 'w'")


def test_a_folder_that_is_a_link_out_of_the_bundle_is_refused(root, tmp_path):
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidBundleError, match="file 'link/secret' is outside the bundle"):
        paths.resolve(root, "link/secret", "weights 'w'")


def test_a_loop_of_links_is_refused(root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(InvalidBundleError, match="weights 'w': expected file 'a'"):
        paths.resolve(root, "a", "weights 'w'")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("gone", "file"), ("gone/", "folder"), ("gone/deep", "file"), ("weights/a.bin/x", "file")],
)
def test_what_is_not_there_is_named(root, path, kind):
    with pytest.raises(InvalidBundleError, match=f"expected {kind} '{path}' in the bundle; found"):
        paths.resolve(root, path, "weights 'w'")


def test_a_link_to_nothing_is_not_there(root):
    (root / "link").symlink_to("gone")
    with pytest.raises(InvalidBundleError, match="expected file 'link' in the bundle; found noth"):
        paths.resolve(root, "link", "weights 'w'")


def test_a_file_where_a_folder_is_meant_is_refused(root):
    (root / "link").symlink_to("weights/a.bin")
    for path in ("weights/a.bin/", "link/"):
        with pytest.raises(InvalidBundleError, match="weights 'w': expected "):
            paths.resolve(root, path, "weights 'w'")


def test_a_pipe_is_refused_without_being_opened(root):
    os.mkfifo(root / "pipe")
    with pytest.raises(InvalidBundleError, match="found a device, socket or pipe"):
        paths.resolve(root, "pipe", "weights 'w'")


def test_a_socket_is_refused(root, monkeypatch):
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(InvalidBundleError, match="found a device, socket or pipe"):
            paths.resolve(root, "s", "weights 'w'")


def test_a_link_to_a_device_is_outside(root):
    (root / "zero").symlink_to("/dev/zero")
    with pytest.raises(InvalidBundleError, match="is outside the bundle"):
        paths.resolve(root, "zero", "weights 'w'")


def test_a_name_that_is_too_long_is_refused_in_short(root):
    with pytest.raises(InvalidBundleError, match="too long") as caught:
        paths.resolve(root, "x" * 5000, "weights 'w'")
    assert len(str(caught.value)) < 300


def test_a_refusal_of_the_file_system_is_ours(root, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "stat", refuse)
    with pytest.raises(
        StorageError, match=r"file 'weights/a.bin': expected to be able to"
    ) as caught:
        paths.resolve(root, "weights/a.bin", "weights 'w'")
    assert caught.value.errno == errno.EACCES
    assert isinstance(caught.value, OSError)


@given(st.text(st.sampled_from("ab./\\:~\0 é"), max_size=12))
def test_no_text_at_all_leads_out(text):
    root = pathlib.Path(__file__).parent
    try:
        found = paths.resolve(root, text, "w")
    except InvalidBundleError:
        return
    assert found.is_relative_to(root.resolve())


def test_a_file_is_read_up_to_a_limit(root):
    assert paths.read_file(root, "weights/a.bin", "w", 3) == b"abc"
    assert paths.read_file(root, "weights/a.bin", "w") == b"abc"
    with pytest.raises(
        InvalidBundleError, match=r"'weights/a\.bin' to have at most 2 bytes; found"
    ):
        paths.read_file(root, "weights/a.bin", "w", 2)


def test_a_folder_is_not_read_as_a_file(root):
    with pytest.raises(InvalidBundleError, match="expected 'weights' to be a file; found a folder"):
        paths.read_file(root, "weights", "w")
