"""Bundles with functions, weights and records, made without a framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orbax_model_lite import core
from orbax_model_lite import orchestration as oex
from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core import layout
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.core.tree import flatten_with_path, format_path, map_leaves
from orbax_model_lite.inspection import Difference
from orbax_model_lite.jax2obm.weights import safetensors

MakeWeights = Callable[..., core.Bundle]


def spec(*shape: Any, dtype: core.DType = core.DType.FLOAT32) -> core.Spec:
    return core.Spec(shape=shape, dtype=dtype)


def shlo(content: bytes = b"ML\xefR-one", facts: ModuleFacts | None = None, **changes: Any):
    fields: dict[str, Any] = {
        "signature": core.Signature.of_call((spec("b", 4),), {}, {"y": spec("b", 3)}),
        "module": core.Data(content=content, mime_type=layout.MIME_STABLEHLO, version="1.0"),
        "calling_convention_version": 10,
        "platforms": ("cpu", "cuda"),
        "kept_inputs": (0,),
        "jax": core.JaxInfo(name="f"),
    }
    if facts is not None:
        data = facts.to_data()
        fields["supplementals"] = {
            layout.KEY_MODULE_FACTS: core.FunctionSupplemental(data=data, extension="pb")
        }
    return core.ShloFunction(**fields | changes)


def handle(name: str) -> core.Data:
    raw = tf_handle_pb2.TfConcreteFunctionHandle(fn_name=name).SerializeToString()
    return core.Data(content=raw, mime_type=layout.MIME_TF_FUNCTION, version="0.0.1")


def opaque(**changes: Any) -> core.OpaqueFunction:
    fields: dict[str, Any] = {
        "signature": core.Signature.of_call((spec(None, 4),), {}, spec(None, 4)),
        "body": handle("one"),
    }
    return core.OpaqueFunction(**fields | changes)


def spec_of(array: np.ndarray) -> core.Spec:
    return core.Spec(shape=array.shape, dtype=core.DType.from_numpy(array.dtype))


def write_safetensors(path: Path, tree: Any, specs: Any = None) -> None:
    """Writes a tree of NumPy arrays as this package's own files are written."""
    values = {format_path(at): array for at, array in flatten_with_path(tree)}
    plan = safetensors.planned(map_leaves(spec_of, tree) if specs is None else specs)
    safetensors.write(path, plan, lambda array: values[format_path(array.path)])


def with_foreign_checkpoint(folder: Path, shape: list[int]) -> core.Bundle:
    """Returns a bundle in `folder` whose weights "w" are one array "a" of zeros without a chunk."""
    (folder / "ck/a").mkdir(parents=True)
    entry = {
        "key_metadata": [{"key": "a", "key_type": 2}],
        "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
    }
    record = {"tree_metadata": {"('a',)": entry}, "use_ocdbt": False, "use_zarr3": False}
    header = {"shape": shape, "chunks": [1] * len(shape), "dtype": "<f4", "fill_value": 0}
    others = {"order": "C", "filters": None, "compressor": None, "zarr_format": 2}
    (folder / "ck/_METADATA").write_text(json.dumps(record))
    (folder / "ck/a/.zarray").write_text(json.dumps(header | others))
    core.save({"w": core.convert_path_to_value("ck/", "orbax_checkpoint")}, folder)
    return core.read(folder)


@pytest.fixture
def with_weights(tmp_path) -> MakeWeights:
    """Returns `make(tree, name="m", specs=None)`: a bundle whose only object is weights "w"."""

    def make(tree: Mapping[str, Any], name: str = "m", specs: Any = None) -> core.Bundle:
        folder = tmp_path / name
        folder.mkdir()
        write_safetensors(folder / "w.safetensors", tree, specs)
        core.save({"w": core.convert_path_to_value("w.safetensors", "safetensors")}, folder)
        return core.read(folder)

    return make


@pytest.fixture
def make(tmp_path):
    """Returns `make(objects, weights={}, metadata=None, pipelines=None)`: the path of a bundle."""
    count = iter(range(1000))

    def made(
        objects: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        pipelines: oex.Orchestration | None = None,
    ) -> Path:
        folder = tmp_path / f"m{next(count)}"
        folder.mkdir()
        found = dict(objects or {})
        for name, tree in (weights or {}).items():
            write_safetensors(folder / f"{name}.safetensors", tree)
            found[name] = core.convert_path_to_value(f"{name}.safetensors", "safetensors")
        records = {}
        if metadata is not None:
            data = core.Metadata.of(metadata).to_data()
            records[layout.KEY_METADATA] = core.GlobalSupplemental(data, None)
        if pipelines is not None:
            data = oex.to_data(pipelines)
            records[layout.KEY_ORCHESTRATION] = core.GlobalSupplemental(data, "orchestration.pb")
        core.save(found, folder, core.SaveOptions(supplemental_info=records))
        return folder

    return made


def told(found: Difference, section: str) -> list[tuple[str, str, bool]]:
    changes = [c for c in found.changes if c.section == section]
    return [(c.where, c.kind, c.is_breaking) for c in changes]


def without_digests(path: Path) -> Path:
    (path / layout.INTEGRITY_FILE).unlink()
    return path
