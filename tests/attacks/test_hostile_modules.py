"""StableHLO modules of strangers: damaged ones, and custom calls that are hard to see."""

from __future__ import annotations

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError, UntrustedError
from orbax_model_lite.runtime.trust import Trust, require_module

pytestmark = pytest.mark.frameworks

PLAIN = "func.func public @main(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }"
CALL = "%y = stablehlo.custom_call @read_my_files(%x) : (tensor<f32>) -> tensor<f32>"
HIDDEN = {
    "in a function that nobody calls": f"""
        {PLAIN}
        func.func private @other(%x: tensor<f32>) -> tensor<f32> {{
          {CALL}
          return %y : tensor<f32>
        }}""",
    "in the decomposition of a composite": f"""
        func.func public @main(%x: tensor<f32>) -> tensor<f32> {{
          %z = stablehlo.composite "obm.harmless" %x {{decomposition = @other}}
            : (tensor<f32>) -> tensor<f32>
          return %z : tensor<f32>
        }}
        func.func private @other(%x: tensor<f32>) -> tensor<f32> {{
          {CALL}
          return %y : tensor<f32>
        }}""",
    "in a branch within a loop": f"""
        func.func public @main(%x: tensor<f32>, %i: tensor<i32>) -> tensor<f32> {{
          %r = stablehlo.while(%a = %x) : tensor<f32>
            cond {{
              %c = stablehlo.constant dense<false> : tensor<i1>
              stablehlo.return %c : tensor<i1>
            }} do {{
              %b = "stablehlo.case"(%i) ({{
                {CALL}
                stablehlo.return %y : tensor<f32>
              }}) : (tensor<i32>) -> tensor<f32>
              stablehlo.return %b : tensor<f32>
            }}
          return %r : tensor<f32>
        }}""",
}


def artifact(text: str) -> bytes:
    """Returns the portable artifact of a module's text."""
    from orbax_model_lite.stablehlo import module

    return module.serialize(module.parse(text))


@pytest.fixture
def bundle(tmp_path):
    """Returns a bundle of one JAX function, without digests."""
    obm.pack(tmp_path / "m", lambda x: 2 * x, None, "b", platforms=["cpu"])
    (tmp_path / "m" / layout.INTEGRITY_FILE).unlink()
    return tmp_path / "m"


@pytest.mark.parametrize("place", HIDDEN)
def test_a_custom_call_is_refused_wherever_it_is(place):
    content = artifact(HIDDEN[place])
    with pytest.raises(UntrustedError, match="read_my_files"):
        require_module("f", content, Trust())
    require_module("f", content, Trust(custom_calls={"read_my_files"}))


@pytest.mark.parametrize("target", ["tpu_custom_call", "mosaic_gpu_v2", "tf.call_tf_function"])
def test_a_kernel_or_graph_that_a_module_brings_along_is_refused_unless_granted(target):
    call = CALL.replace("read_my_files", f'"{target}"')
    content = artifact(HIDDEN["in a function that nobody calls"].replace(CALL, call))
    grant = rf"brings along.*trust=Trust\(custom_calls={{'{target}'}}\)"
    with pytest.raises(UntrustedError, match=grant):
        require_module("f", content, Trust())
    require_module("f", content, Trust(custom_calls={target}))


def test_a_module_without_custom_calls_passes():
    require_module("f", artifact(PLAIN), Trust())


def test_a_module_that_is_cut_off_anywhere_is_refused():
    content = artifact(HIDDEN["in a branch within a loop"])
    for length in range(0, len(content), 7):
        with pytest.raises(InvalidBundleError):
            require_module("f", content[:length], Trust())


@pytest.mark.parametrize(
    "content",
    [b"", b"ML\xefR", b"\x00" * 100, PLAIN.encode()],
    ids=["empty", "magic", "zeros", "text"],
)
def test_what_is_no_portable_artifact_is_refused(bundle, content):
    (bundle / "serving_default.shlo").write_bytes(content)
    with obm.load(bundle) as model, pytest.raises(InvalidBundleError, match="serving_default"):
        model(np.ones(2, np.float32))


def test_a_module_of_a_newer_stablehlo_is_refused_by_its_version(bundle):
    file = bundle / "serving_default.shlo"
    newer = file.read_bytes().replace(b"StableHLO_v1.15.0", b"StableHLO_v9.15.0")
    file.write_bytes(newer)
    with obm.load(bundle) as model, pytest.raises(UnsupportedError, match=r"9\.15\.0"):
        model(np.ones(2, np.float32))


def test_the_table_of_custom_calls_has_what_jax_promises_and_annotations_of_older_modules():
    # JAX has no public name for its list; the test is where a change of it is noticed.
    from jax._src.export import _export

    from orbax_model_lite.stablehlo.custom_calls import GUARANTEED_CUSTOM_CALLS

    promised = set(_export._CUSTOM_CALL_TARGETS_GUARANTEED_STABLE)
    assert promised <= GUARANTEED_CUSTOM_CALLS
    more = GUARANTEED_CUSTOM_CALLS - promised
    assert {name.rpartition(".")[0] for name in more} <= {"xla.sdy"}
