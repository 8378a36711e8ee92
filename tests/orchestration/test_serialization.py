"""Orchestration records on disk: simple, OEX Pipelines, old field numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite._proto import (
    legacy_orchestration_pb2,
    orchestration_pb2,
    simple_orchestration_pb2,
)
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError
from orbax_model_lite.orchestration import (
    BatchComponent,
    BatchOptions,
    Orchestration,
    Pipeline,
    Role,
    Stage,
    from_data,
    orchestration,
    to_data,
)

names = st.text(min_size=1, max_size=8)
stages = st.builds(
    lambda pre, models, post: (
        *(Stage(function=n, role=Role.PREPROCESSOR) for n in pre),
        *(Stage(function=n, role=Role.MODEL, weights=w) for n, w in models),
        *(Stage(function=n, role=Role.POSTPROCESSOR) for n in post),
    ),
    st.lists(names, max_size=3),
    st.lists(st.tuples(names, st.none() | names), max_size=3),
    st.lists(names, max_size=3),
)
options = st.builds(
    lambda component, sizes, timeout: BatchOptions(
        component=component,
        allowed_batch_sizes=tuple(sorted(sizes)),
        batch_timeout_micros=timeout,
    ),
    st.sampled_from(BatchComponent),
    st.sets(st.integers(1, 1000), max_size=4),
    st.integers(0, 10_000),
)
pipelines = st.builds(lambda s, o: Pipeline(stages=s, batch_options=o), stages, st.none() | options)


@given(st.dictionaries(names | st.just("serving_default"), pipelines, max_size=3), st.data())
def test_a_record_comes_back_equal(by_name, data):
    default = data.draw(st.sampled_from([None, *by_name]))
    record = Orchestration(pipelines=by_name, default=default)
    written = to_data(record)
    again = from_data(written.content, written.mime_type)
    assert again.pipelines == record.pipelines
    assert again.default_name == record.default_name
    assert to_data(again).content == written.content or written.mime_type.startswith("simple")


def test_one_plain_pipeline_is_written_as_the_simple_record():
    data = orchestration(
        model_function_name="f",
        weights_name="w",
        pre_processor_name="pre",
        post_processor_name="post",
    )
    assert (data.mime_type, data.version) == ("simple_orchestration", "0.0.1")
    proto = simple_orchestration_pb2.Pipeline.FromString(data.content)
    assert proto == simple_orchestration_pb2.Pipeline(
        pre_processor_name="pre",
        model_function_name="f",
        weights_name="w",
        post_processor_name="post",
    )


def test_two_pre_processors_are_written_as_pipelines():
    pipeline = Pipeline.of("f", "w", pre_processors=("a", "b"))
    data = to_data(Orchestration(pipelines={"serving_default": pipeline}))
    assert data.mime_type == layout.MIME_PIPELINES
    proto = orchestration_pb2.Pipelines.FromString(data.content)
    assert list(proto.name_to_pipeline["serving_default"].pre_processor_names) == ["a", "b"]


@pytest.mark.parametrize(
    "label",
    [
        "oex_orchestration_multi_pipeline",
        "application/protobuf; type=orbax_export_orchestration.Pipelines",
        "application/protobuf; type=neptune.orchestration.Pipelines",
    ],
)
@pytest.mark.parametrize("is_bound", [False, True], ids=["name", "bound function"])
def test_field_numbers_before_september_2025_are_read(label, is_bound):
    old = legacy_orchestration_pb2.Pipelines()
    pipeline = old.name_to_pipeline["p"]
    pipeline.pre_processor_names.append("pre")
    bound = legacy_orchestration_pb2.BoundModelFunction(model_function_name="f", weights_name="w")
    pipeline.model_functions.append(bound.SerializeToString() if is_bound else b"f")
    if not is_bound:
        pipeline.weights_name = "w"
    pipeline.post_processor_names.append("post")
    pipeline.batch_options.batch_component = orchestration_pb2.MODEL_FUNCTION
    pipeline.batch_options.max_batch_size = 8
    found = from_data(old.SerializeToString(), label).pipelines["p"]
    assert (
        found.stages
        == Pipeline.of("f", "w", pre_processors=("pre",), post_processors=("post",)).stages
    )
    assert found.batch_options is not None
    assert found.batch_options.max_batch_size == 8


def test_later_fields_survive_a_rewrite_of_the_same_stages():
    proto = orchestration_pb2.Pipelines()
    pipeline = proto.name_to_pipeline["p"]
    component = pipeline.components.add(function_name="f", role=orchestration_pb2.ROLE_MODEL)
    component.named_signature.outputs.named_tensor_types.add(name="y", consumer_count=2)
    pipeline.keyword_arguments_based = True
    pipeline.batch_options.batch_component = orchestration_pb2.WHOLE_PIPELINE
    # Field 11 of BatchOptions: in use by later writers, its meaning is not public.
    pipeline.batch_options.MergeFromString(b"\x5a\x02\x08\x01")
    payload = proto.SerializeToString(deterministic=True)
    record = from_data(payload, layout.MIME_PIPELINES)
    again = orchestration_pb2.Pipelines.FromString(to_data(record).content)
    rewritten = again.name_to_pipeline["p"]
    assert rewritten.components == pipeline.components
    assert rewritten.keyword_arguments_based
    assert b"\x5a\x02\x08\x01" in rewritten.batch_options.SerializeToString()


def test_another_mime_type_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="text/plain"):
        from_data(b"", "text/plain")


def test_bytes_that_do_not_parse_are_an_invalid_bundle():
    with pytest.raises(InvalidBundleError, match="do not parse"):
        from_data(b"\xff\xff\xff", "simple_orchestration")


def test_stages_out_of_order_are_refused_at_writing():
    pipeline = Pipeline(
        stages=(Stage(function="f", role=Role.MODEL), Stage(function="a", role=Role.PREPROCESSOR))
    )
    with pytest.raises(InvalidModelError, match=r"f \(model\), a \(preprocessor\)"):
        to_data(Orchestration(pipelines={"p": pipeline}))
