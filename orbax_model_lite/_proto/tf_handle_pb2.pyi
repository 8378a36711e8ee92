from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TfConcreteFunctionHandle(_message.Message):
    __slots__ = ("fn_name", "input_names", "output_names", "optional_input_names")
    FN_NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_NAMES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NAMES_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_INPUT_NAMES_FIELD_NUMBER: _ClassVar[int]
    fn_name: str
    input_names: _containers.RepeatedScalarFieldContainer[str]
    output_names: _containers.RepeatedScalarFieldContainer[str]
    optional_input_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fn_name: _Optional[str] = ..., input_names: _Optional[_Iterable[str]] = ..., output_names: _Optional[_Iterable[str]] = ..., optional_input_names: _Optional[_Iterable[str]] = ...) -> None: ...
