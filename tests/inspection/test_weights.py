"""Weights by their headers: what is listed, and what only the arrays could tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.inspection import ListedArray, describe, list_weights
from orbax_model_lite.inspection.wording import size_text
from orbax_model_lite.jax2obm.checkpoint.folder import CheckpointFolder
from orbax_model_lite.jax2obm.checkpoint.zarr_headers import recorded_spec
from orbax_model_lite.jax2obm.weights.stored import StoredArray
from tests.inspection.conftest import with_foreign_checkpoint

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


def test_sizes_beyond_any_memory_are_listed_with_their_problem(tmp_path):
    bundle = with_foreign_checkpoint(tmp_path, [2**62] * 60)
    (array,) = listed(bundle)
    assert (array.shape, array.size_bytes) == (None, None)
    assert "more elements than any memory has" in array.problem
    (about,) = describe(bundle).weights
    assert about.unknown_count == 1


@pytest.mark.parametrize("size", [2**63, 10**400])
def test_a_size_that_no_library_can_count_is_damage(size, tmp_path):
    header = tmp_path / "a" / ".zarray"
    header.parent.mkdir()
    header.write_text(json.dumps({"shape": [size], "dtype": "<f4"}))
    folder = CheckpointFolder(
        path=tmp_path,
        tree={},
        is_ours=False,
        is_ocdbt=False,
        is_zarr3=False,
        has_all_chunks=False,
        key_types={},
    )
    with pytest.raises(InvalidBundleError, match="shape and type"):
        recorded_spec(folder, StoredArray(path=("a",), name="a"))


@pytest.mark.parametrize("size_bytes", [10**21, 10**400])
def test_a_size_of_no_machine_has_a_text(size_bytes):
    assert size_text(size_bytes) == "over 1,000,000 PB"


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
