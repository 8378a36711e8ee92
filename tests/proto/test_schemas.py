"""The schemas on their own: numbers of the format, presence, unknown fields, same bytes."""

from __future__ import annotations

import importlib
import pathlib

import pytest
from google.protobuf import unknown_fields

from orbax_model_lite._proto import (
    bundle_info_pb2,
    dtype_pb2,
    integrity_pb2,
    jax_supplemental_pb2,
    manifest_pb2,
    orchestration_pb2,
    type_pb2,
)

REPOSITORY = pathlib.Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "protos/orbax_model_lite/_proto").glob("*.proto"))


def generated(source: pathlib.Path):
    """Returns the module generated from `source`."""
    return importlib.import_module(f"orbax_model_lite._proto.{source.stem}_pb2")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_schema_has_a_file_name_and_a_package_that_are_ours(source):
    descriptor = generated(source).DESCRIPTOR
    assert descriptor.name == f"orbax_model_lite/_proto/{source.name}"
    assert descriptor.package.startswith("orbax_model_lite.")


def test_every_generated_module_has_a_schema():
    modules = {p.stem for p in (REPOSITORY / "orbax_model_lite/_proto").glob("*_pb2.py")}
    assert modules == {f"{source.stem}_pb2" for source in SOURCES}


def fields(message) -> dict[str, int]:
    """Returns the field numbers of a message class by name."""
    return {field.name: field.number for field in message.DESCRIPTOR.fields}


# The contract of the OBM format 0.0.1. These numbers never change.
FORMAT = {
    manifest_pb2.Manifest: dict(
        objects=1, supplemental_info=2, device_assignment_by_coords=3, frequent_paths=4
    ),
    manifest_pb2.DeviceAssignmentByCoords: dict(devices=1),
    manifest_pb2.DeviceAssignmentByCoords.Device: dict(id=1, coords=2, core_on_chip=3),
    manifest_pb2.TopLevelObject: dict(function=1, value=2, poly_fn=3),
    manifest_pb2.Function: dict(
        signature=1, body=2, data_names=3, visibility=4, gradient_function_name=5
    ),
    manifest_pb2.PolymorphicFunction: dict(concrete_functions=1),
    manifest_pb2.FunctionBody: dict(stable_hlo_body=1, other=2),
    manifest_pb2.StableHloFunctionBody: dict(
        stable_hlo=1,
        calling_convention_version=2,
        lowering_platforms=3,
        module_kept_var_idx=4,
        supplemental_info=5,
    ),
    manifest_pb2.Value: dict(external=1, tuple=2, named_tuple=3),
    manifest_pb2.ExternalValue: dict(type=1, data=2, loader_type=3),
    manifest_pb2.TupleValue: dict(elements=1),
    manifest_pb2.NamedTupleValue: dict(elements=1),
    manifest_pb2.NamedTupleValue.Pair: dict(name=1, value=2),
    manifest_pb2.UnstructuredData: dict(
        file_system_location=1, inlined_string=2, inlined_bytes=3, mime_type=4, version=5
    ),
    manifest_pb2.FileSystemLocation: dict(
        string_path=1, frequent_path_idx=2, offset_in_byte=3, size_in_byte=4
    ),
    manifest_pb2.CompileOptionsProtoMap: dict(map=1),
    type_pb2.FunctionSignature: dict(input=1, output=2),
    type_pb2.Type: dict(leaf=1, tuple=2, list=3, none=4, dict=6, string_type_pairs=7),
    type_pb2.Dict: dict(string_to_type=1),
    type_pb2.StringTypePairs.StringTypePair: dict(fst=1, snd=2),
    type_pb2.LeafType: dict(tensor_type=1, token_type=2),
    type_pb2.TensorType: dict(shape=1, dtype=2, sharding=3, layout=4),
    type_pb2.Shape: dict(shape_with_known_rank=1),
    type_pb2.ShapeWithKnownRank: dict(dimension_sizes=1),
    type_pb2.DimensionSize: dict(size=1),
    jax_supplemental_pb2.Function: dict(
        input_spec_refinements=1,
        output_spec_refinements=2,
        nr_devices=3,
        ordered_effects=4,
        unordered_effects=5,
        disabled_checks=6,
        uses_shape_polymorphism=7,
        name=8,
    ),
    jax_supplemental_pb2.ShapeDTypeRefinements: dict(list=1, map=2),
    jax_supplemental_pb2.ShapeDTypeRefinementList: dict(refinements=1),
    jax_supplemental_pb2.ShapeDTypeRefinementMap: dict(idx_to_refinement=1),
    jax_supplemental_pb2.ShapeDTypeRefinement: dict(shape=1, dtype=2),
    jax_supplemental_pb2.ShapeRefinement: dict(dimension_sizes=1),
    jax_supplemental_pb2.DimensionSizeRefinement: dict(size=1),
    jax_supplemental_pb2.DisabledSafetyCheck: dict(platform=1, custom_call=2, shape_assertions=3),
    orchestration_pb2.Pipelines: dict(name_to_pipeline=1),
    orchestration_pb2.Pipeline: dict(
        signature=1,
        named_signature=2,
        pre_processor_names=3,
        model_functions=4,
        post_processor_names=5,
        batch_options=6,
        components=7,
        keyword_arguments_based=8,
    ),
    orchestration_pb2.BoundModelFunction: dict(model_function_name=1, weights_name=2),
    orchestration_pb2.Component: dict(function_name=1, role=2, named_signature=4, weights_name=5),
    orchestration_pb2.NamedTensorType: dict(name=1, tensor_type=2, consumer_count=3),
    orchestration_pb2.BatchOptions: dict(
        batch_component=1,
        max_batch_size=2,
        batch_timeout_micros=3,
        allowed_batch_sizes=4,
        disable_large_batch_splitting=5,
        num_batch_threads=6,
        max_enqueued_batches=7,
        batch_padding_policy=8,
        low_priority_batch_options=9,
        mixed_priority_batching_policy=10,
    ),
    orchestration_pb2.LowPriorityBatchOptions: dict(
        max_batch_size=1, batch_timeout_micros=2, allowed_batch_sizes=3, max_enqueued_batches=4
    ),
}


