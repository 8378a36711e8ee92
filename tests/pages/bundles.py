"""Bundles to be looked at, made without a framework: a usual one, a large one and a hostile one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orbax_model_lite import core
from orbax_model_lite import orchestration as oex
from orbax_model_lite.core import layout
from orbax_model_lite.core.examples import Example, write_examples
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.inspection.page.images import png

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
"""A name that would run something if it were put into a page as it is."""

OPERATIONS = {"stablehlo.add": 41, "stablehlo.dot_general": 12, "stablehlo.tanh": 7} | {
    f"stablehlo.rare_{i}": 1 for i in range(15)
}


def spec(*shape: Any, dtype: core.DType = core.DType.FLOAT32) -> core.Spec:
    return core.Spec(shape=shape, dtype=dtype)


def write_safetensors(path: Path, arrays: Mapping[str, tuple[str, tuple[int, ...], int]]) -> None:
    """Writes a file of zeros; each array is (code, shape, bytes of an element)."""
    header, begin = {}, 0
    for name, (code, shape, size) in arrays.items():
        end = begin + math.prod(shape) * size
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(begin))


def function(weights: Any, inputs: Any, outputs: Any, **changes: Any) -> core.ShloFunction:
    """Returns a function that nobody runs."""
    facts = ModuleFacts(
        stablehlo_version="1.15.0",
        custom_calls={"shape_assertion": 1},
        operations=OPERATIONS,
        constant_bytes=2_500_000,
    )
    signature = core.Signature.of_call((weights, inputs), {}, outputs)
    fields: dict[str, Any] = {
        "signature": signature,
        "module": core.Data(
            content=b"ML\xefR-not-parsed-here", mime_type=layout.MIME_STABLEHLO, version="1.0"
        ),
        "calling_convention_version": 10,
        "platforms": ("cpu", "cuda", "tpu"),
        "kept_inputs": tuple(range(len(signature.input_leaves))),
        "jax": core.JaxInfo(name="apply"),
        "supplementals": {
            layout.KEY_MODULE_FACTS: core.FunctionSupplemental(data=facts.to_data(), extension="pb")
        },
    }
    return core.ShloFunction(**fields | changes)


def processor(inputs: Any, outputs: Any) -> core.OpaqueFunction:
    """Returns a function of TensorFlow that nobody runs."""
    return core.OpaqueFunction(
        signature=core.Signature.of_call((inputs,), {}, outputs),
        body=core.Data(content=b"", mime_type=layout.MIME_TF_FUNCTION, version="0.0.1"),
    )


def checkered(side: int, channels: int = 3) -> np.ndarray:
    """Returns uint8 [side, side, channels] in black and white."""
    squares = np.indices((side, side)).sum(0) // 4 % 2 * 255
    return np.repeat(squares[:, :, None], channels, 2).astype(np.uint8)


def save(path: Path, objects: dict[str, Any], example: Example, **metadata: Any) -> Path:
    """Saves objects with a pipeline "decode" -> "net" -> "label"; returns the path."""
    record = oex.orchestration(
        model_function_name="net",
        weights_name="params",
        pre_processor_name="decode",
        post_processor_name="label",
    )
    described = core.Metadata(**metadata, framework_versions={"jax": "0.10.2"})
    supplementals = {
        layout.KEY_ORCHESTRATION: core.GlobalSupplemental(record, "orchestration.pb"),
        layout.KEY_METADATA: core.GlobalSupplemental(described.to_data(), None),
        layout.KEY_EXAMPLES: core.GlobalSupplemental(write_examples(path, [example], "cpu"), None),
    }
    core.save(objects, path, core.SaveOptions(supplemental_info=supplementals))
    return path


def usual(path: Path) -> Path:
    """Writes pictures -> TensorFlow -> StableHLO -> TensorFlow, with a recorded call of two."""
    path.mkdir()
    layers = {
        f"layer_{i}": {"bias": spec(8), "kernel": spec(8, 8, dtype=core.DType.BFLOAT16)}
        for i in range(12)
    }
    arrays: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for name in layers:
        arrays[f"{name}.bias"] = ("F32", (8,), 4)
        arrays[f"{name}.kernel"] = ("BF16", (8, 8), 2)
    write_safetensors(path / "weights.safetensors", arrays)
    example = Example(
        target="serving_default",
        is_pipeline=True,
        args=(np.array([png(checkered(16)), b"not a picture"], object),),
        kwargs={},
        outputs={
            "word": np.array([b"yes", b"no"], object),
            "picture": np.stack([checkered(16)] * 2).astype(np.float32) / 255,
            "scores": np.array([[0.1, 0.9, 0.0], [0.7, 0.2, 0.1]], np.float32),
        },
    )
    objects = {
        "decode": processor(spec(None, dtype=core.DType.STRING), spec(None, 16, 16, 3)),
        "net": function(layers, spec("b", 16, 16, 3), {"scores": spec("b", 3)}),
        "label": processor(spec(None, 3), {"word": spec(None, dtype=core.DType.STRING)}),
        "params": core.convert_path_to_value("weights.safetensors", "safetensors"),
    }
    return save(path, objects, example, name="pictures", version="3", description="Says what is.")


def many(path: Path, count: int) -> Path:
    """Writes a function with `count` parameters of different sizes."""
    path.mkdir()
    arrays: dict[str, tuple[str, tuple[int, ...], int]] = {
        f"decoder.layer_{i // 10}.part_{i % 10}.kernel": ("F32", (i % 7 + 1, 1), 4)
        for i in range(count)
    }
    write_safetensors(path / "weights.safetensors", arrays)
    tree: dict[str, Any] = {}
    for i in range(count):
        layer = tree.setdefault(f"layer_{i // 10}", {})
        layer[f"part_{i % 10}"] = {"kernel": spec(i % 7 + 1, 1)}
    objects = {
        "net": function({"decoder": tree}, spec("b", 4), spec("b", 3)),
        "params": core.convert_path_to_value("weights.safetensors", "safetensors"),
    }
    core.save(objects, path)
    return path


def hostile(path: Path, name: str = HOSTILE) -> Path:
    """Writes a bundle in which whatever can be named has this name."""
    path.mkdir()
    write_safetensors(path / "weights.safetensors", {name: ("F32", (4,), 4), "x": ("F32", (2,), 4)})
    example = Example(
        target=name,
        is_pipeline=False,
        args=(np.array([name.encode(), b"\x89PNG\r\n\x1a\n" + name.encode()], object),),
        kwargs={name: np.ones((2,), np.float32)},
        outputs={name: np.array([b"1", b"2"], object)},
    )
    calls = ModuleFacts(custom_calls={name: 1}, operations={name: 2, "stablehlo.add": 1})
    supplemental = core.FunctionSupplemental(data=calls.to_data(), extension="pb")
    objects = {
        "decode": processor({name: spec(None)}, {name: spec(None)}),
        "net": function(
            {name: spec(4)},
            {name: spec("b", 4)},
            {name: spec("b", 3)},
            jax=core.JaxInfo(name=name),
            data_names=(name,),
            supplementals={layout.KEY_MODULE_FACTS: supplemental},
        ),
        "label": processor({name: spec(None)}, {name: spec(None)}),
        "params": core.convert_path_to_value("weights.safetensors", "safetensors"),
    }
    return save(
        path, objects, example, name=name, version=name, description=name, extra={name: name}
    )
