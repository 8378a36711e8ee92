"""`obm diff`: snapshots at two widths, its JSON, its exit codes, and damage on either side."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.core.module_facts import ModuleFacts

CORPUS = Path(__file__).parent.parent / "corpus"


def spec(*shape, dtype: core.DType = core.DType.FLOAT32) -> core.Spec:
    return core.Spec(shape=shape, dtype=dtype)


def write_weights(path: Path, arrays: dict[str, np.ndarray]) -> None:
    header, content = {}, b""
    for name, array in arrays.items():
        begin = len(content)
        content += array.tobytes()
        header[name] = {
            "dtype": {"float32": "F32", "float16": "F16"}[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, len(content)],
        }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def write_bundle(path: Path, objects, arrays, version: str) -> Path:
    path.mkdir()
    write_weights(path / "weights.safetensors", arrays)
    objects = {
        **objects,
        "params": core.convert_path_to_value("weights.safetensors", "safetensors"),
    }
    metadata = core.Metadata(name="words", version=version, framework_versions={"jax": "0.10.2"})
    record = core.GlobalSupplemental(metadata.to_data(), None)
    core.save(objects, path, core.SaveOptions(supplemental_info={layout.KEY_METADATA: record}))
    return path


def function(
    content: bytes, operations: dict[str, int], call: str = "old_call", **changes
) -> core.ShloFunction:
    data = ModuleFacts(operations=operations, custom_calls={call: 1}).to_data()
    found = core.ShloFunction(
        signature=core.Signature.of_call((spec(8, 4),), {}, {"logits": spec(8, 3)}),
        module=core.Data(content=content, mime_type=layout.MIME_STABLEHLO, version="1.0"),
        calling_convention_version=10,
        platforms=("cpu", "cuda"),
        kept_inputs=(0,),
        supplementals={
            layout.KEY_MODULE_FACTS: core.FunctionSupplemental(data=data, extension="pb")
        },
    )
    return replace(found, **changes)


@pytest.fixture
def pair(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Returns two versions of a bundle, as relative paths."""
    monkeypatch.chdir(tmp_path)
    ones = np.ones((4, 3), np.float32)
    rest = {f"layer_{i}.bias": np.full(3, i, np.float32) for i in range(3)}
    before = write_bundle(
        Path("v1.obm"),
        {
            "embed": function(b"ML\xefR-one", {"stablehlo.add": 1, "stablehlo.dot_general": 2}),
            "tokens": function(b"ML\xefR-tokens", {}),
        },
        {"embed.kernel": ones, "embed.scale": ones, "old_head": ones * 3, "gone": ones * 5, **rest},
        "1",
    )
    wider = core.Signature.of_call(
        (spec("b", 4),), {}, {"logits": spec("b", 3), "best": spec("b", dtype=core.DType.INT32)}
    )
    facts = {"stablehlo.add": 3, "stablehlo.reduce": 1}
    after = write_bundle(
        Path("v2.obm"),
        {
            "embed": function(
                b"ML\xefR-two", facts, "new_call", signature=wider, platforms=("cpu", "tpu")
            )
        },
        {
            "embed.kernel": ones * np.float32(1.25),
            "embed.scale": ones.astype(np.float16),
            "head": ones * 3,
            **rest,
        },
        "2",
    )
    return before, after


@pytest.fixture
def compatible(pair) -> tuple[Path, Path]:
    """Returns two versions of a bundle that differ in the values of weights alone."""
    ones = np.ones(3, np.float32)
    objects = {"f": function(b"ML\xefR-one", {})}
    return (
        write_bundle(Path("c1.obm"), objects, {"a": ones}, "1"),
        write_bundle(Path("c2.obm"), objects, {"a": ones * 2}, "1"),
    )


@pytest.mark.parametrize("columns", [80, 120])
def test_a_difference_looks_as_it_did_when_it_was_last_reviewed(columns, obm, pair, golden_text):
    said = obm("diff", *pair, columns=columns)
    assert (said.code, said.err) == (0, "")
    golden_text(f"diff_{columns}.txt", re.sub(r"\b[0-9a-f]{12}\b", "(digest)", said.out))


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns, obm, pair):
    assert max(map(len, obm("diff", *pair, columns=columns).out.splitlines())) <= columns


def test_the_same_bundle_has_no_difference(obm, pair):
    said = obm("diff", pair[0], pair[0], "--fail-on", "any")
    assert (said.code, said.out) == (0, "v1.obm -> v1.obm: no difference\n")


def test_json_has_everything(obm, pair):
    found = obm("diff", *pair, "--json").json
    assert found["breaking_count"] == 2
    assert {change["where"] for change in found["changes"] if change["is_breaking"]} == {
        "function 'tokens'",
        "function 'embed'",
    }
    (weights,) = found["weights"]
    arrays = {array["name"]: array for array in weights["arrays"]}
    assert arrays["embed.kernel"]["relative_norm"] == 0.25
    assert arrays["head"]["before_name"] == "old_head"
    assert weights["unchanged_count"] == 3


