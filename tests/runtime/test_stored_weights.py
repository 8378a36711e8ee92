"""Weights that are not what a function takes are found by their headers, without a framework."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.runtime.diagnosis.needs import needs_of

pytestmark = pytest.mark.frameworks


def pack(path: Path, params, weights_format: str) -> Path:
    def apply(params, x):
        return x @ params["dense"]["kernel"]

    obm.pack(path, apply, params, "b, 4", weights_format=weights_format, platforms=["cpu"])
    return path


def kernel(*shape: int, dtype=jnp.float32):
    return {"dense": {"kernel": jnp.ones(shape, dtype)}}


def swapped(tmp_path: Path, other, weights_format: str) -> obm.Report:
    """Returns the report of a bundle that got the weights of another one, without digests."""
    place = "weights.safetensors" if weights_format == "safetensors" else "weights"
    ours = pack(tmp_path / "ours", kernel(4, 3), weights_format)
    theirs = pack(tmp_path / "theirs", other, weights_format)
    (ours / place).rename(tmp_path / "before")
    (theirs / place).rename(ours / place)
    (ours / "integrity.pb").unlink()
    return obm.verify(ours)


def errors(report: obm.Report) -> list[str]:
    return [f"{f.where}: {f.message}" for f in report.findings if f.severity == "error"]


@pytest.mark.parametrize("weights_format", ["safetensors", "orbax"])
def test_the_very_weights_are_no_finding(tmp_path, weights_format):
    assert obm.verify(pack(tmp_path / "m", kernel(4, 3), weights_format)).ok


@pytest.mark.parametrize("weights_format", ["safetensors", "orbax"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (kernel(4, 5), r"of another kind: dense.kernel is float32 \[4, 5\], not float32 \[4, 3\]"),
        (kernel(4, 3, dtype=jnp.bfloat16), "dense.kernel is bfloat16"),
        (kernel(4, 3) | {"extra": jnp.ones(2)}, "left over: extra"),
    ],
    ids=["shape", "dtype", "extra"],
)
def test_other_weights_are_said_by_key_path(tmp_path, other, said, weights_format):
    (message,) = errors(swapped(tmp_path, other, weights_format))
    assert message.startswith("weights 'weights' of function 'serving_default': headers: expected ")
    assert re.search(said, message)


def test_a_function_that_says_what_it_needs_leaves_the_rest(tmp_path):
    params = kernel(4, 3) | {"head": jnp.ones((3, 2))}

    def part(params, x):
        return x @ params["dense"]["kernel"]

    path = tmp_path / "m"
    obm.pack(path, part, params, "b, 4", weights_format="safetensors", platforms=["cpu"])
    assert obm.verify(path).ok


def test_it_takes_no_framework(tmp_path):
    path = pack(tmp_path / "m", kernel(4, 3), "safetensors")
    code = (
        "import sys, orbax_model_lite as obm\n"
        f"assert obm.verify({str(path)!r}).ok\n"
        "print(sorted({'jax', 'tensorflow', 'orbax', 'tensorstore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_damaged_header_is_a_finding(tmp_path):
    path = pack(tmp_path / "m", kernel(4, 3), "safetensors")
    file = path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    (path / "integrity.pb").unlink()
    (message,) = errors(obm.verify(path))
    assert message.startswith("weights 'weights': header: expected ")
    assert "damaged" in message


def test_tuples_that_unfold_without_end_are_refused_and_not_unfolded(tmp_path):
    path = pack(tmp_path / "m", kernel(4, 3), "safetensors")
    manifest = path / layout.MANIFEST_FILE
    proto = manifest_pb2.Manifest.FromString(manifest.read_bytes())
    proto.objects["t0"].CopyFrom(proto.objects.pop("weights"))
    for i in range(1, 60):
        proto.objects[f"t{i}"].value.tuple.elements.extend([f"t{i - 1}", f"t{i - 1}"])
    proto.objects["weights"].value.tuple.elements.append("t59")
    manifest.write_bytes(proto.SerializeToString())
    (path / layout.INTEGRITY_FILE).unlink()
    (message,) = errors(obm.verify(path))
    assert "expected tuples of at most" in message
    with obm.load(path) as model, pytest.raises(InvalidBundleError, match="tuples of at most"):
        _ = model.weights["weights"]
    assert list(needs_of(core.read(path)).weights) == ["t0"]
