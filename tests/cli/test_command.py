"""Command lines as a whole: misuse, damage, pipes, Ctrl-C; one line each and never a traceback."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orbax_model_lite.cli import command
from orbax_model_lite.cli.console import Console
from orbax_model_lite.core.limits import ReadLimits

REPOSITORY = Path(__file__).parent.parent.parent
OBM = [sys.executable, "-W", "error", "-m", "orbax_model_lite"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def remove(name: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).unlink()


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).write_bytes(content) and None


def cut(name: str) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])

    return damage


def link(name: str, target: str) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        (bundle / name).unlink()
        (bundle / name).symlink_to(target)

    return damage


def become_file(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.write_bytes(b"not a folder")


def become_empty(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.mkdir()


def fifo(name: str) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        (bundle / name).unlink()
        os.mkfifo(bundle / name)

    return damage


DAMAGES = {
    "no marker": remove("orbax_model_version.txt"),
    "no manifest": remove("manifest.pb"),
    "half a manifest": cut("manifest.pb"),
    "noise as manifest": overwrite("manifest.pb", b"\xff" * 300),
    "a manifest that leads out": link("manifest.pb", "/etc/hostname"),
    "a pipe as manifest": fifo("manifest.pb"),
    "a marker of the future": overwrite(
        "orbax_model_version.txt",
        b'manifest_file_path: "manifest.pb"\nversion: "9.0"\nmime_type: "x"\n',
    ),
    "a marker that is noise": overwrite("orbax_model_version.txt", b"\xff\x00\x1b[31m"),
    "a marker that leads out": overwrite(
        "orbax_model_version.txt",
        b'manifest_file_path: "../../etc/passwd"\nversion: "0.0.1"\n'
        b'mime_type: "application/protobuf; type=orbax_model_manifest.Manifest"\n',
    ),
    "noise as record of digests": overwrite("integrity.pb", b"\xff" * 99),
    "a file": become_file,
    "an empty folder": become_empty,
}
COMMANDS = {
    "show": ("show",),
    "details": ("show", "--details", "model"),
    "weights": ("show", "--weights"),
    "proto": ("show", "--proto"),
    "examples": ("show", "--examples"),
    "tree": ("show", "--tree"),
    "verify": ("verify",),
    "isolate": ("verify", "--isolate"),
}


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bundle_ends_in_a_message_and_an_exit_code(damage, line, obm, bundle):
    DAMAGES[damage](bundle)
    name, *options = COMMANDS[line]
    said = obm(name, bundle, *options)
    assert said.code in {1, 3}
    assert "Traceback" not in said.out + said.err
    assert "unexpected" not in said.err
    assert "\x1b" not in said.out + said.err
    if name == "show":
        assert said.out == ""
        assert said.err.startswith("obm: ")
        assert said.err.count("\n") == 1


WEIGHTS = {
    "half a file": cut("weights.safetensors"),
    "a header beyond the file": overwrite("weights.safetensors", b"\xff" * 16),
    "a header that is no JSON": overwrite("weights.safetensors", b"\x04" + bytes(7) + b"{[}]"),
    "nothing": remove("weights.safetensors"),
    "a link that leads out": link("weights.safetensors", "/etc/hostname"),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_damaged_weights_are_said_in_the_place_of_their_types(damage, obm, bundle):
    WEIGHTS[damage](bundle)
    (weights,) = obm("show", bundle, "--json").json["weights"]
    assert weights["array_count"] is None
    assert "expected" in weights["problem"] or "outside the bundle" in weights["problem"]
    assert obm("show", bundle, "--weights").code == 1


@pytest.mark.parametrize(
    "line",
    [(), ("show",), ("paint", "m.obm"), ("show", "m.obm", "--json", "--quiet"), ("verify", "-x")],
    ids=" ".join,
)
def test_misuse_is_exit_code_2(line, obm):
    said = obm(*line)
    assert said.code == 2
    assert said.err.startswith("usage: obm")


@pytest.mark.parametrize(
    "line",
    [
        ("show", "m.obm", "--output", "m.mlir"),
        ("verify", "m.obm", "--cpus", "1"),
        ("verify", "m.obm", "--replay", "--memory-gib", "1"),
        ("verify", "m.obm", "--trust-tf-op", "PyFunc"),
    ],
    ids=" ".join,
)
def test_an_option_that_would_do_nothing_is_misuse(line, obm):
    said = obm(*line)
    assert said.code == 2
    assert "means nothing without --" in said.err


def test_a_path_that_does_not_exist_is_misuse(obm, tmp_path):
    said = obm("show", tmp_path / "nowhere.obm")
    assert said.code == 2
    assert "found nothing; check the path" in said.err


@pytest.mark.parametrize("line", [("--help",), ("show", "--help"), ("verify", "--help")])
def test_help_has_examples(line, obm):
    said = obm(*line)
    assert said.code == 0
    assert "examples:" in said.out


def test_an_error_of_nobody_is_one_line_too(obm, bundle, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep\nto say")

    monkeypatch.setattr("orbax_model_lite.cli.commands.show.describe", fail)
    said = obm("show", bundle)
    assert said.code == command.INCONCLUSIVE
    assert said.err.startswith("obm: unexpected RecursionError: too deep to say; this is a defect")
    assert said.err.count("\n") == 1


def test_a_manifest_beyond_the_limits_is_refused(obm, bundle, monkeypatch):
    monkeypatch.setattr("orbax_model_lite.core.reading.ReadLimits", lambda: ReadLimits(objects=1))
    assert obm("show", bundle).code == 1


def test_a_reader_that_goes_away_is_no_error_message(bundle):
    process = subprocess.Popen(
        [*OBM, "show", str(bundle), "--proto"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaints = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), complaints) == (141, b"")


def test_ctrl_c_ends_with_one_line_and_no_child(obm, bundle, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orbax_model_lite.cli.commands.show.describe", interrupted)
    said = obm("show", bundle)
    assert (said.code, said.err) == (130, "obm: interrupted\n")


def test_ctrl_c_ends_the_child_process_too(tmp_path, monkeypatch):
    from orbax_model_lite.runtime import isolation
    from orbax_model_lite.runtime.trust import Trust

    marker = tmp_path / "child"
    code = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(100)"
    monkeypatch.setattr(isolation, "_CHILD", code)

    def wait(self: subprocess.Popen, timeout: float | None = None) -> int:
        while not marker.exists() or not marker.read_text():
            pass
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        isolation.replay_isolated(tmp_path, isolation.Isolation(), trust=Trust(), tolerances={})
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), signal.SIG_DFL)


def test_the_module_is_the_command(bundle):
    done = subprocess.run(
        [*OBM, "verify", str(bundle), "--quiet"], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("show", ""), "expected a folder; found an empty path"),
        (("diff", "a", ""), "expected a folder; found an empty path"),
        (("show", "https://x.y/z.obm"), "found 'https://x.y/z.obm'; download it first"),
        (("show", "m.obm", "--detials", "x"), "did you mean --details?"),
        (("show", "m.obm", "--hlo", "f", "--output", "/nope/m.mlir"), "no folder '/nope' to write"),
        (("verify", "m.obm", "--isolate", "--memory-gib", "1e30"), "a positive number below 1e9"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_misuse_is_told_with_the_usage_of_its_command(line, said, obm):
    found = obm(*line)
    assert found.code == 2
    assert found.err.startswith(f"usage: obm {line[0]} ")
    assert said in found.err


def test_a_terminal_that_says_it_has_no_width_is_taken_for_one_of_eighty_columns(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            return 1

    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert Console(Terminal(), {}).width == 80
