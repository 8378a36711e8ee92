"""Orchestration records <-> bytes: the simple record and OEX `Pipelines`, all known labels.

One plain pipeline is written as the simple record, which the original reads; anything more as
`Pipelines` with the fields that the original had in September 2025 and our own from number 1000 on.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from orbax_model_lite._proto import (
    legacy_orchestration_pb2,
    orchestration_pb2,
    simple_orchestration_pb2,
)
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError
from orbax_model_lite.orchestration.records import (
    DEFAULT_PIPELINE,
    BatchComponent,
    BatchOptions,
    BatchPaddingPolicy,
    Orchestration,
    Pipeline,
    Role,
    Stage,
)


def to_data(orchestration: Orchestration) -> Data:
    """Returns the record as the payload of the bundle's "orchestration" supplemental."""
    simple = _simple(orchestration)
    if simple is not None:
        return records.to_data(simple, layout.MIME_SIMPLE_ORCHESTRATION)
    proto = orchestration_pb2.Pipelines.FromString(orchestration.origin)
    proto.ClearField("name_to_pipeline")
    proto.ClearField("default_pipeline_name")
    for name, pipeline in orchestration.pipelines.items():
        proto.name_to_pipeline[name].CopyFrom(_pipeline_to_proto(pipeline))
    if orchestration.default is not None:
        proto.default_pipeline_name = orchestration.default
    return records.to_data(proto, layout.MIME_PIPELINES)


def from_data(payload: bytes, mime_type: str | None) -> Orchestration:
    """Returns the record that `payload` holds.

    Args:
      payload: The content of the "orchestration" supplemental.
      mime_type: Its MIME type, in any spelling that was ever in use.

    Raises:
      UnsupportedError: If the MIME type is not one of an orchestration record.
      InvalidBundleError: If the payload does not parse.
    """
    mime = layout.canonical_mime_type(mime_type)
    if mime == layout.MIME_SIMPLE_ORCHESTRATION:
        return _from_simple(_parse(simple_orchestration_pb2.Pipeline(), payload))
    if _is_pipelines(mime):
        old = _parse(legacy_orchestration_pb2.Pipelines(), payload)
        if any(pipeline.model_functions for pipeline in old.name_to_pipeline.values()):
            return _from_old_numbers(old)
        return _from_pipelines(_parse(orchestration_pb2.Pipelines(), payload), payload)
    raise UnsupportedError(
        f"supplemental {layout.KEY_ORCHESTRATION!r}: expected MIME type "
        f"{layout.MIME_SIMPLE_ORCHESTRATION!r} or {layout.MIME_PIPELINES!r}; found {mime_type!r}; "
        "load the functions one by one"
    )


_M = TypeVar("_M", bound=Message)


def _parse(message: _M, payload: bytes) -> _M:
    return records.parsed(message, payload, f"supplemental {layout.KEY_ORCHESTRATION!r}")


def _is_pipelines(mime_type: str) -> bool:
    # The message kept its name while its package was renamed with the project around it.
    is_proto, _, message = mime_type.partition("; type=")
    return is_proto == "application/protobuf" and message.rpartition(".")[2] == "Pipelines"


def _simple(orchestration: Orchestration) -> simple_orchestration_pb2.Pipeline | None:
    """Returns the simple record, or None where it would lose something."""
    if tuple(orchestration.pipelines) != (DEFAULT_PIPELINE,) or orchestration.origin:
        return None
    pipeline = orchestration.pipelines[DEFAULT_PIPELINE]
    by_role = {role: [s for s in pipeline.stages if s.role is role] for role in Role}
    if pipeline.batch_options or by_role[Role.UNSPECIFIED] or not _is_in_order(pipeline):
        return None
    if any(len(stages) > 1 for stages in by_role.values()):
        return None
    proto = simple_orchestration_pb2.Pipeline()
    for stage in by_role[Role.PREPROCESSOR]:
        proto.pre_processor_name = stage.function
    for stage in by_role[Role.MODEL]:
        proto.model_function_name = stage.function
        if stage.weights is not None:
            proto.weights_name = stage.weights
    for stage in by_role[Role.POSTPROCESSOR]:
        proto.post_processor_name = stage.function
    return proto


def _from_simple(proto: simple_orchestration_pb2.Pipeline) -> Orchestration:
    def names(field: str) -> tuple[str, ...]:
        return (getattr(proto, field),) if getattr(proto, field) else ()

    pipeline = Pipeline.of(
        proto.model_function_name or None,
        proto.weights_name or None,
        pre_processors=names("pre_processor_name"),
        post_processors=names("post_processor_name"),
    )
    return Orchestration(pipelines={DEFAULT_PIPELINE: pipeline})


def _pipeline_to_proto(pipeline: Pipeline) -> orchestration_pb2.Pipeline:
    if not _is_in_order(pipeline):
        raise InvalidModelError(
            "pipeline: expected pre-processors, then model functions, then post-processors; found "
            f"{', '.join(f'{s.function} ({s.role.name.lower()})' for s in pipeline.stages)}"
        )
    proto = orchestration_pb2.Pipeline.FromString(pipeline.origin)
    if pipeline.origin and _stages(proto) == pipeline.stages:
        # Signatures and roles of later writers stay as long as they speak of these stages.
        if pipeline.batch_options is None:
            proto.ClearField("batch_options")
    else:
        proto = orchestration_pb2.Pipeline()
        proto.pre_processor_names.extend(pipeline.names(Role.PREPROCESSOR))
        for stage in pipeline.stages:
            if stage.role is Role.MODEL:
                proto.model_functions.add(
                    model_function_name=stage.function, weights_name=stage.weights
                )
        proto.post_processor_names.extend(pipeline.names(Role.POSTPROCESSOR))
    if pipeline.batch_options is not None:
        proto.batch_options.CopyFrom(_batch_options_to_proto(pipeline.batch_options))
    return proto