@pytest.mark.parametrize("fail_on", [(), ("--fail-on", "breaking"), ("--fail-on", "any")])
def test_quiet_prints_nothing(fail_on, obm, pair):
    said = obm("diff", *pair, "--quiet", *fail_on)
    assert (said.code, said.out, said.err) == (1 if fail_on else 0, "", "")


@pytest.mark.parametrize(
    ("fail_on", "code"), [((), 0), (("--fail-on", "breaking"), 0), (("--fail-on", "any"), 1)]
)
def test_a_difference_that_breaks_nobody_fails_only_when_asked_to(fail_on, code, obm, compatible):
    assert obm("diff", *compatible, *fail_on).code == code


def test_values_that_are_not_compared_are_told(obm, compatible):
    out = obm("diff", *compatible, "--no-values").out
    assert "weights params: 1 of the same type and size, in files that differ" in out


def test_without_digests_and_values_the_verdict_leaves_values_aside(obm, compatible):
    for path in compatible:
        (path / layout.INTEGRITY_FILE).unlink()
    said = obm("diff", *compatible, "--no-values")
    assert said.out == "c1.obm -> c2.obm: no difference, values of weights aside\n"


def test_another_reason_to_fail_is_misuse(obm, pair):
    assert obm("diff", *pair, "--fail-on", "some").code == 2


@pytest.mark.parametrize("place", [0, 1])
def test_a_path_that_does_not_exist_is_misuse(place, obm, pair):
    paths = list(pair)
    paths[place] = Path("nowhere.obm")
    said = obm("diff", *paths)
    assert said.code == 2
    assert said.err.startswith(f"obm: {('before', 'after')[place]}: bundle 'nowhere.obm'")


@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_bundle_is_a_finding_that_names_its_side(place, obm, pair):
    (pair[place] / "manifest.pb").write_bytes(b"\xff\xff")
    said = obm("diff", *pair)
    assert said.code == 1
    assert said.err.startswith(f"obm: {('before', 'after')[place]}: bundle 'v{place + 1}.obm'")


@pytest.mark.parametrize("place", [0, 1])
def test_damaged_weights_are_a_finding_and_the_rest_is_shown(place, obm, pair):
    file = pair[place] / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    said = obm("diff", *pair)
    assert said.code == 1
    assert f"not compared: {('before', 'after')[place]}: weights 'params'" in said.out
    assert "breaking" in said.out


def test_a_bundle_from_the_future_is_inconclusive(obm, pair):
    marker = pair[1] / layout.VERSION_FILE
    text = marker.read_text()
    marker.write_text(text.replace("0.0.1", "9.0.0"))
    assert obm("diff", *pair).code == 3


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (CORPUS / "broken").glob("*/*") if p.is_dir()),
    ids=lambda path: path.name,
)
def test_damaged_and_hostile_bundles_end_with_a_message_and_no_traceback(path, obm, pair):
    for paths in ((path, pair[0]), (pair[0], path)):
        said = obm("diff", *paths)
        assert said.code in (0, 1, 3)
        assert "unexpected" not in said.err
        assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/model")), ids=lambda p: p.parent.name)
def test_every_bundle_of_the_original_is_compared_with_one_of_ours(path, obm, pair):
    said = obm("diff", path, pair[1], columns=100)
    assert said.code == 0, said.err
    assert "breaking change" in said.out


def test_control_characters_in_names_do_not_reach_the_terminal(obm, tmp_path):
    for name in ("evil\x1b[2J", "worse\u202e"):
        core.save({name: core.TupleValue(elements=())}, tmp_path / name[:4])
    said = obm("diff", tmp_path / "evil", tmp_path / "wors")
    assert "evil\\x1b[2J" in said.out
    assert not {"\x1b", "\u202e"} & set(said.out + said.err)


def test_a_copy_elsewhere_has_no_difference(obm, pair):
    shutil.copytree(pair[0], "copy.obm")
    assert obm("diff", pair[0], "copy.obm", "--fail-on", "any").code == 0


DAMAGE = {
    "weights are gone": lambda path: (path / "weights.safetensors").unlink(),
    "weights are longer": lambda path: (path / "weights.safetensors").write_bytes(b"\0" * 999),
    "a program is gone": lambda path: next(path.glob("*.shlo")).unlink(),
    "a program is longer": lambda path: next(path.glob("*.shlo")).write_bytes(b"\0" * 999),
}


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_copy_that_is_not_what_its_record_says_is_not_called_equal(damage, side, obm, tmp_path):
    arrays = {"k": np.ones((4, 3), np.float32)}
    whole = write_bundle(tmp_path / "whole", {"f": function(b"ML", {"add": 1})}, arrays, "1")
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    assert obm("diff", whole, copy).code == 0
    DAMAGE[damage](copy)
    said = obm("diff", *((copy, whole) if side == "before" else (whole, copy)))
    assert said.code == 1
    assert "no difference" not in said.out
    assert f"{side}: " in said.out + said.err
