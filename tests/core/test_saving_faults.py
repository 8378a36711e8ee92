"""Saves that are killed, interrupted or refused at some step; see `fault_injection`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fault_injection.py")
REPOSITORY = Path(__file__).parent.parent.parent

# A slice: each row starts at another step, so that together they meet many. The whole sweep is
# the program itself, without arguments.
SLICES = [
    ("place", "kill", 2),
    ("place", "torn", 9),
    ("place", "full", 0),
    ("changed", "kill", 13),
    ("changed", "interrupt", 5),
    ("staged", "kill", 11),
    ("staged", "full", 6),
    ("exchange", "kill", 3),
    ("exchange", "after", 8),
    ("exchange", "interrupt", 14),
    ("two-steps", "kill", 1),
    ("two-steps", "after", 16),
]


def sweep(folder: Path, *arguments: str) -> str:
    """Runs the program and returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), str(folder), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("scenario", "mode", "first"), SLICES)
def test_a_disturbed_save_harms_nothing_and_can_be_repeated(
    tmp_path: Path, scenario: str, mode: str, first: int
) -> None:
    assert sweep(tmp_path, scenario, mode, str(first), "19").startswith(f"{scenario}, {mode}: ")


@pytest.mark.parametrize("scenario", ["exchange", "two-steps"])
def test_the_steps_around_the_renames_of_an_overwrite_harm_nothing(
    tmp_path: Path, scenario: str
) -> None:
    # Those are among the last steps, which is what a negative number counts from.
    assert sweep(tmp_path, scenario, "kill", "-26", "2") == f"{scenario}, kill: 13 steps\n"


@pytest.mark.parametrize("scenario", ["staged", "exchange", "two-steps"])
def test_a_refusal_after_the_last_rename_takes_the_name_back(tmp_path: Path, scenario: str) -> None:
    assert sweep(tmp_path, scenario, "full", "-1", "1") == f"{scenario}, full: 1 steps\n"
