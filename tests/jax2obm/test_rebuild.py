"""A function made of its fields is the one that a stub gives, and takes its place."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.export
import jax.numpy
import numpy as np
import pytest

from orbax_model_lite import core, jax2obm
from orbax_model_lite.jax2obm import rebuild as rebuilding
from orbax_model_lite.jax2obm.rebuild import rebuild

pytestmark = pytest.mark.frameworks

FUNCTIONS = {
    "scalars": (lambda x, y: x + y, ("float32[]", "float32[]"), {}),
    "symbols": (lambda x, y: x @ y, ("a, b", "b, 4"), {}),
    "an output of another size": (lambda x: jax.numpy.concatenate([x, x]), ("b, 2",), {}),
    "constraints": (lambda x: x[:8], ("b, 2",), {"constraints": ("b >= 8",)}),
    "sizes to solve for": (lambda x: x * 2, ("2*b",), {}),
    "an unused input": (lambda x, y: x, ("b, 2", "3"), {}),
    "no input": (lambda: np.float32(1), (), {}),
    "64 bits": (lambda x: x + 1, ("int64[b]",), {}),
    "several platforms": (lambda x: x, ("b",), {"platforms": ["cpu", "cuda"]}),
}


def both(function, module, monkeypatch):
    """Returns a function as it is rebuilt, and as it is with a stub."""
    quick = rebuild(function, module, where="f")
    monkeypatch.setattr(rebuilding, "exported_of", lambda *_, **__: None)
    return quick, rebuild(function, module, where="f")


def values(exported):
    """Returns the fields of an exported function but the one that computes a derivative."""
    return {
        field.name: getattr(exported, field.name)
        for field in dataclasses.fields(exported)
        if field.name != "_get_vjp"
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_the_same_with_and_without_a_stub(name, monkeypatch, tmp_path):
    call, specs, options = FUNCTIONS[name]
    function = jax2obm.convert(call, specs, **{"platforms": ["cpu"], **options})
    core.save({"f": function}, tmp_path / "m")
    bundle = core.read(tmp_path / "m")
    stored: Any = bundle.objects["f"]
    quick, slow = both(stored, bundle.read_bytes(stored.module), monkeypatch)
    # Symbols of two scopes are never equal.
    assert repr(values(quick)) == repr(values(slow))
    assert isinstance(quick, jax.export.Exported)


def test_this_jax_has_the_fields_that_are_known():
    function = jax2obm.convert(lambda x: x, ("b",), platforms=["cpu"])
    exported = rebuild(function, b"", where="f")
    assert not exported.has_vjp()


def test_a_jax_with_other_fields_takes_the_stub(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Other:
        fun_name: str
        something_new: int

    function = jax2obm.convert(lambda x: x, ("b",), platforms=["cpu"])
    monkeypatch.setattr(jax.export, "Exported", Other)
    assert rebuild(function, b"module", where="f").mlir_module_serialized == b"module"
