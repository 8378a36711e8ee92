"""The bundles of the corpus, and what the tests of them share."""

from __future__ import annotations

import pathlib

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import manifest
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.spec import Spec

CORPUS = pathlib.Path(__file__).parents[1] / "corpus"
NAMES = sorted(path.parent.name for path in CORPUS.glob("*/note.json"))
MLIR_MAGIC = b"ML\xefR"


def corpus(name: str) -> Bundle:
    return read(CORPUS / name / "model")


def shlo(name: str, function: str = "f") -> ShloFunction:
    found = corpus(name).objects[function]
    assert isinstance(found, ShloFunction)
    return found


def concrete_functions(bundle: Bundle) -> list[tuple[str, ShloFunction | OpaqueFunction]]:
    found = []
    for name, function in bundle.functions.items():
        variants = function.functions if isinstance(function, PolymorphicFunction) else [function]
        found += [(name, variant) for variant in variants]
    return found


def spec(dtype: str, *shape: int | str | None) -> Spec:
    return Spec(shape=shape, dtype=DType(dtype))


def written(bundle: Bundle) -> manifest_pb2.Manifest:
    return manifest.to_proto(
        bundle.objects,
        bundle.supplementals,
        device_assignment=bundle.device_assignment,
        frequent_paths=bundle.frequent_paths,
        origin=bundle.origin,
    )