@pytest.mark.parametrize(
    ("message", "expected"), FORMAT.items(), ids=lambda item: getattr(item, "__name__", "")
)
def test_field_numbers_are_those_of_the_format(message, expected):
    numbers = {name: number for name, number in fields(message).items() if number < 1000}
    assert numbers == expected


def test_dtypes_have_the_numbers_of_the_format():
    names = (
        "UNSPECIFIED i1 si8 si16 si32 si64 ui8 ui16 ui32 ui64 f16 f32 f64 c64 c128 bf16 si4 ui4 "
        "f8_e4m3b11fnuz f8_e4m3fn f8_e4m3fnuz f8_e5m2 f8_e5m2fnuz"
    )
    expected = {name: i for i, name in enumerate(names.split())} | {"str": 100}
    assert dict(dtype_pb2.DType.items()) == expected


def test_a_replicated_sharding_differs_from_an_unspecified_one():
    replicated = type_pb2.TensorType(sharding=b"")
    assert replicated.SerializeToString() == b"\x1a\x00"
    assert type_pb2.TensorType.FromString(b"\x1a\x00").HasField("sharding")
    assert not type_pb2.TensorType.FromString(b"").HasField("sharding")


def test_the_float0_refinement_is_visible_though_its_value_is_zero():
    wire = jax_supplemental_pb2.ShapeDTypeRefinement(
        dtype=jax_supplemental_pb2.f0
    ).SerializeToString()
    assert wire == b"\x10\x00"
    assert jax_supplemental_pb2.ShapeDTypeRefinement.FromString(wire).HasField("dtype")


def test_a_scalar_differs_from_an_unknown_rank_and_an_unknown_size_from_zero():
    scalar = type_pb2.Shape(shape_with_known_rank=type_pb2.ShapeWithKnownRank())
    assert scalar.SerializeToString() == b"\n\x00"
    assert not type_pb2.Shape.FromString(b"").HasField("shape_with_known_rank")
    assert type_pb2.DimensionSize(size=0).SerializeToString() == b"\x08\x00"


def test_kept_argument_positions_are_packed():
    body = manifest_pb2.StableHloFunctionBody(module_kept_var_idx=[0, 2])
    assert body.SerializeToString() == b"\x22\x02\x00\x02"


def test_unknown_fields_survive_and_can_be_read():
    """Scheduler settings of later writers have numbers that nobody published."""
    wire = b"\x10\x08" + b"\x5a\x02\x08\x01"  # max_batch_size=2: 8, then a message at 11
    options = orchestration_pb2.BatchOptions.FromString(wire)
    assert [field.field_number for field in unknown_fields.UnknownFieldSet(options)] == [11]
    assert options.SerializeToString() == wire


def test_unknown_enum_values_survive():
    wire = b"\x40\x63"  # batch_padding_policy=8: 99
    assert orchestration_pb2.BatchOptions.FromString(wire).SerializeToString() == wire


def test_the_same_maps_give_the_same_bytes_in_any_order_of_insertion():
    names = [f"key{i}" for i in range(20)]
    wires = set()
    for order in (names, names[::-1]):
        metadata = bundle_info_pb2.Metadata()
        for name in order:
            metadata.extra[name] = name
        wires.add(metadata.SerializeToString(deterministic=True))
    assert len(wires) == 1


def test_a_digest_record_has_these_bytes():
    """Readers in other languages rely on the numbers of integrity.pb."""
    record = integrity_pb2.Integrity(
        files=[integrity_pb2.File(path="a", size_bytes=3, sha256=b"\xff")],
        algorithm="sha256",
        format_version="1",
    )
    assert record.SerializeToString() == b"\n\x08\n\x01a\x10\x03\x1a\x01\xff\x12\x06sha256\x1a\x011"


@pytest.mark.parametrize("implementation", ["python", "upb"])
def test_the_code_loads_under_both_protobuf_implementations(implementation, fresh_python):
    modules = [f"orbax_model_lite._proto.{source.stem}_pb2" for source in SOURCES]
    code = """
        import importlib, sys
        from google.protobuf.internal import api_implementation
        for module in sys.argv[1:]:
            importlib.import_module(module)
        print(api_implementation.Type())
    """
    env = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    assert fresh_python(code, *modules, env=env).strip() == implementation


def test_stubs_do_not_hide_builtins():
    """An enum value called `str` beside string fields would make every annotation wrong."""
    stubs = (REPOSITORY / "orbax_model_lite/_proto").glob("*_pb2.pyi")
    hiding = {stub.stem for stub in stubs if "\nstr: " in stub.read_text(encoding="utf-8")}
    assert hiding == {"dtype_pb2"}
