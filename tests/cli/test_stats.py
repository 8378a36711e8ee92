"""`obm show --weights --stats`: snapshots, JSON, and what damage comes to."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from orbax_model_lite import core

CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.fixture
def weighed(tmp_path, monkeypatch) -> Path:
    """Returns a bundle whose weights are not all finite."""
    monkeypatch.chdir(tmp_path)
    arrays = {
        "embed.table": np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4),
        "norm.scale": np.array([1.0, math.nan, math.inf, 2.5], np.float32),
        "step": np.array(2**53 + 1, np.int64),
    }
    header, content = {}, b""
    for name, array in arrays.items():
        begin = len(content)
        content += array.tobytes()
        code = {"float32": "F32", "int64": "I64"}[array.dtype.name]
        offsets = [begin, len(content)]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    path = Path("numbers.obm")
    path.mkdir()
    file = path / "weights.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + content)
    core.save({"params": core.convert_path_to_value(file.name, "safetensors")}, path)
    return path


@pytest.mark.parametrize("columns", [80, 120])
def test_statistics_look_as_they_did_when_they_were_last_reviewed(
    columns, obm, weighed, golden_text
):
    said = obm("show", weighed, "--weights", "--stats", columns=columns)
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= columns
    golden_text(f"show_stats_{columns}.txt", said.out)


def test_json_has_exact_whole_numbers_and_no_nan(obm, weighed):
    found = obm("show", weighed, "--weights", "--stats", "--json").json["params"]
    by_name = {array["name"]: array for array in found}
    assert by_name["step"]["minimum"] == by_name["step"]["maximum"] == 2**53 + 1
    scale = by_name["norm.scale"]
    assert (scale["nan_count"], scale["inf_count"], scale["mean"]) == (1, 1, 1.75)


def test_a_pattern_chooses_what_is_read(obm, weighed):
    found = obm("show", weighed, "--weights", "norm.*", "--stats", "--json").json
    assert [array["name"] for array in found["params"]] == ["norm.scale"]


def test_numbers_that_are_not_finite_are_no_finding(obm, weighed):
    assert obm("show", weighed, "--weights", "--stats", "--quiet").code == 0


def test_weights_that_are_cut_short_are_a_finding(obm, weighed):
    file = weighed / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    said = obm("show", weighed, "--weights", "--stats")
    assert said.code == 1
    assert said.err.startswith("obm: weights 'params': expected 325 bytes; found 322;")


def test_statistics_of_nothing_in_particular_are_misuse(obm, weighed):
    said = obm("show", weighed, "--stats")
    assert said.code == 2
    assert "--stats means nothing without --weights" in said.err


def test_a_bundle_without_weights_says_so(obm, tmp_path):
    core.save({"all": core.TupleValue(elements=())}, tmp_path / "m.obm")
    said = obm("show", tmp_path / "m.obm", "--weights", "--stats")
    assert (said.code, said.out) == (0, "this bundle has no weights\n")


@pytest.mark.frameworks
def test_a_checkpoint_of_the_original_has_types_once_it_is_read(obm):
    said = obm("show", CORPUS / "tf_pre_post/model", "--weights", "--stats", "--json")
    found = {array["name"]: (array["dtype"], array["shape"]) for array in said.json["weights"]}
    assert found == {"b": ("float32", [3]), "w": ("float32", [6, 3])}


@pytest.mark.frameworks
def test_a_damaged_chunk_of_a_checkpoint_is_a_finding(obm, tmp_path):
    shutil.copytree(CORPUS / "tf_pre_post/model", tmp_path / "m")
    for file in (tmp_path / "m/checkpoint").rglob("d/*"):
        file.write_bytes(b"\x00" * 7)
    said = obm("show", tmp_path / "m", "--weights", "--stats")
    assert said.code == 1
    assert "the checkpoint is damaged" in said.err
