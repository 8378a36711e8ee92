"""Every bundle of the corpus is read, and says what its writer put into it."""

from __future__ import annotations

import json

import pytest

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import layout, manifest
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import (
    OpaqueFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.value import ExternalValue
from tests.core.corpus_bundles import (
    CORPUS,
    MLIR_MAGIC,
    NAMES,
    concrete_functions,
    corpus,
    shlo,
    spec,
    written,
)


def test_the_corpus_is_there():
    assert len(NAMES) >= 23


@pytest.mark.parametrize("name", NAMES)
def test_every_bundle_is_read(name):
    bundle = corpus(name)
    assert bundle.objects
    assert list(bundle.objects) == sorted(bundle.objects)


@pytest.mark.parametrize("name", NAMES)
def test_every_module_is_bytecode_of_mlir(name):
    bundle = corpus(name)
    for _, function in concrete_functions(bundle):
        if isinstance(function, ShloFunction):
            assert layout.canonical_mime_type(function.mime_type) == layout.MIME_STABLEHLO
            assert bundle.read_bytes(function.module).startswith(MLIR_MAGIC)


@pytest.mark.parametrize("name", NAMES)
def test_every_payload_that_is_mentioned_is_there(name):
    bundle = corpus(name)
    mentioned = list(bundle.supplementals.values())
    for _, function in concrete_functions(bundle):
        if isinstance(function, OpaqueFunction):
            mentioned.append(function.body)
        else:
            mentioned += [s.data for s in function.supplementals.values()]
    for data in mentioned:
        if data.file is None or bundle.resolve(data).is_file():
            assert bundle.read_bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_signatures_have_as_many_leaves_as_the_recorded_calls(name):
    note = json.loads((CORPUS / name / "note.json").read_text(encoding="utf-8"))
    bundle = corpus(name)
    for object_name, calls in note["calls"].items():
        variants = [f for n, f in concrete_functions(bundle) if n == object_name]
        if object_name not in bundle.objects:  # calls of whole pipelines
            continue
        for call in calls:
            signatures = [(v.signature.input_leaves, v.signature.output_leaves) for v in variants]
            assert (len(call["in"]), len(call["out"])) in [
                (len(inputs), len(outputs)) for inputs, outputs in signatures
            ]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_of_todays_layout_is_written_as_it_was(name):
    bundle = corpus(name)
    if bundle.layout != "2025-09":
        assert "legacy" in name
        return
    original = manifest_pb2.Manifest.FromString((bundle.path / "manifest.pb").read_bytes())
    assert written(bundle) == original


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_without_its_origin_is_the_same_for_all_that_is_known(name):
    bundle = corpus(name)
    again = manifest.from_proto(
        manifest_pb2.Manifest.FromString(manifest.to_bytes(written(bundle))),
        lambda data, where: bundle.read_bytes(data, where=where),
    )
    assert again.objects == bundle.objects
    assert again.supplementals == bundle.supplementals


def test_a_simple_function_has_all_its_parts():
    function = shlo("simple_f32")
    params = {"b": spec("float32", 3), "w": spec("float32", 4, 3)}
    assert function.signature == Signature.of_call(
        (params, spec("float32", 2, 4)), {}, spec("float32", 2, 3)
    )
    assert (function.module.mime_type, function.module.version) == (layout.MIME_STABLEHLO, "1.0")
    assert function.calling_convention_version == 10
    assert function.platforms == ("cpu",)
    assert function.kept_inputs == (0, 1, 2)
    assert function.supplementals == {}
    assert function.jax is not None
    assert (function.jax.name, function.jax.device_count) == ("f", 1)
    assert not function.jax.uses_shape_polymorphism
    assert function.visibility is Visibility.PUBLIC


def test_two_revisions_that_wrote_one_function_agree():
    older = shlo("simple_f32__feb26")
    newer = shlo("simple_f32")
    assert (older.signature, older.jax, older.platforms) == (
        newer.signature,
        newer.jax,
        newer.platforms,
    )


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int4",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint4",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
    ],
)
def test_every_dtype_is_read(dtype):
    signature = shlo("dtypes_x64", f"f_{dtype}").signature
    leaf = spec(dtype, 2, 3)
    assert signature == Signature.of_call((leaf,), {}, (leaf, spec(dtype, 3)))


