"""`obm completion`: a real bash completes what a person would type."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orbax_model_lite.cli.parser import COMMANDS


@pytest.fixture
def complete(obm, tmp_path):
    """Returns what bash offers for a line whose last word is unfinished."""
    script = tmp_path / "completion.bash"
    script.write_text(obm("completion", "bash").out)

    def offered(line: str, folder: Path) -> set[str]:
        words = line.split(" ")
        before = words[-2]
        quoted = " ".join(f"'{word}'" for word in words)
        code = (
            f"source '{script}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
            "f=$(complete -p obm | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
            f"$f obm '{words[-1]}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return offered


def test_commands_are_completed(complete, tmp_path):
    assert complete("obm sho", tmp_path) == {"show"}
    assert complete("obm ", tmp_path) >= set(COMMANDS)


def test_options_are_those_of_the_command(complete, tmp_path):
    assert complete("obm show --we", tmp_path) == {"--weights"}
    assert complete("obm verify --we", tmp_path) == set()


def test_a_bundle_is_completed_among_folders(complete, tmp_path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "digits.obm").mkdir()
    (tmp_path / "place" / "digits.txt").touch()
    found = complete("obm show dig", tmp_path / "place")
    assert {name.rstrip("/") for name in found} == {"digits.obm"}


def test_an_output_is_completed_among_files(complete, tmp_path):
    (tmp_path / "model.mlir").touch()
    assert complete("obm show m.obm --hlo f --output mod", tmp_path) == {"model.mlir"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_every_shell_gets_every_command(shell, obm):
    said = obm("completion", shell)
    assert (said.code, said.err) == (0, "")
    assert all(command in said.out for command in COMMANDS)


def test_an_unknown_shell_is_misuse(obm):
    said = obm("completion", "nosh")
    assert said.code == 2
    assert "bash" in said.err
