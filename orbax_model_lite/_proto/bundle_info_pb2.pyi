from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogicalTypes(_message.Message):
    __slots__ = ("inputs", "outputs")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.ScalarMap[int, str]
    outputs: _containers.ScalarMap[int, str]
    def __init__(self, inputs: _Optional[_Mapping[int, str]] = ..., outputs: _Optional[_Mapping[int, str]] = ...) -> None: ...

class ObjectTypes(_message.Message):
    __slots__ = ("objects",)
    class Variants(_message.Message):
        __slots__ = ("types",)
        TYPES_FIELD_NUMBER: _ClassVar[int]
        types: _containers.RepeatedCompositeFieldContainer[LogicalTypes]
        def __init__(self, types: _Optional[_Iterable[_Union[LogicalTypes, _Mapping]]] = ...) -> None: ...
    class ObjectsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ObjectTypes.Variants
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ObjectTypes.Variants, _Mapping]] = ...) -> None: ...
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.MessageMap[str, ObjectTypes.Variants]
    def __init__(self, objects: _Optional[_Mapping[str, ObjectTypes.Variants]] = ...) -> None: ...

class JaxTrees(_message.Message):
    __slots__ = ("mesh_axes", "inputs", "outputs", "input_nodes", "output_nodes", "symbolic_constraints", "argument_names")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: LeafPlacement
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[LeafPlacement, _Mapping]] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: LeafPlacement
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[LeafPlacement, _Mapping]] = ...) -> None: ...
    class InputNodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: NodeKind
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[NodeKind, _Mapping]] = ...) -> None: ...
    class OutputNodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: NodeKind
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[NodeKind, _Mapping]] = ...) -> None: ...
    MESH_AXES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_NODES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NODES_FIELD_NUMBER: _ClassVar[int]
    SYMBOLIC_CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    ARGUMENT_NAMES_FIELD_NUMBER: _ClassVar[int]
    mesh_axes: _containers.RepeatedCompositeFieldContainer[MeshAxis]
    inputs: _containers.MessageMap[int, LeafPlacement]
    outputs: _containers.MessageMap[int, LeafPlacement]
    input_nodes: _containers.MessageMap[str, NodeKind]
    output_nodes: _containers.MessageMap[str, NodeKind]
    symbolic_constraints: _containers.RepeatedScalarFieldContainer[str]
    argument_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, mesh_axes: _Optional[_Iterable[_Union[MeshAxis, _Mapping]]] = ..., inputs: _Optional[_Mapping[int, LeafPlacement]] = ..., outputs: _Optional[_Mapping[int, LeafPlacement]] = ..., input_nodes: _Optional[_Mapping[str, NodeKind]] = ..., output_nodes: _Optional[_Mapping[str, NodeKind]] = ..., symbolic_constraints: _Optional[_Iterable[str]] = ..., argument_names: _Optional[_Iterable[str]] = ...) -> None: ...

class MeshAxis(_message.Message):
    __slots__ = ("name", "size", "axis_type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    AXIS_TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    axis_type: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., axis_type: _Optional[str] = ...) -> None: ...

class LeafPlacement(_message.Message):
    __slots__ = ("partition_spec", "memory_kind")
    PARTITION_SPEC_FIELD_NUMBER: _ClassVar[int]
    MEMORY_KIND_FIELD_NUMBER: _ClassVar[int]
    partition_spec: PartitionSpec
    memory_kind: str
    def __init__(self, partition_spec: _Optional[_Union[PartitionSpec, _Mapping]] = ..., memory_kind: _Optional[str] = ...) -> None: ...

class PartitionSpec(_message.Message):
    __slots__ = ("dimensions",)
    class Dimension(_message.Message):
        __slots__ = ("axes", "is_unconstrained")
        AXES_FIELD_NUMBER: _ClassVar[int]
        IS_UNCONSTRAINED_FIELD_NUMBER: _ClassVar[int]
        axes: _containers.RepeatedScalarFieldContainer[str]
        is_unconstrained: bool
        def __init__(self, axes: _Optional[_Iterable[str]] = ..., is_unconstrained: bool = ...) -> None: ...
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    dimensions: _containers.RepeatedCompositeFieldContainer[PartitionSpec.Dimension]
    def __init__(self, dimensions: _Optional[_Iterable[_Union[PartitionSpec.Dimension, _Mapping]]] = ...) -> None: ...

class NodeKind(_message.Message):
    __slots__ = ("kind", "children")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    kind: str
    children: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[str] = ..., children: _Optional[_Iterable[str]] = ...) -> None: ...