def test_symbolic_dimensions_are_expressions_in_the_signature():
    function = shlo("symbolic_shapes", "f_bt")
    assert function.signature.inputs == ((spec("float32", "b", "t"),), {})
    assert function.signature.outputs == {
        "fix": spec("float32"),
        "flat": spec("float32", "b*t"),
        "pad": spec("float32", "b", "2*t + 1"),
        "sh": spec("float32", "t", "b"),
    }
    assert function.signature.symbols == ("b", "t")
    assert function.jax is not None
    assert function.jax.uses_shape_polymorphism


def test_refinements_kept_as_a_map_are_read_too():
    function = shlo("symbolic_shapes", "f_map")
    pair = spec("float32", 2)
    assert function.signature.args == (pair, pair, pair, pair, spec("float32", "n", 2))
    assert function.signature.outputs == (pair, spec("float32", "n", 2))


def test_float0_is_a_dtype_of_the_signature():
    assert shlo("float0_vjp", "f_vjp").signature == Signature.of_call(
        (spec("float32", 3), spec("int32", 3), spec("float32", 3), spec("float0", 3)),
        {},
        (spec("float32", 3), spec("float0", 3)),
    )
    assert [leaf.dtype for leaf in shlo("float0_vjp", "f5_vjp").signature.output_leaves] == [
        *[DType.FLOAT32] * 4,
        DType.FLOAT0,
    ]


def test_containers_of_every_kind_keep_their_kind_also_when_empty():
    signature = shlo("nested_trees").signature
    tree, nothing, empties = signature.args
    assert nothing is None
    assert empties == ((), [], {})
    assert tree["empty"] == {}
    first, (second, below) = tree["t"]
    assert (first, second) == (spec("float32", 2), spec("float32", 3))
    assert below == {"k": spec("float32", 1), "none": None}
    assert type(tree["t"]) is tuple
    assert type(tree["t"][1]) is list
    assert shlo("nested_trees", "none_out").signature.outputs is None
    assert shlo("nested_trees", "no_out").signature.outputs == ()
    assert shlo("nested_trees", "no_in").signature.args == ()


def test_a_dict_whose_order_was_lost_is_read_in_the_order_of_its_keys():
    leaves = shlo("custom_nodes", "f_od").signature.input_leaves
    assert leaves == [spec("float32", 3), spec("float32", 2)]


def test_platforms_keep_the_order_that_the_module_counts():
    assert shlo("multi_platform").platforms == ("cpu", "cuda", "tpu")
    assert shlo("multi_platform", "f_rocm").platforms == ("rocm", "cpu")
    assert shlo("multi_platform", "f_tpu_only").platforms == ("tpu",)


def test_visibility_and_data_names_are_those_of_each_function():
    objects = corpus("visibility_data_names").objects
    seen = {
        name: (o.visibility, o.data_names) for name, o in objects.items() if name != "poly_priv"
    }
    assert seen == {
        "priv": (Visibility.PRIVATE, ()),
        "pub": (Visibility.PUBLIC, ("params.Dense_0.kernel", "params.a.b")),
        "unlisted": (Visibility.PUBLIC, ()),
    }
    assert [f.visibility for f in objects["poly_priv"].functions] == [Visibility.PRIVATE]


def test_layouts_are_bytes_and_absent_ones_none():
    (weights, inputs), output = shlo("layouts").signature.args, shlo("layouts").signature.outputs
    assert weights.layout == b"\n\x02\0\1"
    assert inputs.layout.startswith(b"\n\x02\1\0")
    assert output.layout is None


def test_replicated_and_unspecified_shardings_differ():
    params, split, whole = shlo("sharded4__feb26").signature.args
    assert params["w"].sharding
    assert split.sharding is None or split.sharding
    shardings = {leaf.sharding for leaf in shlo("sharded4__feb26").signature.input_leaves}
    shardings |= {leaf.sharding for leaf in shlo("sharded4__feb26").signature.output_leaves}
    assert b"" in shardings
    assert None in shardings
    assert whole.shape == (2,)


