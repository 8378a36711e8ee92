"""A model without a default: what has to be chosen is said, with the names that there are."""

from __future__ import annotations

import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.layout import MIME_TF_FUNCTION
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.value import Object
from orbax_model_lite.errors import UnknownNameError

X = Spec(shape=(4,), dtype=DType.FLOAT32)
FUNCTION = core.OpaqueFunction(
    signature=core.Signature.of_call((X,), {}, X),
    body=core.Data(content=b"", mime_type=MIME_TF_FUNCTION, version="0.0.1"),
)


def saved(path, values=()):
    path.mkdir()
    objects: dict[str, Object] = {"g": FUNCTION, "f": FUNCTION}
    for name in values:
        (path / f"{name}.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
        objects[name] = core.convert_path_to_value(f"{name}.safetensors", "safetensors")
    core.save(objects, path)
    return obm.load(path)


def test_a_model_without_pipelines_names_its_functions(tmp_path):
    with saved(tmp_path / "m") as model, pytest.raises(UnknownNameError) as raised:
        model(1)
    assert str(raised.value) == (
        "expected the name of a function; found a model without pipelines; call one of "
        "model.functions by its name: f, g"
    )


def test_a_model_with_several_values_names_them(tmp_path):
    with saved(tmp_path / "m", values=("b", "a")) as model:
        said = r"several values and no default pipeline; choose one with model.value\(name\): a, b"
        with pytest.raises(UnknownNameError, match=said):
            _ = model.weights
