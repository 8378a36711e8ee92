"""Answers of child processes, as a diagnosis takes them: late, damaged, made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.core.report import Finding
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.diagnosis import Check, diagnose
from orbax_model_lite.runtime.diagnosis.machine import Machine
from tests.cli.conftest import model_function

VERSIONS = {
    "orbax_model_lite": "0.1.0",
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "numpy": "2.4.6",
    "protobuf": "6.33.0",
}
MACHINE = Machine(python="3.11.7", system="Linux", versions=VERSIONS, memory_bytes=10**11)
FACTS = {
    "version": "0.10.2",
    "platform": "cpu",
    "devices": [{"kind": "cpu", "memory_bytes": None, "memory_in_use_bytes": None}],
    "conventions": [9, 10],
    "stablehlo_version": "1.17.0",
    "peak_bytes": 180_000_000,
}
WHERE = "function 'model'"


@pytest.fixture
def bundle(tmp_path) -> Path:
    core.save({"model": model_function()}, tmp_path / "m.obm")
    return tmp_path / "m.obm"


def checks(path: Path) -> dict[str, Check]:
    return {check.name: check for check in diagnose(path, machine=MACHINE).checks}


@pytest.fixture
def answers(monkeypatch) -> Callable[..., None]:
    """Returns a function that puts answers in the place of those of child processes, in order."""

    def put(*given) -> None:
        left = list(given)
        monkeypatch.setattr(isolating, "ask", lambda *_, **__: left.pop(0))

    return put


def test_a_program_that_does_not_end_leaves_it_open(answers, bundle):
    late = "expected an end within 25 s; it was still running; allow more time"
    answers(Finding("inconclusive", "child process", late), {"jax": FACTS, "programs": []})
    found = checks(bundle)
    assert found["programs"].verdict == "unknown"
    assert "within 25 s" in found["programs"].found
    assert found["programs"].advice == "allow more time"
    assert found["jax"].verdict == "ok"
    assert found["memory"].verdict == "unknown"


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"where": 5, "estimate": None, "problem": ""},
        {"where": WHERE, "estimate": {"device_count": "many"}},
        {"where": WHERE, "estimate": None, "custom_calls": 7},
        {"where": WHERE, "estimate": None, "problem": ["x"]},
        7,
    ],
    ids=str,
)
def test_an_answer_about_a_program_that_is_none_of_ours_is_a_problem(entry, answers, bundle):
    answers({"jax": FACTS, "programs": [entry]})
    found = checks(bundle)["programs"]
    assert found.verdict == "problem"
    assert "meddles with its process" in found.found


@pytest.mark.parametrize(
    "facts",
    [None, {}, {**FACTS, "platform": 7}, {**FACTS, "devices": 3}, {**FACTS, "conventions": [1]}],
    ids=["none", "empty", "platform", "devices", "conventions"],
)
def test_an_answer_about_jax_that_is_none_of_ours_is_a_problem(facts, answers, bundle):
    answers({"jax": facts, "programs": []})
    assert checks(bundle)["jax"].verdict == "problem"


@pytest.mark.parametrize(
    ("version", "conventions", "verdict"),
    [("1.15.0", [9, 10], "ok"), ("1.99.0", [9, 10], "problem"), ("1.15.0", [11, 14], "note")],
    ids=["known", "a newer StableHLO", "another convention"],
)
def test_modules_are_compared_with_what_this_jax_reads(
    version, conventions, verdict, answers, bundle
):
    entry = {"where": WHERE, "estimate": None, "stablehlo_version": version}
    answers({"jax": {**FACTS, "conventions": conventions}, "programs": [entry]})
    found = checks(bundle)["modules"]
    assert found.verdict == verdict
    assert f"StableHLO {version}, calling convention 10" in found.found


def test_weights_alone_need_their_reader(tmp_path, answers):
    (tmp_path / "m.obm" / "weights").mkdir(parents=True)
    (tmp_path / "m.obm" / "weights" / "chunk").write_bytes(b"x")
    value = core.convert_path_to_value("weights/", "orbax_checkpoint")
    core.save({"weights": value}, tmp_path / "m.obm")
    answers({"jax": FACTS, "programs": []})
    found = checks(tmp_path / "m.obm")
    assert found["weights reader"].verdict == "problem"
    assert found["extras"].advice == 'pip install "orbax-model-lite[jax]"'