class ModuleFacts(_message.Message):
    __slots__ = ("stablehlo_version", "custom_calls", "operations", "constant_bytes", "largest_constants", "derivative_rules", "meshes", "has_manual_computations")
    class CustomCallsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class OperationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DerivativeRulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    STABLEHLO_VERSION_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_CALLS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LARGEST_CONSTANTS_FIELD_NUMBER: _ClassVar[int]
    DERIVATIVE_RULES_FIELD_NUMBER: _ClassVar[int]
    MESHES_FIELD_NUMBER: _ClassVar[int]
    HAS_MANUAL_COMPUTATIONS_FIELD_NUMBER: _ClassVar[int]
    stablehlo_version: str
    custom_calls: _containers.ScalarMap[str, int]
    operations: _containers.ScalarMap[str, int]
    constant_bytes: int
    largest_constants: _containers.RepeatedCompositeFieldContainer[Constant]
    derivative_rules: _containers.ScalarMap[str, int]
    meshes: _containers.RepeatedCompositeFieldContainer[Mesh]
    has_manual_computations: bool
    def __init__(self, stablehlo_version: _Optional[str] = ..., custom_calls: _Optional[_Mapping[str, int]] = ..., operations: _Optional[_Mapping[str, int]] = ..., constant_bytes: _Optional[int] = ..., largest_constants: _Optional[_Iterable[_Union[Constant, _Mapping]]] = ..., derivative_rules: _Optional[_Mapping[str, int]] = ..., meshes: _Optional[_Iterable[_Union[Mesh, _Mapping]]] = ..., has_manual_computations: bool = ...) -> None: ...

class Mesh(_message.Message):
    __slots__ = ("name", "axes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AXES_FIELD_NUMBER: _ClassVar[int]
    name: str
    axes: _containers.RepeatedCompositeFieldContainer[MeshAxis]
    def __init__(self, name: _Optional[str] = ..., axes: _Optional[_Iterable[_Union[MeshAxis, _Mapping]]] = ...) -> None: ...

class Constant(_message.Message):
    __slots__ = ("shape", "dtype", "size_bytes", "scope")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    size_bytes: int
    scope: str
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., size_bytes: _Optional[int] = ..., scope: _Optional[str] = ...) -> None: ...

class Lowerings(_message.Message):
    __slots__ = ("functions",)
    class FunctionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Lowering
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Lowering, _Mapping]] = ...) -> None: ...
    FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    functions: _containers.MessageMap[str, Lowering]
    def __init__(self, functions: _Optional[_Mapping[str, Lowering]] = ...) -> None: ...

class Lowering(_message.Message):
    __slots__ = ("object_name", "reason", "operation")
    OBJECT_NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    object_name: str
    reason: str
    operation: str
    def __init__(self, object_name: _Optional[str] = ..., reason: _Optional[str] = ..., operation: _Optional[str] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("name", "version", "description", "license", "authors", "tags", "framework_versions", "extra")
    class FrameworkVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ExtraEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    AUTHORS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    license: str
    authors: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    framework_versions: _containers.ScalarMap[str, str]
    extra: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., license: _Optional[str] = ..., authors: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., framework_versions: _Optional[_Mapping[str, str]] = ..., extra: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Examples(_message.Message):
    __slots__ = ("examples",)
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    examples: _containers.RepeatedCompositeFieldContainer[Example]
    def __init__(self, examples: _Optional[_Iterable[_Union[Example, _Mapping]]] = ...) -> None: ...

class Example(_message.Message):
    __slots__ = ("pipeline_name", "function_name", "path", "tolerances", "platform")
    class TolerancesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Tolerance
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Tolerance, _Mapping]] = ...) -> None: ...
    PIPELINE_NAME_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TOLERANCES_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    pipeline_name: str
    function_name: str
    path: str
    tolerances: _containers.MessageMap[str, Tolerance]
    platform: str
    def __init__(self, pipeline_name: _Optional[str] = ..., function_name: _Optional[str] = ..., path: _Optional[str] = ..., tolerances: _Optional[_Mapping[str, Tolerance]] = ..., platform: _Optional[str] = ...) -> None: ...

class Tolerance(_message.Message):
    __slots__ = ("relative", "absolute")
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    relative: float
    absolute: float
    def __init__(self, relative: _Optional[float] = ..., absolute: _Optional[float] = ...) -> None: ...
