"""Weights by their headers: what is listed, and what only the arrays could tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.inspection import ListedArray, describe, list_weights

CHECKPOINT = Path(__file__).parent.parent / "corpus/checkpoint_weights/model"


def saved(folder: Path, header: dict, size_bytes: int) -> core.Bundle:
    folder.mkdir()
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(size_bytes)
    (folder / "weights.safetensors").write_bytes(content)
    core.save({"w": core.convert_path_to_value("weights.safetensors", "safetensors")}, folder)
    return core.read(folder)


def listed(bundle: core.Bundle) -> list[ListedArray]:
    value = bundle.values["w"]
    assert isinstance(value, core.ExternalValue)
    return list_weights(bundle, "w", value)


def test_an_array_is_told_by_the_header_alone(tmp_path):
    header = {"a.b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}
    assert listed(saved(tmp_path / "m", header, 12)) == [
        ListedArray(name="a.b", dtype="bfloat16", shape=(2, 3), size_bytes=12)
    ]


def test_packed_types_are_listed_with_their_problem(tmp_path):
    header = {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}
    (array,) = listed(saved(tmp_path / "m", header, 2))
    assert array.dtype is None
    assert "several to a byte" in array.problem


@pytest.mark.parametrize("missing_bytes", [1, 12])
def test_a_file_that_is_too_short_is_damaged(missing_bytes, tmp_path):
    header = {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}
    with pytest.raises(InvalidBundleError, match="damaged or was not saved completely"):
        listed(saved(tmp_path / "m", header, 12 - missing_bytes))


def test_a_checkpoint_of_the_original_has_names_and_no_types():
    (found,) = [w for w in describe(CHECKPOINT).weights if w.name == "weights"]
    assert found.format == "Orbax checkpoint"
    assert found.array_count == found.unknown_count == 3
    assert found.disk_bytes > 0


def test_a_value_outside_of_the_bundle_is_described_by_its_problem():
    (found,) = [w for w in describe(CHECKPOINT).weights if w.name == "abs_weights"]
    assert "is outside the bundle" in found.problem


def test_data_of_another_format_is_not_listed(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/table.csv").write_text("1,2")
    core.save({"w": core.convert_path_to_value("table.csv", "text/csv")}, tmp_path / "m")
    with pytest.raises(UnsupportedError, match="'text/csv'"):
        listed(core.read(tmp_path / "m"))
