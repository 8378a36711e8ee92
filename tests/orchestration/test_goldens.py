"""Orchestration records that the original wrote, in three generations."""

from __future__ import annotations

from pathlib import Path

import pytest

from orbax_model_lite.core import layout
from orbax_model_lite.core.reading import read
from orbax_model_lite.orchestration import (
    BatchComponent,
    Role,
    check_orchestration,
    from_data,
    stage_interfaces,
)

CORPUS = Path(__file__).parent.parent / "corpus"


def record_of(name: str):
    bundle = read(CORPUS / name / "model")
    data = bundle.supplementals[layout.KEY_ORCHESTRATION]
    return bundle, from_data(bundle.read_bytes(data), data.mime_type)


def test_the_simple_record_is_one_pipeline():
    _, record = record_of("tf_pre_post")
    assert record.default_name == "serving_default"
    pipeline = record.pipelines["serving_default"]
    assert [(s.function, s.role, s.weights) for s in pipeline.stages] == [
        ("pre", Role.PREPROCESSOR, None),
        ("model", Role.MODEL, "weights"),
        ("post", Role.POSTPROCESSOR, None),
    ]


@pytest.mark.parametrize("name", ["legacy_basic__apr25", "legacy_basic__aug25"])
def test_old_field_numbers_are_read(name):
    _, record = record_of(name)
    pipeline = record.pipelines["serving_default"]
    assert [(s.function, s.weights) for s in pipeline.stages] == [("f", "weights")]
    assert pipeline.batch_options is not None
    assert pipeline.batch_options.component is BatchComponent.MODEL_FUNCTION
    assert pipeline.batch_options.allowed_batch_sizes == (2, 4)


def test_components_with_roles_are_read_with_their_names():
    bundle, record = record_of("oex_pipelines_pr2844")
    assert sorted(record.pipelines) == ["model_only", "serving_default"]
    assert record.default_name == "serving_default"
    stages = record.pipelines["serving_default"].stages
    assert stages[0].parameter_names == ("tokens", "extra")
    assert stages[1].weights == "weights"
    options = record.pipelines["serving_default"].batch_options
    assert options is not None
    assert options.max_batch_size == 16
    interfaces = stage_interfaces(
        record.pipelines["serving_default"], bundle.objects, bundle.read_bytes
    )
    assert interfaces[2].parameter_names == ("logits",)


@pytest.mark.parametrize("name", ["tf_pre_post", "legacy_basic__aug25", "oex_pipelines_pr2844"])
def test_nothing_is_wrong_with_the_wires(name):
    bundle, record = record_of(name)
    assert check_orchestration(record, bundle.objects, bundle.read_bytes) == []
