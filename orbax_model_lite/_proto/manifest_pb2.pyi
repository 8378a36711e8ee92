from orbax_model_lite._proto import type_pb2 as _type_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Visibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIVATE: _ClassVar[Visibility]
    PUBLIC: _ClassVar[Visibility]

class LoaderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOADER_TYPE_DEFAULT: _ClassVar[LoaderType]
    LEMMING_LOADER: _ClassVar[LoaderType]

class Platform(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLATFORM_UNSPECIFIED: _ClassVar[Platform]
    CPU: _ClassVar[Platform]
    CUDA: _ClassVar[Platform]
    ROCM: _ClassVar[Platform]
    TPU: _ClassVar[Platform]
PRIVATE: Visibility
PUBLIC: Visibility
LOADER_TYPE_DEFAULT: LoaderType
LEMMING_LOADER: LoaderType
PLATFORM_UNSPECIFIED: Platform
CPU: Platform
CUDA: Platform
ROCM: Platform
TPU: Platform

class Manifest(_message.Message):
    __slots__ = ("objects", "supplemental_info", "device_assignment_by_coords", "frequent_paths")
    class ObjectsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TopLevelObject
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TopLevelObject, _Mapping]] = ...) -> None: ...
    class SupplementalInfoEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UnstructuredData
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UnstructuredData, _Mapping]] = ...) -> None: ...
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SUPPLEMENTAL_INFO_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ASSIGNMENT_BY_COORDS_FIELD_NUMBER: _ClassVar[int]
    FREQUENT_PATHS_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.MessageMap[str, TopLevelObject]
    supplemental_info: _containers.MessageMap[str, UnstructuredData]
    device_assignment_by_coords: DeviceAssignmentByCoords
    frequent_paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, objects: _Optional[_Mapping[str, TopLevelObject]] = ..., supplemental_info: _Optional[_Mapping[str, UnstructuredData]] = ..., device_assignment_by_coords: _Optional[_Union[DeviceAssignmentByCoords, _Mapping]] = ..., frequent_paths: _Optional[_Iterable[str]] = ...) -> None: ...

class DeviceAssignmentByCoords(_message.Message):
    __slots__ = ("devices",)
    class Device(_message.Message):
        __slots__ = ("id", "coords", "core_on_chip")
        ID_FIELD_NUMBER: _ClassVar[int]
        COORDS_FIELD_NUMBER: _ClassVar[int]
        CORE_ON_CHIP_FIELD_NUMBER: _ClassVar[int]
        id: int
        coords: _containers.RepeatedScalarFieldContainer[int]
        core_on_chip: int
        def __init__(self, id: _Optional[int] = ..., coords: _Optional[_Iterable[int]] = ..., core_on_chip: _Optional[int] = ...) -> None: ...
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[DeviceAssignmentByCoords.Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[DeviceAssignmentByCoords.Device, _Mapping]]] = ...) -> None: ...

class TopLevelObject(_message.Message):
    __slots__ = ("function", "value", "poly_fn")
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    POLY_FN_FIELD_NUMBER: _ClassVar[int]
    function: Function
    value: Value
    poly_fn: PolymorphicFunction
    def __init__(self, function: _Optional[_Union[Function, _Mapping]] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., poly_fn: _Optional[_Union[PolymorphicFunction, _Mapping]] = ...) -> None: ...

class Function(_message.Message):
    __slots__ = ("signature", "body", "data_names", "visibility", "gradient_function_name")
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    DATA_NAMES_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    signature: _type_pb2.FunctionSignature
    body: FunctionBody
    data_names: _containers.RepeatedScalarFieldContainer[str]
    visibility: Visibility
    gradient_function_name: str
    def __init__(self, signature: _Optional[_Union[_type_pb2.FunctionSignature, _Mapping]] = ..., body: _Optional[_Union[FunctionBody, _Mapping]] = ..., data_names: _Optional[_Iterable[str]] = ..., visibility: _Optional[_Union[Visibility, str]] = ..., gradient_function_name: _Optional[str] = ...) -> None: ...

class PolymorphicFunction(_message.Message):
    __slots__ = ("concrete_functions",)
    CONCRETE_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    concrete_functions: _containers.RepeatedCompositeFieldContainer[Function]
    def __init__(self, concrete_functions: _Optional[_Iterable[_Union[Function, _Mapping]]] = ...) -> None: ...

class FunctionBody(_message.Message):
    __slots__ = ("stable_hlo_body", "other")
    STABLE_HLO_BODY_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    stable_hlo_body: StableHloFunctionBody
    other: UnstructuredData
    def __init__(self, stable_hlo_body: _Optional[_Union[StableHloFunctionBody, _Mapping]] = ..., other: _Optional[_Union[UnstructuredData, _Mapping]] = ...) -> None: ...

