"""Several savers of one target at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orbax_model_lite.core import layout
from orbax_model_lite.core.staging import staged
from orbax_model_lite.errors import BundleExistsError


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


def test_of_two_savers_the_one_who_finishes_first_wins(target: Path) -> None:
    def save_slowly() -> None:
        with staged(target) as slow:
            make_bundle(slow, "slow")
            with staged(target) as fast:
                make_bundle(fast, "fast")

    with pytest.raises(BundleExistsError):
        save_slowly()
    assert (target / "note").read_text() == "fast"
    assert names(target.parent) == ["m"]


def test_a_bundle_that_appears_at_the_last_moment_is_not_replaced(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def rename_too_late(self: Path, place: Path) -> Path:
        make_bundle(target, "other")
        return real(self, place)

    monkeypatch.setattr(Path, "rename", rename_too_late)
    with pytest.raises(BundleExistsError, match="meanwhile"), staged(target) as folder:
        make_bundle(folder)
    assert (target / "note").read_text() == "other"
    assert names(target.parent) == ["m"]


RACER = """
import pathlib, sys, time
from orbax_model_lite.core import staging, syscalls
from orbax_model_lite.errors import BundleExistsError
target, note, overwrite, exchange = pathlib.Path(sys.argv[1]), *sys.argv[2:]
if exchange == "no":
    syscalls.exchange = lambda first, second: False
try:
    with staging.staged(target, overwrite=overwrite == "yes") as folder:
        (folder / "large").write_text(note * 100_000)
        (folder / "note").write_text(note)
        (folder / "orbax_model_version.txt").write_text("marker")
        (target.parent / f"ready{note}").touch()
        while len(list(target.parent.glob("ready*"))) < 4:
            time.sleep(0.001)
except BundleExistsError:
    print("lost")
else:
    print("won")
"""


def race(target: Path, *options: str) -> list[str]:
    """Returns the outcomes of four processes that publish to one target at the same moment."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACER, str(target), note, *options],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for note in "abcd"
    ]
    outcomes = [racer.communicate(timeout=120)[0].strip() for racer in racers]
    for ready in target.parent.glob("ready*"):
        ready.unlink()
    return outcomes


def test_of_four_processes_exactly_one_wins(target: Path) -> None:
    assert sorted(race(target, "no", "yes")) == ["lost", "lost", "lost", "won"]
    note = (target / "note").read_text()
    assert (target / "large").read_text() == note * 100_000
    assert names(target.parent) == ["m"]


@pytest.mark.parametrize("exchange", ["yes", "no"])
def test_four_processes_that_overwrite_leave_one_whole_bundle(target: Path, exchange: str) -> None:
    make_bundle(target)
    assert "won" in race(target, "yes", exchange)
    note = (target / "note").read_text()
    assert note in "abcd"
    assert (target / "large").read_text() == note * 100_000
    assert names(target.parent) == ["m"]
