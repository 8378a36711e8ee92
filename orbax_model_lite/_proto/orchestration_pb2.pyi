from orbax_model_lite._proto import type_pb2 as _type_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_PREPROCESSOR: _ClassVar[Role]
    ROLE_MODEL: _ClassVar[Role]
    ROLE_POSTPROCESSOR: _ClassVar[Role]

class BatchComponent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_COMPONENT_UNSPECIFIED: _ClassVar[BatchComponent]
    NO_BATCHING: _ClassVar[BatchComponent]
    MODEL_FUNCTION: _ClassVar[BatchComponent]
    WHOLE_PIPELINE: _ClassVar[BatchComponent]
    PRE_PROCESSOR_AND_MODEL_FUNCTION: _ClassVar[BatchComponent]
    MODEL_FUNCTION_AND_POST_PROCESSOR: _ClassVar[BatchComponent]

class BatchPaddingPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PADDING_POLICY_UNSPECIFIED: _ClassVar[BatchPaddingPolicy]
    PAD_UP: _ClassVar[BatchPaddingPolicy]
    BATCH_DOWN: _ClassVar[BatchPaddingPolicy]
    MINIMIZE_TPU_COST_PER_REQUEST: _ClassVar[BatchPaddingPolicy]

class MixedPriorityBatchingPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIXED_PRIORITY_BATCHING_POLICY_UNSPECIFIED: _ClassVar[MixedPriorityBatchingPolicy]
    LOW_PRIORITY_PADDING_WITH_MAX_BATCH_SIZE: _ClassVar[MixedPriorityBatchingPolicy]
    LOW_PRIORITY_PADDING_WITH_NEXT_ALLOWED_BATCH_SIZE: _ClassVar[MixedPriorityBatchingPolicy]
    PRIORITY_ISOLATION: _ClassVar[MixedPriorityBatchingPolicy]
    PRIORITY_MERGE: _ClassVar[MixedPriorityBatchingPolicy]
ROLE_UNSPECIFIED: Role
ROLE_PREPROCESSOR: Role
ROLE_MODEL: Role
ROLE_POSTPROCESSOR: Role
BATCH_COMPONENT_UNSPECIFIED: BatchComponent
NO_BATCHING: BatchComponent
MODEL_FUNCTION: BatchComponent
WHOLE_PIPELINE: BatchComponent
PRE_PROCESSOR_AND_MODEL_FUNCTION: BatchComponent
MODEL_FUNCTION_AND_POST_PROCESSOR: BatchComponent
PADDING_POLICY_UNSPECIFIED: BatchPaddingPolicy
PAD_UP: BatchPaddingPolicy
BATCH_DOWN: BatchPaddingPolicy
MINIMIZE_TPU_COST_PER_REQUEST: BatchPaddingPolicy
MIXED_PRIORITY_BATCHING_POLICY_UNSPECIFIED: MixedPriorityBatchingPolicy
LOW_PRIORITY_PADDING_WITH_MAX_BATCH_SIZE: MixedPriorityBatchingPolicy
LOW_PRIORITY_PADDING_WITH_NEXT_ALLOWED_BATCH_SIZE: MixedPriorityBatchingPolicy
PRIORITY_ISOLATION: MixedPriorityBatchingPolicy
PRIORITY_MERGE: MixedPriorityBatchingPolicy

class Pipelines(_message.Message):
    __slots__ = ("name_to_pipeline", "default_pipeline_name")
    class NameToPipelineEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Pipeline
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Pipeline, _Mapping]] = ...) -> None: ...
    NAME_TO_PIPELINE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PIPELINE_NAME_FIELD_NUMBER: _ClassVar[int]
    name_to_pipeline: _containers.MessageMap[str, Pipeline]
    default_pipeline_name: str
    def __init__(self, name_to_pipeline: _Optional[_Mapping[str, Pipeline]] = ..., default_pipeline_name: _Optional[str] = ...) -> None: ...

class Pipeline(_message.Message):
    __slots__ = ("signature", "named_signature", "pre_processor_names", "model_functions", "post_processor_names", "batch_options", "components", "keyword_arguments_based")
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    NAMED_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PRE_PROCESSOR_NAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESSOR_NAMES_FIELD_NUMBER: _ClassVar[int]
    BATCH_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_ARGUMENTS_BASED_FIELD_NUMBER: _ClassVar[int]
    signature: _type_pb2.FunctionSignature
    named_signature: NamedSignature
    pre_processor_names: _containers.RepeatedScalarFieldContainer[str]
    model_functions: _containers.RepeatedCompositeFieldContainer[BoundModelFunction]
    post_processor_names: _containers.RepeatedScalarFieldContainer[str]
    batch_options: BatchOptions
    components: _containers.RepeatedCompositeFieldContainer[Component]
    keyword_arguments_based: bool
    def __init__(self, signature: _Optional[_Union[_type_pb2.FunctionSignature, _Mapping]] = ..., named_signature: _Optional[_Union[NamedSignature, _Mapping]] = ..., pre_processor_names: _Optional[_Iterable[str]] = ..., model_functions: _Optional[_Iterable[_Union[BoundModelFunction, _Mapping]]] = ..., post_processor_names: _Optional[_Iterable[str]] = ..., batch_options: _Optional[_Union[BatchOptions, _Mapping]] = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., keyword_arguments_based: bool = ...) -> None: ...

