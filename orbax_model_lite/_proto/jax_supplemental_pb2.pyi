from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DTypeRefinement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    f0: _ClassVar[DTypeRefinement]
f0: DTypeRefinement

class Function(_message.Message):
    __slots__ = ("input_spec_refinements", "output_spec_refinements", "nr_devices", "ordered_effects", "unordered_effects", "disabled_checks", "uses_shape_polymorphism", "name")
    INPUT_SPEC_REFINEMENTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SPEC_REFINEMENTS_FIELD_NUMBER: _ClassVar[int]
    NR_DEVICES_FIELD_NUMBER: _ClassVar[int]
    ORDERED_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    UNORDERED_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    DISABLED_CHECKS_FIELD_NUMBER: _ClassVar[int]
    USES_SHAPE_POLYMORPHISM_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    input_spec_refinements: ShapeDTypeRefinements
    output_spec_refinements: ShapeDTypeRefinements
    nr_devices: int
    ordered_effects: _containers.RepeatedScalarFieldContainer[str]
    unordered_effects: _containers.RepeatedScalarFieldContainer[str]
    disabled_checks: _containers.RepeatedCompositeFieldContainer[DisabledSafetyCheck]
    uses_shape_polymorphism: bool
    name: str
    def __init__(self, input_spec_refinements: _Optional[_Union[ShapeDTypeRefinements, _Mapping]] = ..., output_spec_refinements: _Optional[_Union[ShapeDTypeRefinements, _Mapping]] = ..., nr_devices: _Optional[int] = ..., ordered_effects: _Optional[_Iterable[str]] = ..., unordered_effects: _Optional[_Iterable[str]] = ..., disabled_checks: _Optional[_Iterable[_Union[DisabledSafetyCheck, _Mapping]]] = ..., uses_shape_polymorphism: bool = ..., name: _Optional[str] = ...) -> None: ...

class ShapeDTypeRefinements(_message.Message):
    __slots__ = ("list", "map")
    LIST_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    list: ShapeDTypeRefinementList
    map: ShapeDTypeRefinementMap
    def __init__(self, list: _Optional[_Union[ShapeDTypeRefinementList, _Mapping]] = ..., map: _Optional[_Union[ShapeDTypeRefinementMap, _Mapping]] = ...) -> None: ...

class ShapeDTypeRefinementList(_message.Message):
    __slots__ = ("refinements",)
    REFINEMENTS_FIELD_NUMBER: _ClassVar[int]
    refinements: _containers.RepeatedCompositeFieldContainer[ShapeDTypeRefinement]
    def __init__(self, refinements: _Optional[_Iterable[_Union[ShapeDTypeRefinement, _Mapping]]] = ...) -> None: ...

class ShapeDTypeRefinementMap(_message.Message):
    __slots__ = ("idx_to_refinement",)
    class IdxToRefinementEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: ShapeDTypeRefinement
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[ShapeDTypeRefinement, _Mapping]] = ...) -> None: ...
    IDX_TO_REFINEMENT_FIELD_NUMBER: _ClassVar[int]
    idx_to_refinement: _containers.MessageMap[int, ShapeDTypeRefinement]
    def __init__(self, idx_to_refinement: _Optional[_Mapping[int, ShapeDTypeRefinement]] = ...) -> None: ...

class ShapeDTypeRefinement(_message.Message):
    __slots__ = ("shape", "dtype")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    shape: ShapeRefinement
    dtype: DTypeRefinement
    def __init__(self, shape: _Optional[_Union[ShapeRefinement, _Mapping]] = ..., dtype: _Optional[_Union[DTypeRefinement, str]] = ...) -> None: ...

class ShapeRefinement(_message.Message):
    __slots__ = ("dimension_sizes",)
    DIMENSION_SIZES_FIELD_NUMBER: _ClassVar[int]
    dimension_sizes: _containers.RepeatedCompositeFieldContainer[DimensionSizeRefinement]
    def __init__(self, dimension_sizes: _Optional[_Iterable[_Union[DimensionSizeRefinement, _Mapping]]] = ...) -> None: ...

class DimensionSizeRefinement(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: str
    def __init__(self, size: _Optional[str] = ...) -> None: ...

class DisabledSafetyCheck(_message.Message):
    __slots__ = ("platform", "custom_call", "shape_assertions")
    class Platform(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class CustomCall(_message.Message):
        __slots__ = ("target_name",)
        TARGET_NAME_FIELD_NUMBER: _ClassVar[int]
        target_name: str
        def __init__(self, target_name: _Optional[str] = ...) -> None: ...
    class ShapeAssertions(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_CALL_FIELD_NUMBER: _ClassVar[int]
    SHAPE_ASSERTIONS_FIELD_NUMBER: _ClassVar[int]
    platform: DisabledSafetyCheck.Platform
    custom_call: DisabledSafetyCheck.CustomCall
    shape_assertions: DisabledSafetyCheck.ShapeAssertions
    def __init__(self, platform: _Optional[_Union[DisabledSafetyCheck.Platform, _Mapping]] = ..., custom_call: _Optional[_Union[DisabledSafetyCheck.CustomCall, _Mapping]] = ..., shape_assertions: _Optional[_Union[DisabledSafetyCheck.ShapeAssertions, _Mapping]] = ...) -> None: ...
