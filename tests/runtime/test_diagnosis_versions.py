"""Versions against what a bundle needs and what wrote it, on made-up machines."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.runtime.diagnosis.asking import Device, Jax, Silence, TensorFlow
from orbax_model_lite.runtime.diagnosis.checks import Check
from orbax_model_lite.runtime.diagnosis.machine import Machine, this_machine
from orbax_model_lite.runtime.diagnosis.needs import Needs, Program
from orbax_model_lite.runtime.diagnosis.requirements import (
    PYTHON,
    SUPPORTED,
    Range,
    is_older,
    required,
)
from orbax_model_lite.runtime.diagnosis.versions import version_checks

REPOSITORY = Path(__file__).parent.parent.parent
HERE = {
    "orbax_model_lite": "0.1.0",
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "numpy": "2.4.6",
    "protobuf": "6.33.0",
    "tensorflow": "2.21.0",
    "tensorstore": "0.1.86",
}
REQUIRES = {
    "jax": ("jaxlib<=0.10.2,>=0.10.1", 'jaxlib==0.10.1; extra == "ci"'),
    "tensorflow": ("protobuf<8.0.0,>=6.31.1",),
}
JAX = Jax(
    version="0.10.2",
    platform="cpu",
    devices=(Device(kind="cpu"),),
    conventions=(9, 10),
    stablehlo_version="1.17.0",
)
SPEC = core.Spec(shape=(3,), dtype=core.DType.FLOAT32)
FUNCTION = core.ShloFunction(
    signature=core.Signature.of_call((SPEC,), {}, SPEC),
    module=core.Data(content=b"", mime_type=layout.MIME_STABLEHLO),
    calling_convention_version=10,
    platforms=("cpu",),
    kept_inputs=(0,),
)


def machine(python: str = "3.11.7", without: tuple[str, ...] = (), **versions: str) -> Machine:
    there = {name: v for name, v in (HERE | versions).items() if name not in without}
    return Machine(python=python, system="Linux x86_64", versions=there, requires=REQUIRES)


def needs(**changes: Any) -> Needs:
    fields: dict[str, Any] = {
        "programs": (Program(name="f", where="function 'f'", function=FUNCTION),),
        "tensorflow": (),
        "partly_tensorflow": (),
        "unknown_kinds": {},
        "weights": {},
        "written_with": {},
    }
    return Needs(**fields | changes)


CHECKPOINT = {"weights": core.convert_path_to_value("weights/", "orbax_checkpoint")}
SAFETENSORS = {"weights": core.convert_path_to_value("w.safetensors", "safetensors")}


def check(name: str, here: Machine, wanted: Needs, jax: Any = JAX, tensorflow: Any = None) -> Check:
    found = {c.name: c for c in version_checks(here, wanted, jax, tensorflow)}
    return found[name]


def test_the_ranges_are_those_of_the_project_file():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["jax"], *extras["tf"]]
    assert Range(PYTHON) == Range(project["requires-python"])
    for package, range_ in SUPPORTED.items():
        assert required(listed, package) == Range(range_), package


def test_this_machine_is_told_without_importing_what_it_names(fresh_python):
    code = """
        import sys
        from orbax_model_lite.runtime.diagnosis import this_machine
        here = this_machine()
        print(here.python, here.versions["protobuf"], here.memory_bytes)
        print(sorted({"jax", "jaxlib", "tensorflow", "orbax", "numpy"} & set(sys.modules)))
    """
    first, second = fresh_python(code).splitlines()
    python, protobuf, memory = first.split()
    assert python.startswith("3.")
    assert protobuf == this_machine().versions["protobuf"]
    assert int(memory) > 10_000_000
    assert second == "[]"


@pytest.mark.parametrize(
    ("version", "other", "older"),
    [
        ("0.9.2", "0.10", True),
        ("0.10", "0.10.0", False),
        ("0.12.0.1", "0.12", False),
        ("3.9.1", "3.11", True),
        ("2.21.0rc1", "2.21", False),
        ("nonsense", "0.1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version, other, older):
    assert is_older(version, other) is older


@pytest.mark.parametrize(
    ("package", "version", "verdict"),
    [
        ("jax", "0.9.2", "problem"),
        ("jax", "0.10.0", "ok"),
        ("jax", "0.12.5", "ok"),
        ("jax", "0.13.0", "unknown"),
        ("protobuf", "4.25.8", "problem"),
        ("protobuf", "8.0.0", "unknown"),
        ("numpy", "1.26.4", "problem"),
    ],
)
def test_a_version_too_old_is_a_problem_and_one_too_new_is_not_known(package, version, verdict):
    found = check(package, machine(**{package: version}), needs())
    assert found.verdict == verdict
    if verdict != "ok":
        assert "pip install" in found.advice


def test_jax_that_is_missing_is_a_problem_with_its_line():
    here = machine(without=("jax", "jaxlib", "tensorstore"))
    found = check("jax", here, needs(written_with={"jax": "0.10.2"}), jax=None)
    assert found.verdict == "problem"
    assert found.found == "not installed; written with 0.10.2"
    assert found.advice == 'pip install "orbax-model-lite[jax]"'


def test_jax_older_than_the_writer_is_a_note_that_says_how_to_get_newer():
    found = check("jax", machine(), needs(written_with={"jax": "0.12.0"}))
    assert found.verdict == "note"
    assert 'pip install "jax>=0.12.0", which needs Python 3.12' in found.advice
    found = check("jax", machine(python="3.12.1"), needs(written_with={"jax": "0.12.0"}))
    assert "needs Python" not in found.advice


def test_jax_newer_than_the_writer_is_fine():
    assert check("jax", machine(), needs(written_with={"jax": "0.10.0"})).verdict == "ok"


def test_jax_that_does_not_start_is_a_problem_in_its_own_words():
    silence = Silence(message="expected a JAX that starts; found a jaxlib of 1999; upgrade it")
    found = check("jax", machine(), needs(), jax=silence)
    assert (found.verdict, found.advice) == ("problem", "upgrade it")
    assert "jaxlib of 1999" in found.found
    late = Silence(
        message="expected an end within 1 s; it was still running; allow more", is_late=True
    )
    assert check("jax", machine(), needs(), jax=late).verdict == "unknown"


def test_jax_is_not_asked_for_by_a_bundle_without_programs():
    found = check("jax", machine(without=("jax", "jaxlib")), needs(programs=()), jax=None)
    assert (found.verdict, found.found) == ("ok", "not needed")


def test_a_jaxlib_that_jax_does_not_take_is_a_problem():
    found = check("jaxlib", machine(jaxlib="0.9.0"), needs())
    assert found.verdict == "problem"
    assert "jax 0.10.2 expects <=0.10.2,>=0.10.1" in found.found


def test_tensorflow_that_is_missing_is_a_problem_that_names_the_functions():
    found = check("tensorflow", machine(without=("tensorflow",)), needs(tensorflow=("decode",)))
    assert found.verdict == "problem"
    assert found.found == "not installed; needed by decode"
    assert found.advice == 'pip install "orbax-model-lite[tf]"'


def test_tensorflow_is_not_missed_where_every_function_has_a_stablehlo_form():
    found = check("tensorflow", machine(without=("tensorflow",)), needs())
    assert (found.verdict, found.found) == ("ok", "not needed")


def test_tensorflow_for_some_sizes_only_is_a_note():
    wanted = needs(partly_tensorflow=("resize",))
    found = check("tensorflow", machine(without=("tensorflow",)), wanted)
    assert found.verdict == "note"
    assert "resize" in found.found


def test_tensorflow_that_cannot_be_imported_is_a_problem():
    broken = TensorFlow(problem="ImportError: no such symbol")
    found = check("tensorflow", machine(), needs(tensorflow=("f",)), tensorflow=broken)
    assert found.verdict == "problem"
    assert "no such symbol" in found.found


def test_tensorflow_older_than_the_writer_is_a_note():
    wanted = needs(tensorflow=("f",), written_with={"tensorflow": "2.22.0"})
    found = check("tensorflow", machine(), wanted, tensorflow=TensorFlow())
    assert found.verdict == "note"
    assert 'pip install "tensorflow>=2.22.0"' in found.advice


def test_a_protobuf_that_tensorflow_does_not_take_is_a_problem_where_tensorflow_is_needed():
    here = machine(protobuf="5.29.3")
    assert check("protobuf", here, needs()).verdict == "ok"
    found = check("protobuf", here, needs(tensorflow=("f",)), tensorflow=TensorFlow())
    assert found.verdict == "problem"
    assert found.advice == 'pip install "protobuf<8.0.0,>=6.31.1"'


@pytest.mark.parametrize(
    ("python", "verdict"), [("3.10.4", "problem"), ("3.13.2", "ok"), ("3.14.0", "unknown")]
)
def test_python_is_compared_with_what_is_tested(python, verdict):
    assert check("python", machine(python=python), needs()).verdict == verdict


def test_a_bundle_of_a_newer_writer_of_ours_is_a_note():
    wanted = needs(written_with={"orbax_model_lite": "0.3.0"})
    found = check("orbax_model_lite", machine(), wanted)
    assert found.verdict == "note"
    assert "upgrade" in found.advice


def test_a_checkpoint_needs_tensorstore_and_safetensors_needs_nothing():
    here = machine(without=("tensorstore",))
    found = check("weights reader", here, needs(weights=CHECKPOINT))
    assert (found.verdict, found.advice) == ("problem", 'pip install "orbax-model-lite[jax]"')
    assert check("weights reader", here, needs(weights=SAFETENSORS)).verdict == "ok"


def test_all_missing_extras_are_one_line():
    here = machine(without=("jax", "jaxlib", "tensorstore", "tensorflow"))
    wanted = needs(tensorflow=("f",), weights=CHECKPOINT)
    found = check("extras", here, wanted, jax=None)
    assert found.verdict == "problem"
    assert found.advice == 'pip install "orbax-model-lite[jax,tf]"'
    assert check("extras", machine(), wanted).verdict == "ok"


def test_a_problem_without_advice_is_no_check():
    with pytest.raises(ValueError, match="expected advice"):
        Check(name="x", verdict="problem", found="y")


def test_a_version_of_thousands_of_digits_is_compared():
    assert is_older("0.10", "9" * 5000)
