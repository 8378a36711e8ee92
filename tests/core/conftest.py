"""Samples that several tests of the core save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orbax_model_lite import core as obm
from orbax_model_lite.core import layout

SYMBOLIC = obm.Spec(shape=("b", 2), dtype=obm.DType.FLOAT32)
UNKNOWN = obm.Spec(shape=(None, 2), dtype=obm.DType.FLOAT32)


@pytest.fixture(scope="session")
def module() -> Callable[..., obm.ShloFunction]:
    """Returns `module(note="m", **changes)`: a StableHLO function whose code is the note."""

    def make(note: str = "m", **changes: object) -> obm.ShloFunction:
        function = obm.ShloFunction(
            signature=obm.Signature.of_call((SYMBOLIC,), {}, SYMBOLIC),
            module=obm.Data(content=note.encode(), mime_type=layout.MIME_STABLEHLO, version="1.0"),
            calling_convention_version=10,
            platforms=("cpu", "tpu"),
            kept_inputs=(0,),
            jax=obm.JaxInfo(name="f"),
        )
        return replace(function, **changes)

    return make


@pytest.fixture(scope="session")
def handle() -> Callable[..., obm.OpaqueFunction]:
    """Returns `handle(note="h", extension="pb")`: a TensorFlow function whose body is the note."""

    def make(note: str = "h", extension: str | None = "pb") -> obm.OpaqueFunction:
        return obm.OpaqueFunction(
            signature=obm.Signature.of_call((UNKNOWN,), {}, UNKNOWN),
            body=obm.Data(content=note.encode(), mime_type=layout.MIME_TF_FUNCTION),
            extension=extension,
        )

    return make


@pytest.fixture(scope="session")
def files() -> Callable[[Path], dict[str, bytes]]:
    """Returns `files(folder)`: the content of every file below it, by relative path."""

    def read(folder: Path) -> dict[str, bytes]:
        found = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    return read
