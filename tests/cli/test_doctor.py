"""`obm doctor`: lines, verdicts and exit codes; what it imports, and what damage ends in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.runtime.diagnosis import asking, diagnosing
from orbax_model_lite.runtime.diagnosis.asking import (
    Device,
    Estimate,
    Jax,
    Judged,
    Silence,
    TensorFlow,
)
from orbax_model_lite.runtime.diagnosis.machine import Machine
from tests.cli.conftest import model_function

FRAMEWORKS = {"jax", "jaxlib", "tensorflow", "orbax", "tensorstore", "flax"}
MACHINE = Machine(
    python="3.11.7",
    system="Linux x86_64",
    versions={
        "orbax_model_lite": "0.1.0",
        "jax": "0.10.0",
        "jaxlib": "0.10.0",
        "numpy": "2.4.6",
        "protobuf": "6.33.0",
    },
    requires={"jax": ("jaxlib<=0.10.0,>=0.10.0",)},
    memory_bytes=16_000_000_000,
    memory_limit="the control group",
)
JAX = Jax(
    version="0.10.0",
    platform="cpu",
    devices=(Device(kind="cpu"),),
    conventions=(9, 10),
    stablehlo_version="1.17.0",
    peak_bytes=180_000_000,
)
ESTIMATE = Estimate(
    device_count=1,
    sizes={"b": 1},
    argument_bytes=52,
    weights_bytes=36,
    output_bytes=12,
    temporary_bytes=20_000_000_000,
    code_bytes=4000,
)
SMALL = replace(ESTIMATE, temporary_bytes=76)
REFUSED = (
    "SavedModel 'tf/': expected only operations that compute; found WriteFile in function 'f', run "
    "when it is called; if you trust them, load with trust=Trust(tf_ops={'WriteFile'})"
)


@pytest.fixture
def here(monkeypatch):
    """Returns a function that puts a made-up machine and answers in the place of the real ones."""

    def put(machine=MACHINE, jax=JAX, tensorflow=None, **judged):
        made = judged or {"estimate": ESTIMATE}
        found = Judged(stablehlo_version="1.15.0", custom_calls={"shape_assertion": 1}, **made)
        judgement = {"function 'model'": found} if isinstance(jax, Jax) else {}
        monkeypatch.setattr(diagnosing, "this_machine", lambda: machine)
        monkeypatch.setattr(asking, "ask_programs", lambda *_, **__: (jax, judgement))
        monkeypatch.setattr(asking, "ask_tensorflow", lambda *_, **__: tensorflow or TensorFlow())

    return put


@pytest.fixture
def fine(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    core.save({"model": model_function()}, "fine.obm")
    return Path("fine.obm")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_diagnosis_looks_as_it_did_when_it_was_last_reviewed(
    columns, obm, bundle, here, golden_text
):
    here()
    said = obm("doctor", bundle, columns=columns)
    assert (said.code, said.err) == (1, "")
    golden_text(f"doctor_{columns}.txt", said.out)
    assert max(map(len, said.out.splitlines())) <= columns


def test_a_bundle_that_loads_is_exit_code_0(obm, fine, here):
    here(estimate=SMALL)
    said = obm("doctor", fine)
    assert said.code == 0
    assert said.out.endswith("fine.obm: it will load here\n")


def test_files_are_counted_as_show_counts_them(obm, fine, here):
    here(estimate=SMALL)
    count = obm("show", fine, "--json").json["file_count"]
    checks = {check["name"]: check for check in obm("doctor", fine, "--json").json["checks"]}
    assert checks["bundle"]["found"].startswith(f"{count} files are there; ")


def test_a_problem_is_exit_code_1_and_counted(obm, fine, here):
    here(estimate=ESTIMATE)
    said = obm("doctor", fine)
    assert said.code == 1
    assert said.out.endswith("fine.obm: it will not load or run here as it is (1 problem)\n")


def test_what_could_not_be_judged_is_exit_code_3(obm, fine, here):
    here(jax=Silence(message="expected an end; found none; allow more time", is_late=True))
    said = obm("doctor", fine)
    assert said.code == 3
    assert "it may load here; not everything could be judged" in said.out


def test_json_has_the_verdict_and_every_check(obm, fine, here):
    here(estimate=SMALL)
    found = obm("doctor", fine, "--json").json
    assert found["verdict"] == "ok"
    assert {"name", "verdict", "found", "advice"} == set(found["checks"][0])
    names = [check["name"] for check in found["checks"]]
    assert names[:3] == ["bundle", "files", "layout"]
    assert {"platform", "devices", "jax", "tensorflow", "protobuf"} < set(names)
    assert {"custom calls", "memory", "extras"} < set(names)


def test_quiet_says_it_by_the_exit_code_alone(obm, fine, here):
    here(estimate=ESTIMATE)
    said = obm("doctor", fine, "--quiet")
    assert (said.code, said.out, said.err) == (1, "", "")


def test_what_a_stranger_wrote_reaches_no_terminal(obm, tmp_path, here):
    core.save({"model\x1b[31m": model_function()}, tmp_path / "m.obm")
    here(problem="expected this; found \x1b[2J; do that")
    said = obm("doctor", tmp_path / "m.obm")
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(
    "line",
    [("--size", "b"), ("--size", "b=0"), ("--size", "b=x"), ("--size", "2=2"), ("--cpus", "0")],
    ids=" ".join,
)
def test_a_size_that_is_none_is_misuse(line, obm, fine):
    said = obm("doctor", fine, *line)
    assert said.code == 2
    assert said.err.startswith("usage: obm doctor")


@pytest.mark.parametrize(
    "line", [("--function", "modle"), ("--size", "batch=3")], ids=["function", "size"]
)
def test_a_name_that_does_not_exist_is_misuse(line, obm, fine, here):
    here()
    said = obm("doctor", fine, *line)
    assert said.code == 2
    assert said.err.startswith("obm: no ")


def test_a_path_that_does_not_exist_is_misuse(obm, tmp_path):
    assert obm("doctor", tmp_path / "nowhere.obm").code == 2


def test_a_platform_that_there_is_not_is_misuse(obm, fine):
    said = obm("doctor", fine, "--platform", "abacus")
    assert said.code == 2
    assert "invalid choice: 'abacus'" in said.err


def test_options_reach_the_diagnosis(obm, fine, monkeypatch):
    seen = {}

    def diagnose(path, **options):
        seen.update(options)
        return diagnosing.Diagnosis(path=str(path), checks=())

    monkeypatch.setattr(diagnosing, "diagnose", diagnose)
    line = "--function model --size b=8 --size t=2 --platform cpu --digests --memory-gib 8"
    line += " --timeout-s 9 --cpus 1 --trust-custom-call kernel --trust-tf-op PyFunc"
    assert obm("doctor", fine, *line.split()).code == 0
    assert (seen["function"], seen["sizes"], seen["platform"]) == ("model", {"b": 8, "t": 2}, "cpu")
    assert seen["with_digests"] is True
    assert (seen["isolation"].memory_bytes, seen["isolation"].timeout_s) == (8 * 2**30, 9)
    assert seen["isolation"].cpus == 1
    assert seen["trust"].custom_calls == {"kernel"}
    assert seen["trust"].tf_ops == {"PyFunc"}


def test_operations_that_nobody_granted_are_a_problem_with_their_grant(obm, bundle, here):
    record = core.Data(content=core.FileRange(path="tf/"), mime_type=layout.MIME_SAVED_MODEL)
    target = bundle.with_name("with_tf.obm")
    (target / "tf").mkdir(parents=True)
    core.save(
        {"tokenize": core.read(bundle).objects["tokenize"]},
        target,
        core.SaveOptions(
            supplemental_info={layout.KEY_SAVED_MODEL: core.GlobalSupplemental(record, None)}
        ),
    )
    versions = {**MACHINE.versions, "tensorflow": "2.21.0"}
    machine = Machine(python="3.11.7", system="Linux", versions=versions, memory_bytes=10**12)
    here(machine, tensorflow=TensorFlow(refused=REFUSED))
    checks = {check["name"]: check for check in obm("doctor", target, "--json").json["checks"]}
    assert checks["tf operations"]["verdict"] == "problem"
    assert "trust=Trust(tf_ops={'WriteFile'})" in checks["tf operations"]["advice"]


@pytest.mark.frameworks
def test_the_parent_imports_no_framework(fine, fresh_python):
    code = """
        import sys
        from orbax_model_lite.cli import main
        code = main(["doctor", sys.argv[1], "--json"])
        print("IMPORTED", code, sorted({m.partition(".")[0] for m in sys.modules}))
    """
    out = fresh_python(code, fine.absolute())
    told = next(line for line in out.splitlines() if line.startswith("IMPORTED"))
    # Its module is noise, which the child notices: the child was really asked.
    assert told.startswith("IMPORTED 1 ")
    assert "does not parse" in out or "do not parse" in out or "begin" in out
    assert not FRAMEWORKS & set(told.partition("[")[2].replace("'", "").rstrip("]").split(", "))