class StableHloFunctionBody(_message.Message):
    __slots__ = ("stable_hlo", "calling_convention_version", "lowering_platforms", "module_kept_var_idx", "supplemental_info")
    class SupplementalInfoEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: UnstructuredData
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[UnstructuredData, _Mapping]] = ...) -> None: ...
    STABLE_HLO_FIELD_NUMBER: _ClassVar[int]
    CALLING_CONVENTION_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOWERING_PLATFORMS_FIELD_NUMBER: _ClassVar[int]
    MODULE_KEPT_VAR_IDX_FIELD_NUMBER: _ClassVar[int]
    SUPPLEMENTAL_INFO_FIELD_NUMBER: _ClassVar[int]
    stable_hlo: UnstructuredData
    calling_convention_version: int
    lowering_platforms: _containers.RepeatedScalarFieldContainer[str]
    module_kept_var_idx: _containers.RepeatedScalarFieldContainer[int]
    supplemental_info: _containers.MessageMap[str, UnstructuredData]
    def __init__(self, stable_hlo: _Optional[_Union[UnstructuredData, _Mapping]] = ..., calling_convention_version: _Optional[int] = ..., lowering_platforms: _Optional[_Iterable[str]] = ..., module_kept_var_idx: _Optional[_Iterable[int]] = ..., supplemental_info: _Optional[_Mapping[str, UnstructuredData]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("external", "tuple", "named_tuple")
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    NAMED_TUPLE_FIELD_NUMBER: _ClassVar[int]
    external: ExternalValue
    tuple: TupleValue
    named_tuple: NamedTupleValue
    def __init__(self, external: _Optional[_Union[ExternalValue, _Mapping]] = ..., tuple: _Optional[_Union[TupleValue, _Mapping]] = ..., named_tuple: _Optional[_Union[NamedTupleValue, _Mapping]] = ...) -> None: ...

class ExternalValue(_message.Message):
    __slots__ = ("type", "data", "loader_type")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LOADER_TYPE_FIELD_NUMBER: _ClassVar[int]
    type: _type_pb2.Type
    data: UnstructuredData
    loader_type: LoaderType
    def __init__(self, type: _Optional[_Union[_type_pb2.Type, _Mapping]] = ..., data: _Optional[_Union[UnstructuredData, _Mapping]] = ..., loader_type: _Optional[_Union[LoaderType, str]] = ...) -> None: ...

class TupleValue(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, elements: _Optional[_Iterable[str]] = ...) -> None: ...

class NamedTupleValue(_message.Message):
    __slots__ = ("elements",)
    class Pair(_message.Message):
        __slots__ = ("name", "value")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        name: str
        value: str
        def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[NamedTupleValue.Pair]
    def __init__(self, elements: _Optional[_Iterable[_Union[NamedTupleValue.Pair, _Mapping]]] = ...) -> None: ...

class UnstructuredData(_message.Message):
    __slots__ = ("file_system_location", "inlined_string", "inlined_bytes", "mime_type", "version")
    FILE_SYSTEM_LOCATION_FIELD_NUMBER: _ClassVar[int]
    INLINED_STRING_FIELD_NUMBER: _ClassVar[int]
    INLINED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    file_system_location: FileSystemLocation
    inlined_string: str
    inlined_bytes: bytes
    mime_type: str
    version: str
    def __init__(self, file_system_location: _Optional[_Union[FileSystemLocation, _Mapping]] = ..., inlined_string: _Optional[str] = ..., inlined_bytes: _Optional[bytes] = ..., mime_type: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class FileSystemLocation(_message.Message):
    __slots__ = ("string_path", "frequent_path_idx", "offset_in_byte", "size_in_byte")
    STRING_PATH_FIELD_NUMBER: _ClassVar[int]
    FREQUENT_PATH_IDX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_IN_BYTE_FIELD_NUMBER: _ClassVar[int]
    SIZE_IN_BYTE_FIELD_NUMBER: _ClassVar[int]
    string_path: str
    frequent_path_idx: int
    offset_in_byte: int
    size_in_byte: int
    def __init__(self, string_path: _Optional[str] = ..., frequent_path_idx: _Optional[int] = ..., offset_in_byte: _Optional[int] = ..., size_in_byte: _Optional[int] = ...) -> None: ...

class CompileOptionsProtoMap(_message.Message):
    __slots__ = ("map",)
    class MapEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    MAP_FIELD_NUMBER: _ClassVar[int]
    map: _containers.ScalarMap[str, bytes]
    def __init__(self, map: _Optional[_Mapping[str, bytes]] = ...) -> None: ...
