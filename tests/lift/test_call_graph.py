"""Calls of functions: deep, repeated, endless and astronomic ones."""

from __future__ import annotations

import numpy as np
import pytest

from orbax_model_lite.errors import UnknownNameError, UnsupportedError
from orbax_model_lite.lift import lift_module

pytestmark = pytest.mark.frameworks

TYPE = "tensor<2xf32>"


def _module(bodies):
    """Returns a module; `bodies` are the callees of each function, called one after the other."""
    lines = []
    for i, callees in enumerate(bodies):
        name = "main" if i == 0 else f"f{i}"
        lines.append(f"func.func @{name}(%v0: {TYPE}) -> {TYPE} {{")
        for k, callee in enumerate(callees):
            lines.append(f"  %v{k + 1} = func.call @f{callee}(%v{k}) : ({TYPE}) -> {TYPE}")
        last = f"%v{len(callees)}"
        lines.append(f"  %r = stablehlo.add {last}, {last} : {TYPE}")
        lines.append(f"  return %r : {TYPE}\n}}")
    return "\n".join(lines)


def test_calls_may_be_nested_deeper_than_pythons_limit():
    depth = 3000
    lifted = lift_module(_module([*([i + 1] for i in range(depth)), []]))
    np.testing.assert_array_equal(lifted(np.zeros(2, np.float32))[0], np.zeros(2))


def test_a_function_may_be_called_many_times():
    lifted = lift_module(_module([[1, 1, 1], []]))
    np.testing.assert_array_equal(lifted(np.ones(2, np.float32))[0], np.full(2, 16.0))


@pytest.mark.parametrize("bodies", [[[1], [1]], [[1], [2], [1]]], ids=["itself", "over another"])
def test_functions_that_call_themselves_are_refused(bodies):
    with pytest.raises(UnsupportedError, match="calls itself"):
        lift_module(_module(bodies))


def test_calls_that_double_at_every_level_are_refused_at_once():
    with pytest.raises(UnsupportedError, match="at most 10000000 operations"):
        lift_module(_module([*([i + 1, i + 1] for i in range(60)), []]))


def test_an_entry_that_does_not_exist_names_the_nearest():
    with pytest.raises(UnknownNameError, match="main"):
        lift_module(_module([[]]), entry="mian")


def test_another_function_may_be_the_entry():
    lifted = lift_module(_module([[1], []]), entry="f1")
    np.testing.assert_array_equal(lifted(np.ones(2, np.float32))[0], np.full(2, 2.0))


def test_a_function_that_is_only_declared_is_named():
    text = f"""
    func.func private @outside({TYPE}) -> {TYPE}
    func.func @main(%x: {TYPE}) -> {TYPE} {{
      %y = func.call @outside(%x) : ({TYPE}) -> {TYPE}
      return %y : {TYPE}
    }}"""
    with pytest.raises(UnsupportedError, match=r"'outside'.*only declares"):
        lift_module(text)
