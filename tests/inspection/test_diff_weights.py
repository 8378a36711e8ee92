"""The weights of two bundles compared: what comes and goes, what changed how much, what is read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite.inspection import ArrayChange, diff
from tests.inspection.conftest import shlo, told, without_digests, write_safetensors


def only_array(before: Path, after: Path, **options: Any) -> ArrayChange:
    (weights,) = diff(before, after, **options).weights
    (array,) = weights.arrays
    return array


def test_arrays_that_come_go_and_change_are_named_and_the_rest_is_counted(make):
    old = {"a": np.ones(2, np.float32), "b": np.ones(2, np.float32), "c": np.zeros(3, np.int8)}
    new = {"a": np.ones(2, np.float32), "b": np.full(2, 3, np.float32), "d": np.ones(4, np.int8)}
    (found,) = diff(make(weights={"w": old}), make(weights={"w": new})).weights
    assert found.unchanged_count == 1
    kinds = {array.name: array.kind for array in found.arrays}
    assert kinds == {"b": "changed", "c": "removed", "d": "added"}


def test_the_norm_of_a_change_is_relative_to_the_old_one(make):
    old, new = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert array.relative_norm == pytest.approx(0.1)
    assert array.changed_count == 1


@pytest.mark.parametrize(
    "dtype",
    [
        "bfloat16",
        "float16",
        "float8_e4m3fn",
        "int4",
        "uint8",
        "int64",
        "uint64",
        "complex64",
        "bool",
    ],
)
def test_values_of_every_type_are_compared(dtype, make):
    old = np.array([1, 1, 0, 1]).astype(core.DType(dtype).numpy)
    new = np.array([1, 0, 0, 1]).astype(core.DType(dtype).numpy)
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert array.changed_count == 1
    assert array.relative_norm == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize(("old", "new"), [(2**62, 2**62 + 1), (-(2**63), 2**63 - 1)])
def test_whole_numbers_are_subtracted_exactly(old, new, make):
    one, other = (make(weights={"w": {"a": np.array([n], np.int64)}}) for n in (old, new))
    array = only_array(one, other)
    assert array.relative_norm == pytest.approx(abs(new - old) / abs(old), rel=1e-12)


def test_nan_in_the_same_place_is_no_change_and_in_another_it_is(make):
    old = np.array([math.nan, 3.0, 4.0])
    assert diff(
        without_digests(make(weights={"w": {"a": old}})),
        without_digests(make(weights={"w": {"a": old.copy()}})),
    ).is_empty
    new = np.array([math.nan, math.nan, 4.0])
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert (array.changed_count, array.relative_norm) == (1, 0.0)


def test_a_change_from_nothing_but_zeros_has_no_relative_norm(make):
    old, new = np.zeros(3), np.ones(3)
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert (array.changed_count, array.relative_norm) == (3, None)


def test_very_large_values_do_not_overflow(make):
    old, new = np.array([1e300, 1e300]), np.array([1e300, 2e300])
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert array.relative_norm == pytest.approx(1 / math.sqrt(2))


def test_another_type_of_the_same_sizes_has_a_norm_too(make):
    old = np.array([1.0, 1.001], np.float32)
    new = old.astype(ml_dtypes.bfloat16)
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert (array.before, array.after) == ("float32 [2]", "bfloat16 [2]")
    assert array.relative_norm == pytest.approx(0.001 / math.sqrt(2), rel=1e-2)


def test_another_shape_has_no_norm(make):
    old, new = np.ones((2, 3)), np.ones((3, 2))
    array = only_array(make(weights={"w": {"a": old}}), make(weights={"w": {"a": new}}))
    assert (array.before, array.after) == ("float64 [2, 3]", "float64 [3, 2]")
    assert array.changed_count is None


def test_arrays_under_another_name_are_found_by_their_content(make):
    rng = np.random.default_rng(0)
    arrays = {f"Dense_{i}": {"kernel": rng.normal(size=(20, 9))} for i in range(3)}
    renamed = {f"dense.{i}": tree for i, tree in enumerate(arrays.values())}
    (found,) = diff(make(weights={"w": arrays}), make(weights={"w": renamed})).weights
    names = {(array.before_name, array.name, array.kind) for array in found.arrays}
    assert names == {(f"Dense_{i}.kernel", f"dense.{i}.kernel", "renamed") for i in range(3)}


def test_weights_under_another_name_are_compared_all_the_same(make):
    old, new = {"a": np.array([3.0, 4.0])}, {"a": np.array([3.0, 4.5])}
    found = diff(make(weights={"params": old}), make(weights={"weights": new}))
    assert told(found, "weights") == [("weights 'params'", "renamed", False)]
    assert found.weights[0].arrays[0].relative_norm == pytest.approx(0.1)


def test_files_with_the_same_recorded_digests_are_not_read(make):
    tree = {"a": np.arange(1000.0)}
    one = make({"f": shlo()}, weights={"w": tree})
    other = make({"f": shlo(b"ML\xefR-two")}, weights={"w": tree})
    file = other / "w.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (weights,) = diff(one, other).weights
    assert (weights.unchanged_count, weights.has_other_files) == (1, False)


def test_values_are_not_read_where_nobody_asks_for_them(make):
    one = make(weights={"w": {"a": np.ones(2), "b": np.ones(2)}})
    other = make(weights={"w": {"a": np.zeros(2), "c": np.ones(2)}})
    (weights,) = diff(one, other, weights=False).weights
    assert (weights.unread_count, weights.unchanged_count) == (1, 0)
    assert {array.name: array.kind for array in weights.arrays} == {"b": "removed", "c": "added"}


def test_files_that_differ_are_a_change_even_if_nobody_reads_them(make):
    one, other = make(weights={"w": {"a": np.ones(2)}}), make(weights={"w": {"a": np.zeros(2)}})
    found = diff(one, other, weights=False)
    assert not found.is_empty
    assert found.weights[0].has_other_files


def test_keys_are_compared_and_have_no_norm(make, tmp_path):
    paths = []
    for seed in (1, 2):
        folder = tmp_path / f"k{seed}"
        folder.mkdir()
        spec_of_key = core.Spec(shape=(2,), dtype=core.DType.UINT32, logical="key<fry>")
        tree = {"k": np.array([0, seed], np.uint32)}
        write_safetensors(folder / "w.safetensors", tree, {"k": spec_of_key})
        core.save({"w": core.convert_path_to_value("w.safetensors", "safetensors")}, folder)
        paths.append(folder)
    array = only_array(*paths)
    assert (array.changed_count, array.relative_norm) == (1, None)


def test_packed_elements_are_not_compared_and_the_verdict_says_so(tmp_path):
    for name, content in (("a", b"\x01\x02"), ("b", b"\x01\x03")):
        (tmp_path / name).mkdir()
        header = {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}
        text = json.dumps(header).encode()
        file = tmp_path / name / "w.safetensors"
        file.write_bytes(len(text).to_bytes(8, "little") + text + content)
        value = core.convert_path_to_value("w.safetensors", "safetensors")
        core.save({"w": value}, tmp_path / name)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.is_inconclusive
    assert "several to a byte" in found.weights[0].arrays[0].problem


def test_data_of_another_format_are_compared_as_files(tmp_path):
    for name, content in (("a", "1,2"), ("b", "1,3"), ("c", "1,2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.csv").write_text(content)
        core.save({"t": core.convert_path_to_value("table.csv", "text/csv")}, tmp_path / name)
    assert diff(tmp_path / "a", tmp_path / "c").is_empty
    found = diff(tmp_path / "a", tmp_path / "b")
    assert not found.is_empty
    assert not found.is_inconclusive


def test_progress_counts_what_both_have(make):
    calls: list[tuple[int, int]] = []
    one, other = make(weights={"w": {"a": np.ones(8)}}), make(weights={"w": {"a": np.zeros(8)}})
    diff(one, other, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (64, 64)
