"""SECURITY.md names a test for every defence; the tests exist, and none of them is left out."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| vector ")
]
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def defined_in(path: pathlib.Path) -> set[str]:
    """Returns the names of the test functions of a file, those in classes included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_vector_has_a_defence_and_tests_that_exist(row):
    vector, defence, tests = row
    assert vector
    assert defence
    named = TEST.findall(tests)
    assert named
    assert tests.count("`") == 2 * len(named), "something else than a test stands in the column"
    for file, name in named:
        assert name in defined_in(REPOSITORY / "tests" / file), f"{file} has no {name}"


def test_no_test_is_named_in_two_rows():
    named = TEST.findall(TEXT)
    assert sorted(named) == sorted(set(named))


def test_every_file_of_attacks_is_named():
    found = {f"attacks/{path.name}" for path in (REPOSITORY / "tests/attacks").glob("test_*.py")}
    assert found <= {file for file, _ in TEST.findall(TEXT)}