def test_device_assignments_have_coordinates_only_for_tpus():
    assert corpus("device_assignment_tpu").device_assignment == (
        Device(id=0, coords=(0, 0, 0), core_on_chip=0),
        Device(id=1, coords=(1, 0, 0), core_on_chip=0),
        Device(id=2, coords=(0, 1, 0), core_on_chip=0),
        Device(id=3, coords=(1, 1, 0), core_on_chip=0),
    )
    assert corpus("sharded4__feb26").device_assignment == tuple(Device(id=i) for i in range(4))
    assert corpus("simple_f32").device_assignment is None


def test_frequent_paths_and_ranges_lead_to_the_payloads():
    bundle = corpus("frequent_paths")
    assert bundle.frequent_paths == ("unused/path.bin", "blobs/code.bin", "blobs/info.bin")
    ranges = {name: bundle.objects[name].module.content for name in "fhk"}
    assert ranges["f"] == FileRange(path="blobs/code.bin", offset=7, size=830, frequent_index=1)
    assert (ranges["h"].offset, ranges["h"].size) == (-1536, 733)
    assert ranges["k"].size is None
    names = {name: bundle.objects[name].jax.name for name in "fhk"}
    assert all(names.values())


def test_modules_in_files_are_found():
    bundle = corpus("shlo_to_file")
    assert bundle.objects["f"].module.file == FileRange(path="f.shlo")
    variants = [f.module.file.path for f in bundle.objects["p"].functions]
    assert variants == ["__p_0.shlo", "__p_1.shlo"]


def test_polymorphic_functions_keep_the_order_of_the_author():
    functions = corpus("poly_fn__feb26").objects["p"].functions
    shapes = [f.signature.args[1].shape for f in functions]
    assert shapes == [(1, 3, 2), (1, 4, 2), (2, 3, 2), (2, 4, 2)]


def test_supplementals_of_every_kind_are_read():
    bundle = corpus("supplementals")
    assert bundle.supplementals == {
        "b": Data(content=b"\0\xff"),
        "file": Data(
            content=FileRange(path="sub/dir/x.bin"),
            mime_type="application/octet-stream",
            version="1",
        ),
        "loc": Data(content=FileRange(path="sub/dir/")),
        "noversion": Data(content=FileRange(path="novers.txt"), mime_type="", version=""),
        "s": Data(content="text é", mime_type="text/plain", version="1"),
    }
    supplementals = bundle.objects["f"].supplementals
    assert {key: s.extension for key, s in supplementals.items()} == {
        "readme": "",
        "xla_compile_options": None,
    }


def test_external_values_say_where_the_weights_are():
    values = corpus("checkpoint_weights").values
    places = {name: (v.data.file.path, v.data.mime_type) for name, v in values.items()}
    assert ("checkpoint/", layout.MIME_ORBAX_CHECKPOINT) in places.values()
    assert all(isinstance(value, ExternalValue) for value in values.values())


def test_tensorflow_functions_are_opaque_with_strings_and_unknown_dimensions():
    bundle = corpus("tf_pre_post")
    pre = bundle.objects["pre"]
    assert isinstance(pre, OpaqueFunction)
    assert pre.signature.args == (spec("string", None), spec("float32", None, 2))
    assert (pre.mime_type, pre.extension) == (layout.MIME_TF_FUNCTION, "pb")
    assert set(bundle.supplementals) == {"orchestration", "tensorflow_saved_model"}
    nest = corpus("tf_signatures").objects["nest"].signature
    assert nest.kwargs["k2"] == Spec(shape=None, dtype=DType.FLOAT32)


def test_a_foreign_plan_is_an_opaque_function_without_the_form_of_a_call():
    function = corpus("jd_module").objects["jd_pre"]
    assert isinstance(function, OpaqueFunction)
    assert not function.signature.has_call_form
    assert function.body.file == FileRange(path="jd_module/jd_pre.pb")
    assert function.signature.outputs == {"y": Spec(shape=None, dtype=DType.FLOAT32)}
