"""A slice of the conformance table, and that the whole of it leaves no callable out.

`make coverage-lift` checks every row in every dtype; here it is one row in sixteen.
"""

from __future__ import annotations

import re
import zlib

import jax
import pytest

from tests.lift.conformance import report
from tests.lift.conformance.callables import public_callables
from tests.lift.conformance.checking import check_row
from tests.lift.conformance.left_out import LEFT_OUT
from tests.lift.conformance.rows import RECIPES, row_names

# Rows are judged by their numbers; JAX warns of overflows and of names that it will drop.
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

# Of a matrix with a symbolic size nobody knows whether it is wide or tall.
WIDE_OR_TALL = {"jax.numpy.linalg.svdvals", "jax.scipy.linalg.lu_factor"}
# The transposed solve of an iterative solver is not stored, so its gradient raises.
WITHOUT_GRADIENT = "jax.scipy.sparse.linalg."
SLICE = [
    name
    for name in row_names()
    if name in WIDE_OR_TALL
    or (zlib.crc32(name.encode()) % 18 == 3 and not name.startswith(WITHOUT_GRADIENT))
]


@pytest.mark.parametrize("name", SLICE)
def test_a_lifted_function_gives_the_numbers_derivatives_and_batches_of_the_original(name: str):
    assert report.wrong_cells(check_row(name, ("f32", "i32"))) == {}


def test_no_callable_has_both_a_recipe_and_a_reason_to_be_left_out():
    assert set(RECIPES) & set(LEFT_OUT) == set()


def test_every_callable_of_the_documented_version_has_a_verdict_in_the_table():
    text = report.DOCUMENT.read_text(encoding="utf-8")
    version = re.search(r"JAX (\d+\.\d+\.\d+)", text)[1]
    documented = {f"jax.{name}" for name in re.findall(r"`([\w.]+)`", text)}
    known = documented | set(RECIPES) | set(LEFT_OUT)
    expected = public_callables() if jax.__version__ == version else RECIPES
    assert set(expected) - known == set()
