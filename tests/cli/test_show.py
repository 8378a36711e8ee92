"""`obm show`: snapshots at two widths, its JSON, and what it takes to print them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from orbax_model_lite import core

CORPUS = Path(__file__).parent.parent / "corpus"
FRAMEWORKS = {"jax", "jaxlib", "tensorflow", "orbax", "flax", "pandas", "matplotlib", "numpy"}
VIEWS = {
    "summary": (),
    "details": ("--details", "model"),
    "tree": ("--tree",),
    "weights": ("--weights",),
    "examples": ("--examples",),
    "proto": ("--proto",),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_looks_as_it_did_when_it_was_last_reviewed(view, columns, obm, bundle, golden_text):
    said = obm("show", bundle, *VIEWS[view], columns=columns)
    assert (said.code, said.err) == (0, "")
    # Examples are compressed, and not by every version of zlib to the same bytes.
    text = re.sub(r"[0-9a-f]{64}", "(a hash)", said.out)
    golden_text(f"show_{view}_{columns}.txt", text)


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("view", ["summary", "weights", "examples"])
def test_no_line_is_wider_than_the_terminal(view, columns, obm, bundle):
    lines = obm("show", bundle, *VIEWS[view], columns=max(columns, 60)).out.splitlines()
    assert max(map(len, lines)) <= max(columns, 60)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_prints_json(view, obm, bundle):
    assert obm("show", bundle, *VIEWS[view], "--json").json


@pytest.mark.parametrize("view", VIEWS)
def test_quiet_prints_nothing(view, obm, bundle):
    said = obm("show", bundle, *VIEWS[view], "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_weights_are_counted_from_the_header(obm, bundle):
    (weights,) = obm("show", bundle, "--json").json["weights"]
    assert weights["array_count"] == 2
    assert weights["dtypes"] == {"bfloat16": 24, "float32": 12}
    assert weights["size_bytes"] == 36


def test_weights_are_chosen_by_a_pattern(obm, bundle):
    listed = obm("show", bundle, "--weights", "k*", "--json").json
    assert [array["name"] for array in listed["params"]] == ["kernel"]
    assert listed["params"][0]["shape"] == [4, 3]


@pytest.mark.parametrize("options", [(), ("--stats",)], ids=["listed", "stats"])
def test_a_pattern_that_no_array_matches_is_misuse(options, obm, bundle):
    said = obm("show", bundle, "--weights", "zzz*", *options)
    assert said.code == 2
    assert "expected an array with a name like 'zzz*'; found none" in said.err


def test_functions_that_need_tensorflow_are_named(obm, bundle):
    assert obm("show", bundle, "--json").json["needs_tensorflow"] == ["label", "tokenize"]


def test_a_checkpoint_of_the_original_is_listed_without_its_library(obm):
    listed = obm("show", CORPUS / "tf_pre_post/model", "--weights", "--json").json
    assert [array["name"] for array in listed["weights"]] == ["b", "w"]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/model")), ids=lambda path: path.parent.name)
def test_every_bundle_of_the_original_is_shown(path, obm):
    said = obm("show", path, columns=100)
    # Its weights lie in a folder of the author's machine.
    assert said.code == (path.parent.name == "checkpoint_weights"), said.err
    assert "function" in said.out


def test_control_characters_in_names_do_not_reach_the_terminal(obm, tmp_path):
    core.save({"evil\x1b[2J\u202e": core.TupleValue(elements=())}, tmp_path / "m.obm")
    said = obm("show", tmp_path / "m.obm")
    assert "evil\\x1b[2J\\u202e" in said.out
    assert "\x1b" not in said.out


def test_output_without_a_terminal_has_no_colours(obm, bundle):
    assert "\x1b" not in obm("show", bundle).out


def test_lines_in_a_pipe_are_not_broken(obm, bundle):
    assert "({bias: float32 [3], kernel: bfloat16 [4, 3]}, float32 [b, 4]) -> float32 [b, 3]" in (
        obm("show", bundle).out
    )


@pytest.mark.parametrize("view", [(), ("--details", "model"), ("--weights",), ("--tree",)])
def test_a_fresh_process_imports_no_framework_to_show(view, bundle, fresh_python):
    code = """
        import json, sys
        from orbax_model_lite.cli import main
        code = main(["show", *sys.argv[1:], "--quiet"])
        print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
    """
    code, modules = json.loads(fresh_python(code, bundle.absolute(), *view))
    assert code == 0
    assert not FRAMEWORKS & set(modules)


def test_a_name_that_does_not_exist_is_misuse_and_the_nearest_one_is_offered(obm, bundle):
    said = obm("show", bundle, "--details", "modle")
    assert said.code == 2
    assert "did you mean 'model'?" in said.err


def test_a_record_that_does_not_parse_is_a_finding_and_the_rest_is_shown(obm, bundle):
    shutil.copy(bundle / "weights.safetensors", bundle / "orchestration.pb")
    said = obm("show", bundle)
    assert said.code == 1
    assert "damaged: " in said.out
    assert "tokenize" in said.out


def test_ascii_is_drawn_where_the_encoding_has_no_lines(fresh_python, bundle):
    code = """
        import sys
        from orbax_model_lite.cli import main
        sys.exit(main(["show", sys.argv[1]]))
    """
    out = fresh_python(code, bundle.absolute(), env={"PYTHONIOENCODING": "ascii"})
    assert "+- model" in out
    assert out.isascii()


def test_a_tuple_of_objects_is_named(obm, tmp_path):
    core.save({"all": core.TupleValue(elements=())}, tmp_path / "m.obm")
    assert obm("show", tmp_path / "m.obm", "--json").json["other_objects"] == {"all": "tuple"}
