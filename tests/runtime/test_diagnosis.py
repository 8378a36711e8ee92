"""A diagnosis as a whole, with real child processes: what stands in the way is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.errors import ObmError, SignatureMismatchError, UnknownNameError
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.diagnosis import diagnose, this_machine
from orbax_model_lite.runtime.diagnosis.machine import Machine
from orbax_model_lite.runtime.isolation import Isolation
from tests.runtime.diagnosing import checks

pytestmark = pytest.mark.frameworks

CORPUS = Path(__file__).parent.parent / "corpus"


def without(*packages: str) -> Machine:
    here = this_machine()
    versions = {name: v for name, v in here.versions.items() if name not in packages}
    return Machine(
        python=here.python, system=here.system, versions=versions, memory_bytes=here.memory_bytes
    )


@pytest.fixture
def linear(tmp_path) -> Path:
    params = {"w": np.ones((4, 3), np.float32), "b": np.ones(3, np.float32)}
    obm.pack(
        tmp_path / "m.obm",
        lambda params, x: x @ params["w"] + params["b"],
        params,
        "b, 4",
        platforms=["cpu"],
        weights_format="safetensors",
        constraints=["b >= 8", "mod(b, 4) == 0"],
    )
    return tmp_path / "m.obm"


def test_a_bundle_that_loads_has_no_problem_and_says_what_it_takes(linear):
    found = diagnose(linear)
    by_name = {check.name: check for check in found.checks}
    assert found.ok, found.checks
    assert by_name["platform"].found == "cpu here; made for cpu"
    # 48 + 12 bytes of weights; 8 rows of 4 floats in and of 3 floats out.
    assert "weights 60 B" in by_name["memory"].found
    assert "arguments 128 B, results 96 B" in by_name["memory"].found


def test_symbolic_sizes_are_the_smallest_allowed_or_those_given(linear):
    assert checks(linear)["programs"].found == "compiled: serving_default with b=8"
    found = checks(linear, sizes={"b": 64})
    assert found["programs"].found == "compiled: serving_default with b=64"
    assert "arguments 1.0 kB" in found["memory"].found


def test_a_size_that_breaks_a_constraint_is_misuse_in_its_words(linear):
    said = r"expected sizes with mod\(b, 4\) == 0; found b=9; choose other sizes"
    with pytest.raises(SignatureMismatchError, match=said):
        diagnose(linear, sizes={"b": 9})


def test_names_that_do_not_exist_are_misuse(linear, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'serving_default'"):
        diagnose(linear, function="serving_defualt")
    with pytest.raises(UnknownNameError, match="no symbolic dimension 'batch'"):
        diagnose(linear, sizes={"batch": 8})
    with pytest.raises(ObmError, match="check the path"):
        diagnose(tmp_path / "nowhere.obm")


def test_a_bundle_for_another_platform_does_not_run_here(tmp_path):
    obm.pack(tmp_path / "m.obm", lambda x: 2 * x, None, "b", platforms=["cuda"])
    found = checks(tmp_path / "m.obm")
    assert found["platform"].verdict == "problem"
    assert found["platform"].found == "cpu here; serving_default made for cuda only"
    assert "platforms=('cpu', ...)" in found["platform"].advice
    assert 'pip install "jax[cuda13]"' in found["platform"].advice
    assert found["programs"].verdict == "unknown"


def test_a_platform_that_is_not_here_is_a_problem(linear):
    found = checks(linear, platform="tpu")
    assert found["jax"].verdict == "problem"
    assert 'pip install "jax[tpu]"' in found["jax"].advice
    assert "--platform" in found["jax"].advice
    assert found["programs"].verdict == "unknown"


def test_a_gpu_that_jax_does_not_see_is_no_fault_of_the_bundle(linear, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = checks(linear, platform="cuda")["jax"]
    assert found.verdict == "problem"
    assert (
        found.found == "expected a JAX that starts on 'cuda'; found no such device on this machine"
    )
    assert found.advice.startswith('pip install "jax[cuda13]"')


def test_the_platform_of_the_environment_is_named(linear, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    found = checks(linear)["jax"]
    assert "starts on 'tpu'" in found.found
    assert found.advice.startswith('pip install "jax[tpu]"')


@pytest.fixture
def calling(tmp_path) -> Path:
    import jax

    from orbax_model_lite import jax2obm

    def apply(x):
        return jax.ffi.ffi_call("my_kernel", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    function = jax2obm.convert(
        apply, ("4",), platforms=["cpu"], disabled_checks=["custom_call:my_kernel"]
    )
    core.save({"f": function}, tmp_path / "m.obm")
    return tmp_path / "m.obm"


def test_a_custom_call_that_nobody_granted_is_a_problem_and_is_not_compiled(calling):
    found = checks(calling)
    assert found["custom calls"].verdict == "problem"
    assert "my_kernel" in found["custom calls"].found
    assert "trust=Trust(custom_calls={'my_kernel'})" in found["custom calls"].advice
    assert "--trust-custom-call my_kernel" in found["custom calls"].advice
    assert found["programs"].verdict == "unknown"


def test_a_custom_call_that_was_granted_and_is_nowhere_registered_is_left_open(calling):
    found = checks(calling, trust=obm.Trust(custom_calls={"my_kernel"}))
    assert found["custom calls"].verdict == "unknown"
    assert "f calls my_kernel, which a new process does not have" in found["custom calls"].found
    assert "register" in found["custom calls"].advice


def test_a_custom_call_that_jax_guarantees_is_fine(tmp_path):
    import jax.numpy as jnp

    x = np.eye(3, dtype=np.float32)
    obm.pack(tmp_path / "m.obm", lambda x: jnp.linalg.qr(x)[0], None, x, platforms=["cpu"])
    found = checks(tmp_path / "m.obm")
    assert found["custom calls"].verdict == "ok"
    assert "lapack_sgeqrf_ffi" in found["custom calls"].found
    assert found["programs"].verdict == "ok"


def test_weights_larger_than_memory_are_a_problem_in_numbers_and_are_never_read(tmp_path):
    path = tmp_path / "m.obm"
    rows = 50_000_000_000
    declare(path, rows)
    found = checks(path)
    assert found["weights"].verdict == "ok"
    assert found["programs"].verdict == "ok"
    assert found["memory"].verdict == "problem"
    assert "weights 200.0 GB" in found["memory"].found
    assert "too little" in found["memory"].found


def declare(path: Path, rows: int) -> None:
    """Writes a bundle with weights of float32 [rows], all of it a hole in the file."""
    import jax

    from orbax_model_lite import jax2obm

    struct = jax.ShapeDtypeStruct((rows,), np.float32)
    function = jax2obm.convert(
        lambda params, x: params["w"][:3] + x, ({"w": struct}, "3"), platforms=["cpu"]
    )
    path.mkdir()
    file = path / "weights.safetensors"
    file.write_bytes(b"replaced below")
    record = obm.orchestration.orchestration(model_function_name="f", weights_name="weights")
    core.save(
        {"f": function, "weights": core.convert_path_to_value(file.name, "safetensors")},
        path,
        core.SaveOptions(
            supplemental_info={"orchestration": core.GlobalSupplemental(record, "o.pb")}
        ),
    )
    # Digesting the hole would take minutes.
    (path / layout.INTEGRITY_FILE).unlink()
    header = json.dumps({"w": {"dtype": "F32", "shape": [rows], "data_offsets": [0, 4 * rows]}})
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header.encode())
        stream.truncate(8 + len(header) + 4 * rows)


def test_weights_that_the_program_does_not_take_are_a_problem(linear):
    file = linear / "weights.safetensors"
    size = int.from_bytes(file.read_bytes()[:8], "little")
    content = file.read_bytes()
    header = content[8 : 8 + size].replace(b"[4,3]", b"[3,4]").replace(b"[4, 3]", b"[3, 4]")
    file.write_bytes(content[:8] + header + content[8 + size :])
    (linear / layout.INTEGRITY_FILE).unlink()
    found = checks(linear)["weights"]
    assert found.verdict == "problem"
    assert "w is float32 [3, 4], not float32 [4, 3]" in found.found


def test_weights_that_no_pipeline_binds_are_compared_with_nothing():
    found = checks(CORPUS / "checkpoint_weights/model")
    assert "weights" not in found
    assert found["weights reader"].verdict == "ok"


def test_without_jax_the_rest_is_judged_all_the_same(linear):
    found = checks(linear, machine=without("jax", "jaxlib"))
    assert found["jax"].verdict == "problem"
    assert found["extras"].advice == 'pip install "orbax-model-lite[jax]"'
    for name in ("platform", "devices", "modules", "custom calls", "programs", "memory"):
        assert found[name].verdict == "unknown", name
    assert "weights 60 B" in found["memory"].found


def test_without_tensorflow_its_operations_are_judged_all_the_same():
    found = checks(CORPUS / "tf_pre_post/model", machine=without("tensorflow"))
    assert found["tensorflow"].verdict == "problem"
    assert found["tensorflow"].found == "not installed; needed by pre, post"
    assert found["extras"].advice == 'pip install "orbax-model-lite[tf]"'
    assert found["tf operations"].verdict == "ok"


def test_a_function_alone_needs_less_than_the_whole(tmp_path):
    found = checks(CORPUS / "tf_pre_post/model", function="model", machine=without("tensorflow"))
    assert found["tensorflow"].found == "not needed"
    assert found["extras"].verdict == "ok"


def test_an_operation_that_writes_a_file_is_a_problem_that_names_it():
    path = CORPUS / "broken/must_refuse/processor_writes_a_file"
    found = checks(path, machine=without("tensorflow"))["tf operations"]
    assert found.verdict == "problem"
    assert "WriteFile" in found.found
    assert "trust" in found.advice.lower()


def test_64_bit_types_are_mentioned():
    path = CORPUS / "dtypes_x64/model"
    found = checks(path, function="f_float64")
    assert found["64-bit types"].verdict == "ok"
    assert "float64" in found["64-bit types"].found
    assert found["programs"].verdict == "ok"


def test_a_constraint_that_only_the_module_knows_is_met():
    found = checks(CORPUS / "symbolic_shapes/model", function="f_bt")["programs"]
    assert found.found == "compiled: f_bt with b=1, t=2"


def test_digests_are_compared_only_when_that_is_asked_for(linear):
    file = linear / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert checks(linear, machine=without("jax"))["bundle"].verdict == "ok"
    found = checks(linear, machine=without("jax"), with_digests=True)["bundle"]
    assert found.verdict == "problem"
    assert "changed or damaged" in found.found


def test_a_file_that_cannot_be_read_is_a_problem(linear, monkeypatch):
    opened = Path.open

    def refuse(self: Path, *args, **kwargs):
        if self.name == "weights.safetensors":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    found = checks(linear, machine=without("jax"))["files"]
    assert found.verdict == "problem"
    assert found.found == "cannot be read: weights.safetensors"
    assert "permissions" in found.advice


def test_tensorflow_functions_without_their_saved_model_are_a_problem(tmp_path):
    spec = core.Spec(shape=(None,), dtype=core.DType.FLOAT32)
    function = core.OpaqueFunction(
        signature=core.Signature.of_call((spec,), {}, spec),
        body=core.Data(content=b"", mime_type=layout.MIME_TF_FUNCTION, version="0.0.1"),
    )
    core.save({"f": function}, tmp_path / "m.obm")
    found = checks(tmp_path / "m.obm")["tf operations"]
    assert found.verdict == "problem"
    assert "found none" in found.found


def test_a_function_of_an_unknown_kind_is_a_problem(tmp_path):
    function = core.OpaqueFunction(
        signature=core.Signature.of_call((), {}, None),
        body=core.Data(content=b"", mime_type="application/x.of-nobody"),
    )
    core.save({"f": function}, tmp_path / "m.obm")
    found = checks(tmp_path / "m.obm")["engine"]
    assert found.verdict == "problem"
    assert "application/x.of-nobody" in found.found


@pytest.fixture
def child(monkeypatch) -> Callable[[str], None]:
    """Returns a function that runs code in the child after JAX has started, before the programs."""

    def change(code: str) -> None:
        start = (
            "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\n"
            "from orbax_model_lite.runtime.diagnosis import answers\n"
            f"def program(bundle, where, *rest):\n    {code}\n"
            "honest, answers._program = answers._program, program\n"
            "from orbax_model_lite.runtime.isolation_child import answer\n"
            "answer(sys.argv[2])\n"
        )
        monkeypatch.setattr(isolating, "_CHILD", start)

    return change


def test_a_program_that_ends_its_process_is_named_and_the_others_are_judged(child, tmp_path):
    child(
        "import os, signal\n"
        "    if \"'bad'\" in where: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return honest(bundle, where, *rest)"
    )
    from orbax_model_lite import jax2obm

    good = jax2obm.convert(lambda x: 2 * x, ("3",), platforms=["cpu"])
    core.save({"bad": good, "good": good}, tmp_path / "m.obm")
    found = checks(tmp_path / "m.obm")
    assert found["programs"].verdict == "problem"
    assert found["programs"].found.startswith("bad: ")
    assert "SIGSEGV" in found["programs"].found
    assert found["platform"].verdict == "ok"
    assert found["modules"].verdict == "ok"
    assert "good: arguments 12 B" in found["memory"].found


def test_a_program_that_wants_more_memory_than_granted_is_unknown(child, linear):
    child("return {'taken': len(bytes(10**10))}")
    found = checks(linear, isolation=Isolation(memory_bytes=2 * 2**30))
    assert found["programs"].verdict == "unknown"
    assert "MemoryError" in found["programs"].found
    assert "allow more memory" in found["programs"].advice
