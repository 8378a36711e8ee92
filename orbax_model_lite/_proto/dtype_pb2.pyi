from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNSPECIFIED: _ClassVar[DType]
    i1: _ClassVar[DType]
    si8: _ClassVar[DType]
    si16: _ClassVar[DType]
    si32: _ClassVar[DType]
    si64: _ClassVar[DType]
    ui8: _ClassVar[DType]
    ui16: _ClassVar[DType]
    ui32: _ClassVar[DType]
    ui64: _ClassVar[DType]
    f16: _ClassVar[DType]
    f32: _ClassVar[DType]
    f64: _ClassVar[DType]
    c64: _ClassVar[DType]
    c128: _ClassVar[DType]
    bf16: _ClassVar[DType]
    si4: _ClassVar[DType]
    ui4: _ClassVar[DType]
    f8_e4m3b11fnuz: _ClassVar[DType]
    f8_e4m3fn: _ClassVar[DType]
    f8_e4m3fnuz: _ClassVar[DType]
    f8_e5m2: _ClassVar[DType]
    f8_e5m2fnuz: _ClassVar[DType]
    str: _ClassVar[DType]
UNSPECIFIED: DType
i1: DType
si8: DType
si16: DType
si32: DType
si64: DType
ui8: DType
ui16: DType
ui32: DType
ui64: DType
f16: DType
f32: DType
f64: DType
c64: DType
c128: DType
bf16: DType
si4: DType
ui4: DType
f8_e4m3b11fnuz: DType
f8_e4m3fn: DType
f8_e4m3fnuz: DType
f8_e5m2: DType
f8_e5m2fnuz: DType
str: DType
