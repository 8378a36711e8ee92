from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class View(_message.Message):
    __slots__ = ("path", "sub_tree")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SUB_TREE_FIELD_NUMBER: _ClassVar[int]
    path: str
    sub_tree: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, path: _Optional[str] = ..., sub_tree: _Optional[_Iterable[str]] = ...) -> None: ...