def _is_in_order(pipeline: Pipeline) -> bool:
    roles = [stage.role for stage in pipeline.stages]
    return roles == sorted(roles) and Role.UNSPECIFIED not in roles


def _from_pipelines(proto: orchestration_pb2.Pipelines, payload: bytes) -> Orchestration:
    default = proto.default_pipeline_name or None
    if default is not None and default not in proto.name_to_pipeline:
        raise InvalidBundleError(
            f"supplemental {layout.KEY_ORCHESTRATION!r}: expected a default among "
            f"{sorted(proto.name_to_pipeline)}; found {default!r}; save the bundle again"
        )
    pipelines = {
        name: Pipeline(
            stages=_stages(proto.name_to_pipeline[name]),
            batch_options=_batch_options(proto.name_to_pipeline[name]),
            origin=proto.name_to_pipeline[name].SerializeToString(deterministic=True),
        )
        for name in sorted(proto.name_to_pipeline)
    }
    return Orchestration(pipelines=pipelines, default=default, origin=payload)


def _stages(proto: orchestration_pb2.Pipeline) -> tuple[Stage, ...]:
    if proto.components:
        return tuple(
            Stage(
                function=component.function_name,
                role=Role(component.role) if component.role in set(Role) else Role.UNSPECIFIED,
                weights=component.weights_name or None,
                parameter_names=_parameter_names(component),
            )
            for component in proto.components
        )
    stages = [Stage(function=n, role=Role.PREPROCESSOR) for n in proto.pre_processor_names]
    stages += [
        Stage(
            function=bound.model_function_name, role=Role.MODEL, weights=bound.weights_name or None
        )
        for bound in proto.model_functions
    ]
    stages += [Stage(function=n, role=Role.POSTPROCESSOR) for n in proto.post_processor_names]
    return tuple(stages)


def _parameter_names(component: orchestration_pb2.Component) -> tuple[str, ...]:
    inputs = component.named_signature.inputs.named_tensor_types
    return tuple(named.name for named in inputs)


def _batch_options(
    proto: orchestration_pb2.Pipeline | legacy_orchestration_pb2.Pipeline,
) -> BatchOptions | None:
    if not proto.HasField("batch_options"):
        return None
    options = proto.batch_options
    component, policy = options.batch_component, options.batch_padding_policy
    known = component in set(BatchComponent), policy in set(BatchPaddingPolicy)
    try:
        return BatchOptions(
            component=BatchComponent(component if known[0] else 0),
            max_batch_size=options.max_batch_size or None,
            batch_timeout_micros=options.batch_timeout_micros,
            allowed_batch_sizes=tuple(options.allowed_batch_sizes),
            disable_large_batch_splitting=options.disable_large_batch_splitting,
            num_batch_threads=options.num_batch_threads or 1,
            max_enqueued_batches=options.max_enqueued_batches or 250,
            padding_policy=BatchPaddingPolicy(policy if known[1] else 0),
            origin=options.SerializeToString(deterministic=True),
        )
    except InvalidModelError as e:
        raise InvalidBundleError(
            f"supplemental {layout.KEY_ORCHESTRATION!r}: {e}; save the bundle again"
        ) from e


def _batch_options_to_proto(options: BatchOptions) -> orchestration_pb2.BatchOptions:
    proto = orchestration_pb2.BatchOptions.FromString(options.origin)
    # UNSPECIFIED may stand for a value of a later writer, which a merge leaves as it is.
    known = orchestration_pb2.BatchOptions(
        batch_component=orchestration_pb2.BatchComponent.Name(options.component),
        batch_padding_policy=orchestration_pb2.BatchPaddingPolicy.Name(options.padding_policy),
    )
    proto.MergeFrom(known)
    proto.max_batch_size = options.max_batch_size or 0
    proto.batch_timeout_micros = options.batch_timeout_micros
    proto.allowed_batch_sizes[:] = options.allowed_batch_sizes
    proto.disable_large_batch_splitting = options.disable_large_batch_splitting
    proto.num_batch_threads = options.num_batch_threads
    proto.max_enqueued_batches = options.max_enqueued_batches
    return proto


def _from_old_numbers(proto: legacy_orchestration_pb2.Pipelines) -> Orchestration:
    pipelines = {}
    for name in sorted(proto.name_to_pipeline):
        old = proto.name_to_pipeline[name]
        stages = [Stage(function=n, role=Role.PREPROCESSOR) for n in old.pre_processor_names]
        stages += [_old_model(bound, old.weights_name) for bound in old.model_functions]
        stages += [Stage(function=n, role=Role.POSTPROCESSOR) for n in old.post_processor_names]
        pipelines[name] = Pipeline(stages=tuple(stages), batch_options=_batch_options(old))
    return Orchestration(pipelines=pipelines)


def _old_model(bound: bytes, weights: str) -> Stage:
    if bound.startswith(b"\n"):
        message = _parse(legacy_orchestration_pb2.BoundModelFunction(), bound)
        name, weights = message.model_function_name, message.weights_name or weights
    else:
        name = bound.decode(errors="replace")
    return Stage(function=name, role=Role.MODEL, weights=weights or None)
