from orbax_model_lite._proto import orchestration_pb2 as _orchestration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pipelines(_message.Message):
    __slots__ = ("name_to_pipeline",)
    class NameToPipelineEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Pipeline
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Pipeline, _Mapping]] = ...) -> None: ...
    NAME_TO_PIPELINE_FIELD_NUMBER: _ClassVar[int]
    name_to_pipeline: _containers.MessageMap[str, Pipeline]
    def __init__(self, name_to_pipeline: _Optional[_Mapping[str, Pipeline]] = ...) -> None: ...

class Pipeline(_message.Message):
    __slots__ = ("pre_processor_names", "model_functions", "weights_name", "post_processor_names", "batch_options")
    PRE_PROCESSOR_NAMES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_NAME_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESSOR_NAMES_FIELD_NUMBER: _ClassVar[int]
    BATCH_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    pre_processor_names: _containers.RepeatedScalarFieldContainer[str]
    model_functions: _containers.RepeatedScalarFieldContainer[bytes]
    weights_name: str
    post_processor_names: _containers.RepeatedScalarFieldContainer[str]
    batch_options: _orchestration_pb2.BatchOptions
    def __init__(self, pre_processor_names: _Optional[_Iterable[str]] = ..., model_functions: _Optional[_Iterable[bytes]] = ..., weights_name: _Optional[str] = ..., post_processor_names: _Optional[_Iterable[str]] = ..., batch_options: _Optional[_Union[_orchestration_pb2.BatchOptions, _Mapping]] = ...) -> None: ...

class BoundModelFunction(_message.Message):
    __slots__ = ("model_function_name", "weights_name")
    MODEL_FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_NAME_FIELD_NUMBER: _ClassVar[int]
    model_function_name: str
    weights_name: str
    def __init__(self, model_function_name: _Optional[str] = ..., weights_name: _Optional[str] = ...) -> None: ...
