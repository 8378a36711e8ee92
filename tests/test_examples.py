"""Every example runs by itself, in a fresh process, and writes nothing but below its folder."""

from __future__ import annotations

import pathlib

import pytest

EXAMPLES = sorted((pathlib.Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))

# What a reader of the output is to learn.
SAYS = {
    "01_pack_and_load": "batch 5: logits (5, 3), differs from the original by",
    "02_open_dimensions_and_platforms": "tokens [3, 12] -> float32 [3, 8]",
    "03_weights": "in bfloat16: {'bfloat16'}",
    "04_tensorflow_processors": "blue -> red",
    "05_several_pipelines": "batches of (1, 8, 32)",
    "06_examples_and_verify": "after one bit fell over: not ok",
    "07_low_level": "0.000000 1.000000 2.000000",
    "08_read_without_frameworks": "frameworks imported: []",
    "09_trust": "granted: 84.0",
    "10_fine_tune": "the new bundle verifies: True",
    "11_without_tensorflow": "name: GatherV2 works on strings",
    "12_look_inside": "input 'x': float32 [b, 4] -> float32 [4, 4] (only 4 now)",
}

RUN = """
    import runpy, sys
    path = sys.argv.pop(1)
    sys.argv[0] = path
    runpy.run_path(path, run_name="__main__")
"""


def test_every_example_is_expected_to_say_something():
    assert [example.stem for example in EXAMPLES] == list(SAYS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_under_sixty_lines(example):
    assert len(example.read_text().splitlines()) < 60


@pytest.mark.frameworks
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_alone_and_says_what_it_is_for(
    example, fresh_python, tmp_path, monkeypatch
):
    given, elsewhere = tmp_path / "given", tmp_path / "elsewhere"
    given.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    output = fresh_python(RUN, example, given)

    assert SAYS[example.stem] in output
    assert list(given.iterdir())
    assert not list(elsewhere.iterdir())