class BoundModelFunction(_message.Message):
    __slots__ = ("model_function_name", "weights_name")
    MODEL_FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_NAME_FIELD_NUMBER: _ClassVar[int]
    model_function_name: str
    weights_name: str
    def __init__(self, model_function_name: _Optional[str] = ..., weights_name: _Optional[str] = ...) -> None: ...

class Component(_message.Message):
    __slots__ = ("function_name", "role", "named_signature", "weights_name")
    FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAMED_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_NAME_FIELD_NUMBER: _ClassVar[int]
    function_name: str
    role: Role
    named_signature: NamedSignature
    weights_name: str
    def __init__(self, function_name: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., named_signature: _Optional[_Union[NamedSignature, _Mapping]] = ..., weights_name: _Optional[str] = ...) -> None: ...

class NamedSignature(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: NamedTensorTypeList
    outputs: NamedTensorTypeList
    def __init__(self, inputs: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ..., outputs: _Optional[_Union[NamedTensorTypeList, _Mapping]] = ...) -> None: ...

class NamedTensorTypeList(_message.Message):
    __slots__ = ("named_tensor_types",)
    NAMED_TENSOR_TYPES_FIELD_NUMBER: _ClassVar[int]
    named_tensor_types: _containers.RepeatedCompositeFieldContainer[NamedTensorType]
    def __init__(self, named_tensor_types: _Optional[_Iterable[_Union[NamedTensorType, _Mapping]]] = ...) -> None: ...

class NamedTensorType(_message.Message):
    __slots__ = ("name", "tensor_type", "consumer_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENSOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    tensor_type: _type_pb2.TensorType
    consumer_count: int
    def __init__(self, name: _Optional[str] = ..., tensor_type: _Optional[_Union[_type_pb2.TensorType, _Mapping]] = ..., consumer_count: _Optional[int] = ...) -> None: ...

class BatchOptions(_message.Message):
    __slots__ = ("batch_component", "max_batch_size", "batch_timeout_micros", "allowed_batch_sizes", "disable_large_batch_splitting", "num_batch_threads", "max_enqueued_batches", "batch_padding_policy", "low_priority_batch_options", "mixed_priority_batching_policy")
    BATCH_COMPONENT_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BATCH_TIMEOUT_MICROS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    DISABLE_LARGE_BATCH_SPLITTING_FIELD_NUMBER: _ClassVar[int]
    NUM_BATCH_THREADS_FIELD_NUMBER: _ClassVar[int]
    MAX_ENQUEUED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    BATCH_PADDING_POLICY_FIELD_NUMBER: _ClassVar[int]
    LOW_PRIORITY_BATCH_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MIXED_PRIORITY_BATCHING_POLICY_FIELD_NUMBER: _ClassVar[int]
    batch_component: BatchComponent
    max_batch_size: int
    batch_timeout_micros: int
    allowed_batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    disable_large_batch_splitting: bool
    num_batch_threads: int
    max_enqueued_batches: int
    batch_padding_policy: BatchPaddingPolicy
    low_priority_batch_options: LowPriorityBatchOptions
    mixed_priority_batching_policy: MixedPriorityBatchingPolicy
    def __init__(self, batch_component: _Optional[_Union[BatchComponent, str]] = ..., max_batch_size: _Optional[int] = ..., batch_timeout_micros: _Optional[int] = ..., allowed_batch_sizes: _Optional[_Iterable[int]] = ..., disable_large_batch_splitting: bool = ..., num_batch_threads: _Optional[int] = ..., max_enqueued_batches: _Optional[int] = ..., batch_padding_policy: _Optional[_Union[BatchPaddingPolicy, str]] = ..., low_priority_batch_options: _Optional[_Union[LowPriorityBatchOptions, _Mapping]] = ..., mixed_priority_batching_policy: _Optional[_Union[MixedPriorityBatchingPolicy, str]] = ...) -> None: ...

class LowPriorityBatchOptions(_message.Message):
    __slots__ = ("max_batch_size", "batch_timeout_micros", "allowed_batch_sizes", "max_enqueued_batches")
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    BATCH_TIMEOUT_MICROS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    MAX_ENQUEUED_BATCHES_FIELD_NUMBER: _ClassVar[int]
    max_batch_size: int
    batch_timeout_micros: int
    allowed_batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    max_enqueued_batches: int
    def __init__(self, max_batch_size: _Optional[int] = ..., batch_timeout_micros: _Optional[int] = ..., allowed_batch_sizes: _Optional[_Iterable[int]] = ..., max_enqueued_batches: _Optional[int] = ...) -> None: ...
