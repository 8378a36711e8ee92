from orbax_model_lite._proto import dtype_pb2 as _dtype_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FunctionSignature(_message.Message):
    __slots__ = ("input", "output")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    input: Type
    output: Type
    def __init__(self, input: _Optional[_Union[Type, _Mapping]] = ..., output: _Optional[_Union[Type, _Mapping]] = ...) -> None: ...

class Type(_message.Message):
    __slots__ = ("leaf", "tuple", "list", "none", "dict", "string_type_pairs")
    LEAF_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    DICT_FIELD_NUMBER: _ClassVar[int]
    STRING_TYPE_PAIRS_FIELD_NUMBER: _ClassVar[int]
    leaf: LeafType
    tuple: Tuple
    list: List
    none: NoneType
    dict: Dict
    string_type_pairs: StringTypePairs
    def __init__(self, leaf: _Optional[_Union[LeafType, _Mapping]] = ..., tuple: _Optional[_Union[Tuple, _Mapping]] = ..., list: _Optional[_Union[List, _Mapping]] = ..., none: _Optional[_Union[NoneType, _Mapping]] = ..., dict: _Optional[_Union[Dict, _Mapping]] = ..., string_type_pairs: _Optional[_Union[StringTypePairs, _Mapping]] = ...) -> None: ...

class Tuple(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[Type]
    def __init__(self, elements: _Optional[_Iterable[_Union[Type, _Mapping]]] = ...) -> None: ...

class List(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[Type]
    def __init__(self, elements: _Optional[_Iterable[_Union[Type, _Mapping]]] = ...) -> None: ...

class NoneType(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Dict(_message.Message):
    __slots__ = ("string_to_type",)
    class StringToTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Type
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Type, _Mapping]] = ...) -> None: ...
    STRING_TO_TYPE_FIELD_NUMBER: _ClassVar[int]
    string_to_type: _containers.MessageMap[str, Type]
    def __init__(self, string_to_type: _Optional[_Mapping[str, Type]] = ...) -> None: ...

class StringTypePairs(_message.Message):
    __slots__ = ("elements",)
    class StringTypePair(_message.Message):
        __slots__ = ("fst", "snd")
        FST_FIELD_NUMBER: _ClassVar[int]
        SND_FIELD_NUMBER: _ClassVar[int]
        fst: str
        snd: Type
        def __init__(self, fst: _Optional[str] = ..., snd: _Optional[_Union[Type, _Mapping]] = ...) -> None: ...
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[StringTypePairs.StringTypePair]
    def __init__(self, elements: _Optional[_Iterable[_Union[StringTypePairs.StringTypePair, _Mapping]]] = ...) -> None: ...

class LeafType(_message.Message):
    __slots__ = ("tensor_type", "token_type")
    TENSOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_TYPE_FIELD_NUMBER: _ClassVar[int]
    tensor_type: TensorType
    token_type: TokenType
    def __init__(self, tensor_type: _Optional[_Union[TensorType, _Mapping]] = ..., token_type: _Optional[_Union[TokenType, _Mapping]] = ...) -> None: ...

class TokenType(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TensorType(_message.Message):
    __slots__ = ("shape", "dtype", "sharding", "layout")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHARDING_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    shape: Shape
    dtype: _dtype_pb2.DType
    sharding: bytes
    layout: bytes
    def __init__(self, shape: _Optional[_Union[Shape, _Mapping]] = ..., dtype: _Optional[_Union[_dtype_pb2.DType, str]] = ..., sharding: _Optional[bytes] = ..., layout: _Optional[bytes] = ...) -> None: ...

class Shape(_message.Message):
    __slots__ = ("shape_with_known_rank",)
    SHAPE_WITH_KNOWN_RANK_FIELD_NUMBER: _ClassVar[int]
    shape_with_known_rank: ShapeWithKnownRank
    def __init__(self, shape_with_known_rank: _Optional[_Union[ShapeWithKnownRank, _Mapping]] = ...) -> None: ...

class ShapeWithKnownRank(_message.Message):
    __slots__ = ("dimension_sizes",)
    DIMENSION_SIZES_FIELD_NUMBER: _ClassVar[int]
    dimension_sizes: _containers.RepeatedCompositeFieldContainer[DimensionSize]
    def __init__(self, dimension_sizes: _Optional[_Iterable[_Union[DimensionSize, _Mapping]]] = ...) -> None: ...

class DimensionSize(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...
