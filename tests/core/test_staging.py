"""Bundles that appear in one step, or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

import pytest

from orbax_model_lite.core import layout, read, save, syscalls
from orbax_model_lite.core.staging import recover, staged
from orbax_model_lite.errors import BundleExistsError, InvalidBundleError, StorageError

STALE = ".m.obm-staging-0123456789abcdef"
OLD = ".m.obm-old-0123456789abcdef"


def make_bundle(folder: Path, note: str = "old") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note").write_text(note)
    (folder / layout.VERSION_FILE).write_text("marker")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "m"


@pytest.fixture(params=["exchange", "two steps"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two steps":
        monkeypatch.setattr(syscalls, "exchange", lambda first, second: False)


def test_the_target_appears_when_the_block_ends(target: Path) -> None:
    with staged(target) as folder:
        assert folder.parent == target.parent
        make_bundle(folder, "new")
        assert not target.exists()
    assert (target / "note").read_text() == "new"
    assert names(target.parent) == ["m"]


@pytest.mark.usefixtures("either_way")
def test_a_bundle_is_replaced_when_asked_to(target: Path) -> None:
    make_bundle(target)
    with staged(target, overwrite=True) as folder:
        make_bundle(folder, "new")
        assert (target / "note").read_text() == "old"
    assert (target / "note").read_text() == "new"
    assert names(target.parent) == ["m"]


@pytest.mark.usefixtures("either_way")
def test_a_read_only_bundle_with_folders_inside_is_replaced(target: Path) -> None:
    make_bundle(target)
    (target / "weights").mkdir(mode=0o500)
    target.chmod(0o500)
    with staged(target, overwrite=True) as folder:
        make_bundle(folder, "new")
    assert names(target) == sorted(["note", layout.VERSION_FILE])
    assert names(target.parent) == ["m"]


def test_a_bundle_is_not_replaced_unasked(target: Path) -> None:
    make_bundle(target)
    with pytest.raises(BundleExistsError, match="pass overwrite=True"), staged(target):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_bundle_is_never_replaced(target: Path, overwrite: bool) -> None:
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(BundleExistsError, match=r"'thesis\.tex'"),
        staged(target, overwrite=overwrite),
    ):
        pytest.fail("the block must not run")
    assert (target / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_never_replaced(target: Path, overwrite: bool) -> None:
    target.write_text("a file")
    with (
        pytest.raises(BundleExistsError, match="found a file"),
        staged(target, overwrite=overwrite),
    ):
        pytest.fail("the block must not run")
    assert target.read_text() == "a file"


def test_a_folder_that_loses_its_marker_meanwhile_is_not_replaced(target: Path) -> None:
    make_bundle(target)

    def replace() -> None:
        with staged(target, overwrite=True) as folder:
            make_bundle(folder, "new")
            (target / layout.VERSION_FILE).unlink()

    with pytest.raises(BundleExistsError, match="not a bundle"):
        replace()
    assert (target / "note").read_text() == "old"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_when_the_block_raises_nothing_remains(target: Path, error: BaseException) -> None:
    make_bundle(target)

    def save_and_fail() -> None:
        with staged(target, overwrite=True) as folder:
            make_bundle(folder, "new")
            raise error

    with pytest.raises(type(error)):
        save_and_fail()
    assert (target / "note").read_text() == "old"
    assert names(target.parent) == ["m"]


def test_missing_parents_are_made_and_go_again_after_an_error(tmp_path: Path) -> None:
    with staged(tmp_path / "a" / "b" / "m") as folder:
        make_bundle(folder)
    with pytest.raises(ValueError, match="mine"), staged(tmp_path / "c" / "d" / "m"):
        raise ValueError("mine")
    assert names(tmp_path) == ["a"]


def test_a_block_without_a_save_publishes_nothing(target: Path) -> None:
    with pytest.raises(InvalidBundleError, match="call save"), staged(target) as folder:
        (folder / "note").write_text("half")
    assert names(target.parent) == []


def test_an_empty_folder_is_filled_and_keeps_its_mode(target: Path) -> None:
    target.mkdir(mode=0o700)
    with staged(target) as folder:
        make_bundle(folder)
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert (target / "note").exists()


def test_a_link_to_the_target_stays_a_link(tmp_path: Path) -> None:
    make_bundle(tmp_path / "v1")
    (tmp_path / "latest").symlink_to("v1")
    with staged(tmp_path / "latest", overwrite=True) as folder:
        make_bundle(folder, "new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "v1" / "note").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 255, "日" * 85, "a b", ".hidden", "m.obm-staging-x"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    for overwrite in (False, True):
        with staged(tmp_path / name, overwrite=overwrite) as folder:
            make_bundle(folder)
    assert names(tmp_path) == [name]


def test_what_killed_processes_left_goes_at_next_use(target: Path) -> None:
    make_bundle(target.parent / STALE, "half")
    make_bundle(target.parent / OLD, "older")
    make_bundle(target)
    recover(target)
    assert names(target.parent) == ["m"]
    assert (target / "note").read_text() == "old"


def test_a_bundle_that_was_moved_aside_gets_its_name_back(target: Path) -> None:
    make_bundle(target.parent / OLD)
    make_bundle(target.parent / STALE, "new")
    recover(target)
    assert names(target.parent) == ["m"]
    assert (target / "note").read_text() == "old"


def test_a_bundle_that_was_moved_aside_can_be_read(target: Path) -> None:
    save({}, target)
    target.rename(target.parent / OLD)
    assert read(target).objects == {}


def test_what_is_left_of_a_removal_does_not_come_back_as_a_bundle(target: Path) -> None:
    (target.parent / OLD).mkdir()
    (target.parent / OLD / "weights").write_text("half removed")
    recover(target)
    assert names(target.parent) == []


@pytest.mark.parametrize(
    "name", ["m.obm-staging-0123456789abcdef", ".m.obm-staging-xyz", ".mm" + STALE[2:], "." + STALE]
)
def test_folders_of_other_names_are_left_alone(target: Path, name: str) -> None:
    make_bundle(target.parent / name)
    recover(target)
    assert names(target.parent) == [name]


def test_a_link_with_the_name_of_a_staging_folder_is_left_alone(target: Path) -> None:
    make_bundle(target.parent / "precious")
    (target.parent / STALE).symlink_to("precious")
    recover(target)
    assert names(target.parent) == [STALE, "precious"]
    assert (target.parent / "precious" / "note").exists()


def test_the_staging_folder_of_a_running_save_is_left_alone(target: Path) -> None:
    with staged(target) as folder:
        recover(target)
        make_bundle(folder)
    assert target.exists()


def test_without_locks_nothing_is_taken_for_dead(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "try_lock", lambda handle: None)
    make_bundle(target.parent / STALE)
    with staged(target) as folder:
        make_bundle(folder, "new")
    assert names(target.parent) == [STALE, "m"]


def test_without_locks_a_bundle_that_was_moved_aside_still_comes_back(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "try_lock", lambda handle: None)
    make_bundle(target.parent / OLD)
    recover(target)
    assert names(target.parent) == ["m"]


def test_a_staging_folder_that_was_taken_for_dead_is_made_anew(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = syscalls.try_lock, []

    def lock_after_somebody_removed_it(handle: int) -> bool | None:
        if not taken:
            taken.extend(target.parent.glob(".m.obm-staging-*"))
            taken[0].rmdir()
        return real(handle)

    monkeypatch.setattr(syscalls, "try_lock", lock_after_somebody_removed_it)
    with staged(target) as folder:
        assert folder not in taken
        make_bundle(folder)
    assert names(target.parent) == ["m"]


def test_a_full_disk_inside_the_block_is_named_with_the_target(target: Path) -> None:
    message = r"saving to '.*': .*; the disk is full; free"
    with pytest.raises(StorageError, match=message) as caught, staged(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    assert names(target.parent) == []


def test_other_errors_of_the_block_are_its_own(target: Path) -> None:
    with pytest.raises(FileNotFoundError), staged(target):
        (target.parent / "vocabulary.txt").read_text()


def test_a_parent_that_may_not_be_written_is_named(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    message = "permission was denied; make the folder writable"
    with pytest.raises(StorageError, match=message), staged(target):
        pytest.fail("the block must not run")


def test_an_exchange_that_the_file_system_lacks_is_done_in_two_steps(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "_renameat2", lambda: lambda *_: -1 if set_errno() else 0)
    make_bundle(target)
    with staged(target, overwrite=True) as folder:
        make_bundle(folder, "new")
    assert (target / "note").read_text() == "new"


def set_errno() -> bool:
    ctypes.set_errno(errno.EINVAL)
    return True


def test_when_the_second_rename_fails_the_old_bundle_is_back(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "exchange", lambda first, second: False)
    real = Path.rename

    def refuse_the_new_one(self: Path, place: Path) -> Path:
        if "staging" in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return real(self, place)

    make_bundle(target)
    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(StorageError), staged(target, overwrite=True) as folder:
        make_bundle(folder, "new")
    assert (target / "note").read_text() == "old"
    assert names(target.parent) == ["m"]
