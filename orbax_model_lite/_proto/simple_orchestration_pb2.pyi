from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Pipeline(_message.Message):
    __slots__ = ("pre_processor_name", "model_function_name", "weights_name", "post_processor_name")
    PRE_PROCESSOR_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_NAME_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESSOR_NAME_FIELD_NUMBER: _ClassVar[int]
    pre_processor_name: str
    model_function_name: str
    weights_name: str
    post_processor_name: str
    def __init__(self, pre_processor_name: _Optional[str] = ..., model_function_name: _Optional[str] = ..., weights_name: _Optional[str] = ..., post_processor_name: _Optional[str] = ...) -> None: ...
