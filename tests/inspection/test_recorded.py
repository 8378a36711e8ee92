"""An array in one line: its first values, short enough to read."""

from __future__ import annotations

import numpy as np
import pytest

from orbax_model_lite.inspection.recorded import describe_array


@pytest.mark.parametrize(
    ("array", "begins"),
    [
        (np.array([0.12573021 + 0.640422j, -1 - 2e-7j]), "0.1257+0.6404j, -1-2e-07j"),
        (np.array([1 / 3, 1e9]), "0.3333, 1e+09"),
        (np.array([True, False]), "True, False"),
        (np.array([], np.float32), ""),
        (np.arange(9), "0, 1, 2, 3, ..."),
    ],
    ids=["complex", "float", "bool", "empty", "many"],
)
def test_values_are_rounded_never_cut(array, begins):
    assert describe_array("x", array).begins == begins
