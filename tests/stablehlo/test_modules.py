"""StableHLO modules: one version, no paths, facts, constants that become weights."""

from __future__ import annotations

import sys
import textwrap
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite import jax2obm
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.stablehlo.custom_calls import GUARANTEED_CUSTOM_CALLS, custom_calls
from orbax_model_lite.stablehlo.facts import facts
from orbax_model_lite.stablehlo.module import parse, text, version_of

pytestmark = pytest.mark.frameworks


def module_of(function, *specs, **options) -> bytes:
    content = jax2obm.convert(function, specs, **({"platforms": ("cpu",)} | options)).module.content
    assert isinstance(content, bytes)
    return content


def test_every_module_is_written_at_one_version():
    assert version_of(module_of(lambda x: jax.lax.top_k(x, 2), "b, 8")) == "1.15.0"


SOURCE = """
    import jax, jax.numpy as jnp
    def helper(x):
        return jnp.tanh(x) @ x.T
    def apply(x):
        return jax.jit(helper)(x) + 1
"""


@pytest.mark.parametrize("is_lowered_before", [False, True], ids=["first", "lowered before"])
def test_no_path_of_the_source_is_in_a_module(tmp_path, monkeypatch, is_lowered_before):
    modules = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"secret_{name}.py").write_text(textwrap.dedent(SOURCE))
        monkeypatch.syspath_prepend(str(folder))
        apply = __import__(f"secret_{name}").apply
        if is_lowered_before:
            jax.jit(apply).lower(np.ones((2, 2), np.float32))
        modules.append(module_of(apply, "b, 4"))
        sys.modules.pop(f"secret_{name}")
    for module in modules:
        assert b"secret_" not in module
        assert str(tmp_path).encode() not in module
        assert str(Path(__file__).parent).encode() not in module
        assert b".py" not in module
    assert modules[0] == modules[1]


def test_names_and_scopes_stay_in_the_locations():
    def apply(params, x):
        with jax.named_scope("encoder"):
            return x @ params["kernel"]

    shown = text(module_of(apply, {"kernel": "4, 4"}, "b, 4"), locations=True)
    assert "encoder" in shown
    assert "kernel" in shown


def test_facts_count_operations_and_custom_calls():
    found = facts(module_of(lambda x: jnp.linalg.eigh(x @ x.T)[0], "3, 3"))
    assert found.operations["stablehlo.dot_general"] >= 1
    assert any("syevd" in target for target in found.custom_calls)
    assert set(found.custom_calls) <= GUARANTEED_CUSTOM_CALLS


def test_the_table_of_custom_calls_covers_what_this_jax_guarantees():
    from jax._src.export import _export

    assert set(_export._CUSTOM_CALL_TARGETS_GUARANTEED_STABLE) <= GUARANTEED_CUSTOM_CALLS


def test_custom_calls_of_text_are_found_in_functions_that_nobody_calls():
    source = """
      func.func public @main(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }
      func.func private @hidden(%x: tensor<f32>) -> tensor<f32> {
        %0 = stablehlo.custom_call @sneaky(%x) : (tensor<f32>) -> tensor<f32>
        return %0 : tensor<f32>
      }
    """
    assert dict(custom_calls(source)) == {"sneaky": 1}
    assert parse(source) is not None


def test_constants_over_a_megabyte_are_named_in_a_warning():
    table = np.arange(400_000, dtype=np.float32)
    with pytest.warns(jax2obm.LargeConstantsWarning, match=r"400000"):
        module_of(lambda i: jnp.asarray(table)[i], "int32[b]")


def test_constants_over_64_megabytes_are_refused_unless_allowed():
    table = np.arange(17_000_000, dtype=np.float32)

    def lookup(i):
        return jnp.asarray(table)[i]

    with pytest.raises(InvalidModelError, match=r"17000000.*hoist_constants"):
        module_of(lookup, "int32[b]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jax2obm.LargeConstantsWarning)
        assert len(module_of(lookup, "int32[b]", allow_large_constants=True)) > 60_000_000


def test_hoisted_constants_become_weights_of_an_equal_function():
    table = np.linspace(0, 1, 3000, dtype=np.float32).reshape(1000, 3)

    def lookup(i, scale):
        def body(carry, _):
            return carry + jnp.take(table, i, axis=0), None

        start = jnp.zeros((i.shape[0], 3))
        return scale * jax.lax.scan(body, start, None, length=2)[0]

    hoisted, constants = jax2obm.hoist_constants(lookup, ("int32[b]", "float32[]"))
    assert [array.shape for array in constants.values()] == [(1000, 3)]
    i, scale = np.array([1, 999], np.int32), np.float32(2)
    np.testing.assert_allclose(hoisted(constants, i, scale), lookup(i, scale), rtol=1e-6)
    converted = jax2obm.convert(hoisted, (constants, "int32[b]", "float32[]"), platforms=("cpu",))
    assert facts(converted.module.content).constant_bytes < 1000
