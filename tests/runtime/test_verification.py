"""What `verify` cannot judge here is inconclusive; what is wrong with a bundle is an error."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.value import ExternalValue
from orbax_model_lite.errors import (
    MissingDependencyError,
    SignatureMismatchError,
    UnsupportedError,
    UntrustedError,
)
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.runtime.model import Model

WITHOUT_FRAMEWORKS = """\
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jax", "jaxlib", "tensorflow"}:
            raise ModuleNotFoundError(name, name=name.partition(".")[0])
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def double(tmp_path) -> Path:
    """Returns a bundle with one recorded call of a function and one of its pipeline."""
    x = np.ones(3, np.float32)
    obm.pack(tmp_path / "m.obm", lambda x: 2 * x, None, "b", platforms=["cpu"], examples=x)
    return tmp_path / "m.obm"


def severities(report: obm.Report) -> list[str]:
    return [finding.severity for finding in report.findings]


@pytest.mark.frameworks
def test_a_framework_that_is_not_installed_is_inconclusive(double):
    code = WITHOUT_FRAMEWORKS + (
        "import orbax_model_lite as obm\n"
        f"for finding in obm.verify({str(double)!r}, replay=True).findings:\n"
        "    print(finding.severity, finding.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith("inconclusive ")
    assert "needs jax, which is not installed" in line


@pytest.mark.frameworks
def test_a_framework_that_a_child_process_lacks_is_inconclusive(double, monkeypatch):
    monkeypatch.setattr(isolating, "_CHILD", WITHOUT_FRAMEWORKS + isolating._CHILD)
    (finding,) = obm.verify(double, replay=True, isolation=Isolation()).findings
    assert finding.severity == "inconclusive"
    assert "needs jax, which is not installed" in finding.message


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("error", "severity"),
    [
        (MissingDependencyError, "inconclusive"),
        (UnsupportedError, "inconclusive"),
        (UntrustedError, "error"),
        (SignatureMismatchError, "error"),
    ],
)
def test_a_call_that_this_machine_cannot_make_is_inconclusive(double, monkeypatch, error, severity):
    def refuse(*args, **kwargs):
        raise error("function 'f': expected the moon; found a cloud; wait")

    monkeypatch.setattr(Model, "callable_of", refuse)
    report = obm.verify(double, replay=True)
    assert set(severities(report)) == {severity}
    assert all("could not be replayed" in finding.message for finding in report.findings)


def test_what_only_a_later_version_reads_is_one_finding_and_inconclusive():
    broken = Path(__file__).parent.parent / "corpus" / "broken" / "must_refuse"
    (finding,) = obm.verify(broken / "from_the_future").findings
    assert finding.severity == "inconclusive"
    assert "newer than this reader" in finding.message


@pytest.mark.parametrize("name", ["no_manifest", "half_a_manifest", "unfinished"])
def test_what_no_version_reads_is_an_error_that_is_said_once(name):
    broken = Path(__file__).parent.parent / "corpus" / "broken" / "must_refuse"
    report = obm.verify(broken / name)
    assert report.has_errors
    messages = [finding.message for finding in report.findings]
    assert not [m for m in messages for other in messages if m is not other and m in other]


def test_pipelines_that_only_a_later_version_knows_are_inconclusive_and_not_run(tmp_path):
    record = Data(content=b"", mime_type="application/x-of-tomorrow")
    supplementals = {layout.KEY_ORCHESTRATION: record}
    core.save({}, tmp_path / "m", core.SaveOptions(supplemental_info=supplementals))
    found = obm.verify(tmp_path / "m", replay=True).findings
    assert [(f.severity, f.where) for f in found] == [("inconclusive", "orchestration")]


@pytest.fixture(params=["orbax", "safetensors"])
def closed(request, tmp_path, monkeypatch) -> Path:
    """Returns a bundle whose weights nobody may read, whoever runs this."""
    weights = {"k": np.ones((4, 3), np.float32)}
    path = tmp_path / "m.obm"
    obm.pack(
        path,
        lambda w, x: x @ w["k"],
        weights,
        "b, 4",
        platforms=["cpu"],
        weights_format=request.param,
        examples=np.ones((2, 4), np.float32),
    )
    honest, opened = os.open, Path.open

    def refuse(place) -> None:
        if str(place).startswith(str(path / "weights")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(place))

    def open_it(place, *args, **kwargs):
        refuse(place)
        return honest(place, *args, **kwargs)

    def open_path(self, *args, **kwargs):
        refuse(self)
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_it)
    monkeypatch.setattr(Path, "open", open_path)
    return path


@pytest.mark.frameworks
def test_weights_that_may_not_be_read_are_findings_and_inconclusive(closed):
    report = obm.verify(closed)
    assert set(severities(report)) == {"inconclusive"}
    (of_header,) = [f for f in report.findings if f.where == "weights 'weights'"]
    assert "permission was denied; make it readable" in of_header.message


@pytest.mark.frameworks
def test_weights_that_may_not_be_read_cannot_be_replayed_which_is_inconclusive(closed):
    report = obm.verify(closed, replay=True)
    assert set(severities(report)) == {"inconclusive"}


@pytest.mark.frameworks
def test_json_is_json_when_weights_may_not_be_read(closed, capsys):
    from orbax_model_lite.cli.command import main

    assert main(["verify", str(closed), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "inconclusive"


@pytest.mark.frameworks
def test_weights_that_may_not_be_read_are_told_in_our_words_by_show(closed):
    from orbax_model_lite.inspection.weights import describe_weights

    bundle = obm.read(closed)
    value = bundle.objects["weights"]
    assert isinstance(value, ExternalValue)
    described = describe_weights(bundle, "weights", value)
    assert "Errno" not in described.problem
    assert "permission was denied; make it readable" in described.problem
