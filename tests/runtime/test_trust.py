"""The gates: programs of a bundle that want more than they were granted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.errors import ObmError, UntrustedError

pytestmark = pytest.mark.frameworks


@pytest.fixture
def bundle_with_custom_call(tmp_path):
    import jax

    from orbax_model_lite import jax2obm

    def evil(x):
        return jax.ffi.ffi_call("read_my_files", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)

    function = jax2obm.convert(
        evil, ("4",), platforms=["cpu"], disabled_checks=["custom_call:read_my_files"]
    )
    core.save({"evil": function}, tmp_path / "m")
    return tmp_path / "m"


def test_a_custom_call_outside_of_jaxs_list_is_refused_by_name(bundle_with_custom_call):
    model = obm.load(bundle_with_custom_call)
    with pytest.raises(UntrustedError) as caught:
        model.functions["evil"]
    message = str(caught.value)
    assert "'evil'" in message
    assert "read_my_files" in message
    assert "trust=Trust(custom_calls={'read_my_files'})" in message


def test_a_granted_custom_call_passes_the_gate(bundle_with_custom_call):
    trust = obm.Trust(custom_calls={"read_my_files"})
    function = obm.load(bundle_with_custom_call, trust=trust).functions["evil"]
    # It is not registered here, so XLA has the last word.
    with pytest.raises(Exception, match="read_my_files") as caught:
        function(np.zeros(4, np.float32))
    assert not isinstance(caught.value, UntrustedError)


def test_a_lone_string_is_not_taken_for_a_set_of_names():
    with pytest.raises(TypeError, match="set of names"):
        obm.Trust(custom_calls="read_my_files")


def test_a_changed_program_file_is_refused_before_it_is_parsed(tmp_path):
    obm.pack(tmp_path / "m", lambda x: x, None, "b", platforms=["cpu"])
    program = tmp_path / "m" / "serving_default.shlo"
    program.write_bytes(program.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ObmError, match=r"serving_default\.shlo"):
        obm.load(tmp_path / "m")(np.zeros(2, np.float32))


def test_a_program_that_is_to_run_without_jax_says_that_it_needs_jax(tmp_path):
    obm.pack(tmp_path / "m", lambda x: x, None, "b", platforms=["cpu"])
    code = (
        "import sys\n"
        "sys.modules.update(jax=None, jaxlib=None)\n"
        "from orbax_model_lite.cli import main\n"
        f"sys.exit(main(['run', {str(tmp_path / 'm')!r}, '--random']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 3
    assert "running function 'serving_default' needs jax, which is not installed" in done.stderr
    assert 'pip install "orbax-model-lite[jax]"' in done.stderr
