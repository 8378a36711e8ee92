"""`obm verify`: verdicts, exit codes, and what becomes of programs that crash."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite.cli.commands.verify import write_report
from orbax_model_lite.cli.console import Console
from orbax_model_lite.cli.progress import ProgressBar
from orbax_model_lite.core.report import Finding, Report, Severity
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.runtime.trust import Trust


@pytest.fixture
def whole(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    core.save({"nothing": core.TupleValue(elements=())}, "whole.obm")
    return Path("whole.obm")


@pytest.fixture
def changed(whole) -> Path:
    (whole / "extra.bin").write_bytes(b"added afterwards")
    return whole


def test_a_whole_bundle_is_fine(obm, whole):
    said = obm("verify", whole)
    assert (said.code, said.out) == (0, "whole.obm: ok\n")


def test_a_changed_bundle_is_a_finding(obm, changed):
    said = obm("verify", changed)
    assert said.code == 1
    assert "error         file 'extra.bin': expected only files that the save has recorded" in (
        said.out
    )


def test_a_bundle_without_digests_is_inconclusive(obm, whole):
    (whole / "integrity.pb").unlink()
    assert obm("verify", whole).code == 3


def test_a_path_that_does_not_exist_is_misuse(obm, tmp_path):
    assert obm("verify", tmp_path / "nowhere").code == 2


def test_json_has_the_verdict_and_every_finding(obm, changed):
    found = obm("verify", changed, "--json").json
    assert found["verdict"] == "not ok"
    assert [finding["where"] for finding in found["findings"]] == ["file 'extra.bin'"]


def test_quiet_says_it_by_the_exit_code_alone(obm, changed):
    said = obm("verify", changed, "--quiet")
    assert (said.code, said.out, said.err) == (1, "", "")


def report_of(*severities: Severity) -> Report:
    return Report(
        tuple(Finding(severity, f"{i}", "expected; found") for i, severity in enumerate(severities))
    )


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        (["info"], "m.obm: ok"),
        (["warning", "info"], "m.obm: ok (1 finding)"),
        (["error", "inconclusive", "info"], "m.obm: not ok (2 findings)"),
    ],
)
def test_what_is_only_told_is_not_counted_as_a_finding(severities, verdict):
    stream = io.StringIO()
    write_report(Console(stream, {}), report_of(*severities), "m.obm")
    assert stream.getvalue().splitlines()[-1] == verdict


@pytest.mark.parametrize("columns", [80, 120])
def test_findings_look_as_they_did_when_they_were_last_reviewed(obm, changed, columns, golden_text):
    (changed / "integrity.pb.link").symlink_to("/nowhere")
    golden_text(f"verify_{columns}.txt", obm("verify", changed, columns=columns).out)


def test_progress_is_drawn_on_a_terminal_and_wiped_afterwards(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with ProgressBar(Console(stream, {}), "digests", is_shown=True) as bar:
        bar.update(50, 100)
    assert "digests [###############...............]  50% of 100 B" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def child(monkeypatch, code: str) -> None:
    """Puts other code into the place of the child process."""
    monkeypatch.setattr(isolating, "_CHILD", code)


def replayed(path: Path, **limits) -> list[Finding]:
    return isolating.replay_isolated(path, Isolation(**limits), trust=Trust(), tolerances={})


def test_a_crash_of_the_child_is_an_error_that_names_the_signal(monkeypatch, whole):
    child(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    (finding,) = replayed(whole)
    assert finding.severity == "error"
    assert "SIGSEGV" in finding.message


def test_a_child_that_does_not_end_is_inconclusive(monkeypatch, whole):
    child(monkeypatch, "import time; time.sleep(100)")
    (finding,) = replayed(whole, timeout_s=0.5)
    assert finding.severity == "inconclusive"
    assert "within 0.5 s" in finding.message


def test_a_child_that_wants_more_memory_is_inconclusive(monkeypatch, whole):
    child(
        monkeypatch,
        "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\n"
        "from orbax_model_lite.runtime import isolation_child\n"
        "isolation_child._TASKS['replay'] = lambda request: {'findings': [bytes(10**9)]}\n"
        "isolation_child.answer(sys.argv[2])\n",
    )
    (finding,) = replayed(whole, memory_bytes=400 * 2**20)
    assert finding.severity == "inconclusive"
    assert "MemoryError" in finding.message
    assert "allow more memory" in finding.message


@pytest.mark.parametrize("gib", [0.05, 0.2])
def test_a_child_that_cannot_even_import_for_want_of_memory_is_inconclusive(obm, whole, gib):
    said = obm("verify", whole, "--isolate", "--memory-gib", gib)
    assert said.code == 3
    assert "allow more memory" in said.out


def test_a_child_keeps_to_the_cores_it_was_given(monkeypatch, whole):
    child(
        monkeypatch,
        "import json, os, sys\nsys.path[:] = json.loads(sys.argv[1])\n"
        "from orbax_model_lite.runtime import isolation_child\n"
        "finding = lambda: dict(severity='info', where='cores', "
        "message=str(len(os.sched_getaffinity(0))))\n"
        "isolation_child._TASKS['replay'] = lambda request: {'findings': [finding()]}\n"
        "isolation_child.answer(sys.argv[2])\n",
    )
    (finding,) = replayed(whole, cpus=1)
    assert finding.message == "1"


ANSWER = "import pathlib, sys; pathlib.Path(sys.argv[2]).with_name('answer.json').write_text({!r})"


@pytest.mark.parametrize(
    "answer",
    ["[]", "{", '{"error": "annotations"}', '{"findings": [{"severity": "fine"}]}', "{}"],
)
def test_an_answer_that_is_none_of_ours_is_an_error(answer, monkeypatch, whole):
    child(monkeypatch, ANSWER.format(answer))
    (finding,) = replayed(whole)
    assert finding.severity == "error"
    assert "found another one" in finding.message


def test_a_child_that_prints_does_not_disturb_the_answer(monkeypatch, whole):
    child(monkeypatch, isolating._CHILD.replace("import json", "print('noise'); import json", 1))
    (finding,) = replayed(whole)
    assert finding.where == "examples"


@pytest.mark.frameworks
def test_recorded_calls_are_replayed_in_a_child_process(obm, tmp_path):
    import orbax_model_lite

    x = np.ones(3, np.float32)
    path = tmp_path / "double.obm"
    orbax_model_lite.pack(path, lambda x: 2 * x, None, "b", platforms=["cpu"], examples=x)
    said = obm("verify", path, "--isolate")
    assert said.code == 0, said.out + said.err
    assert "largest difference 0 absolute" in said.out
    assert "output '.'" in said.out
    assert said.out.splitlines()[-1].endswith("double.obm: ok, 2 outputs replayed")


@pytest.mark.frameworks
def test_the_stablehlo_of_a_function_is_shown(obm, tmp_path):
    import orbax_model_lite

    path = tmp_path / "double.obm"
    orbax_model_lite.pack(path, lambda x: 2 * x, None, "b", platforms=["cpu"])
    assert "stablehlo.multiply" in obm("show", path, "--hlo", "serving_default").out
    said = obm("show", path, "--hlo", "serving_default", "--output", tmp_path / "m.mlir")
    assert (said.code, said.out) == (0, "")
    assert "stablehlo.multiply" in (tmp_path / "m.mlir").read_text()


@pytest.mark.frameworks
def test_a_module_that_does_not_parse_ends_in_one_line(obm, bundle):
    said = obm("show", bundle, "--hlo", "model")
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("obm: function 'model'")
    assert said.err.count("\n") == 1


def test_a_module_that_takes_too_long_to_show_is_not_called_damaged(monkeypatch, bundle):
    child(monkeypatch, "import time; time.sleep(100)")
    with pytest.raises(UnsupportedError, match=r"function 'model': .* allow more time"):
        isolating.module_text(core.read(bundle), "model", Isolation(timeout_s=0.5))


def test_a_copy_elsewhere_is_verified_just_as_well(obm, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "elsewhere")
    assert obm("verify", tmp_path / "elsewhere").code == 0
