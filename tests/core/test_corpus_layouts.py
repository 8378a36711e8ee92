"""Bundles of old layouts give what their modern siblings give, and are written in today's."""

from __future__ import annotations

from typing import Any

import pytest

from orbax_model_lite.core import layout, manifest
from orbax_model_lite.core.data import FileRange
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.function import (
    Visibility,
)
from tests.core.corpus_bundles import corpus, shlo, written

LEGACY: dict[str, Any] = {"apr25": "2025-01", "aug25": "2025-05"}


@pytest.mark.parametrize("revision", LEGACY)
def test_an_old_layout_gives_what_its_modern_sibling_gives(revision):
    old = corpus(f"legacy_basic__{revision}")
    assert old.layout == LEGACY[revision]
    function, sibling = old.objects["f"], shlo("simple_f32")
    assert function.signature == sibling.signature
    assert function.jax == sibling.jax
    assert function.platforms == sibling.platforms
    assert function.kept_inputs == sibling.kept_inputs
    assert function.visibility is Visibility.PUBLIC
    assert old.objects["sym"].signature == shlo("symbolic_shapes", "f_b4").signature
    assert old.objects["sym"].supplementals == {}
    weights = old.objects["weights"]
    assert weights.data.file == FileRange(path="checkpoint/")
    assert layout.canonical_mime_type(weights.data.mime_type) == layout.MIME_ORBAX_CHECKPOINT
    assert weights.data.mime_type == "orbax_checkpoint"


@pytest.mark.parametrize("revision", LEGACY)
def test_supplementals_of_an_old_layout_have_their_names(revision):
    bundle = corpus(f"legacy_basic__{revision}")
    texts = {key: bundle.read_bytes(data) for key, data in bundle.supplementals.items()}
    assert set(texts) == {"inl", "orch", "orchestration"}
    assert (texts["inl"], texts["orch"]) == (b"inl", b"hi")


def test_renumbered_parts_of_an_old_layout_are_found():
    bundle = corpus("legacy_basic__aug25")
    assert bundle.device_assignment == (Device(id=3, coords=(0, 1, 0), core_on_chip=1),)
    assert bundle.frequent_paths == ()
    assert [f.visibility for f in bundle.objects["poly"].functions] == [Visibility.PUBLIC] * 2
    assert bundle.objects["f_names"].visibility is Visibility.PRIVATE
    assert bundle.objects["f_names"].gradient_function_name is None


@pytest.mark.parametrize("revision", LEGACY)
def test_an_old_layout_is_rewritten_in_todays(revision):
    bundle = corpus(f"legacy_basic__{revision}")
    proto = written(bundle)
    assert not any(proto.objects[name].WhichOneof("case") is None for name in proto.objects)
    contents = manifest.from_proto(proto, lambda data, where: bundle.read_bytes(data, where=where))
    assert contents.objects == bundle.objects
    assert contents.supplementals == bundle.supplementals
    assert contents.device_assignment == bundle.device_assignment
