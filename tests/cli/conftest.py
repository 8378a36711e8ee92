"""Bundles for the command, made without a framework, and the command as a function."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite import orchestration as oex
from orbax_model_lite.cli import main
from orbax_model_lite.core import layout
from orbax_model_lite.core.examples import Example, write_examples
from orbax_model_lite.core.module_facts import ModuleFacts


@dataclass(frozen=True)
class Said:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def obm(capsys, monkeypatch) -> Callable[..., Said]:
    """Returns `obm(*arguments, columns=None)`: the command, run in this process."""

    def run(*arguments: object, columns: int | None = None) -> Said:
        if columns is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", str(columns))
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


def safetensors(path: Path, arrays: dict[str, tuple[str, tuple[int, ...], int]]) -> None:
    """Writes a file of zeros; each array is (code, shape, bytes of an element)."""
    header, begin = {}, 0
    for name, (code, shape, size) in arrays.items():
        end = begin + math.prod(shape) * size
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(begin))


def spec(*shape: Any, dtype: core.DType = core.DType.FLOAT32) -> core.Spec:
    return core.Spec(shape=shape, dtype=dtype)


def model_function(**changes: Any) -> core.ShloFunction:
    weights = {"bias": spec(3), "kernel": spec(4, 3, dtype=core.DType.BFLOAT16)}
    facts = ModuleFacts(
        stablehlo_version="1.15.0",
        custom_calls={"shape_assertion": 1},
        operations={"stablehlo.add": 1, "stablehlo.dot_general": 2},
        constant_bytes=2_500_000,
    )
    fields: dict[str, Any] = {
        "signature": core.Signature.of_call((weights, spec("b", 4)), {}, spec("b", 3)),
        "module": core.Data(
            content=b"ML\xefR-not-parsed-here", mime_type=layout.MIME_STABLEHLO, version="1.0"
        ),
        "calling_convention_version": 10,
        "platforms": ("cpu", "cuda", "tpu"),
        "kept_inputs": (0, 1, 2),
        "jax": core.JaxInfo(name="apply"),
        "supplementals": {
            layout.KEY_MODULE_FACTS: core.FunctionSupplemental(data=facts.to_data(), extension="pb")
        },
    }
    return core.ShloFunction(**fields | changes)


def processor(inputs: Any, outputs: Any) -> core.OpaqueFunction:
    return core.OpaqueFunction(
        signature=core.Signature.of_call((inputs,), {}, outputs),
        body=core.Data(content=b"", mime_type=layout.MIME_TF_FUNCTION, version="0.0.1"),
    )


@pytest.fixture
def bundle(tmp_path, monkeypatch) -> Path:
    """Returns a relative path, so that snapshots do not depend on the folder of the test."""
    monkeypatch.chdir(tmp_path)
    path = Path("words.obm")
    path.mkdir()
    safetensors(
        path / "weights.safetensors", {"kernel": ("BF16", (4, 3), 2), "bias": ("F32", (3,), 4)}
    )
    example = Example(
        target="serving_default",
        is_pipeline=True,
        args=(np.array([b"a,b", b"c"], object),),
        kwargs={},
        outputs={"best": np.array([1, 2], np.int32)},
    )
    objects = {
        "tokenize": processor(spec(None, dtype=core.DType.STRING), spec(None, 4)),
        "model": model_function(),
        "label": processor(spec(None, 3), {"best": spec(None, dtype=core.DType.INT32)}),
        "params": core.convert_path_to_value("weights.safetensors", "safetensors"),
    }
    record = oex.orchestration(
        model_function_name="model",
        weights_name="params",
        pre_processor_name="tokenize",
        post_processor_name="label",
    )
    metadata = core.Metadata(
        name="words", version="1.2", license="MIT", framework_versions={"jax": "0.10.2"}
    )
    supplementals = {
        layout.KEY_ORCHESTRATION: core.GlobalSupplemental(record, "orchestration.pb"),
        layout.KEY_METADATA: core.GlobalSupplemental(metadata.to_data(), None),
        layout.KEY_EXAMPLES: core.GlobalSupplemental(write_examples(path, [example], "cpu"), None),
    }
    core.save(objects, path, core.SaveOptions(supplemental_info=supplementals))
    return path
