"""What `convert` makes of functions, specs and options."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidModelError, UnsupportedError
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees
from orbax_model_lite.jaxtypes.trees import NodeKind
from orbax_model_lite.stablehlo.module import text, version_of

pytestmark = pytest.mark.frameworks

P = PartitionSpec
CPU = ["cpu"]


class Params(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Output:
    logits: Any
    hidden: Any


def trees_of(function) -> JaxTrees:
    return JaxTrees.from_payload(function.supplementals[layout.KEY_JAX_TREES].data.content, "f")


def affine(params, x, *, scale=1.0):
    return (x @ params["w"] + params["b"]) * scale


AFFINE = ({"w": np.ones((3, 4), np.float32), "b": np.ones(4, np.float32)}, "n, 3")


def test_the_signature_is_that_of_the_call():
    function = convert(affine, AFFINE, {"scale": "float32[]"}, platforms=CPU)
    assert str(function.signature) == (
        "({w: float32 [3, 4], b: float32 [4]}, float32 [n, 3], scale=float32 []) -> float32 [n, 4]"
    )


def test_the_default_platforms_are_cpu_cuda_and_tpu():
    assert convert(lambda x: x + 1, ("2",)).platforms == ("cpu", "cuda", "tpu")


def test_the_module_is_stablehlo_of_the_oldest_supported_jax():
    module = convert(lambda x: x + 1, ("2",)).module
    assert (module.mime_type, module.version) == (layout.MIME_STABLEHLO, "1.0")
    assert version_of(module.content) == "1.15.0"


def test_the_name_is_the_functions_own_or_the_one_given():
    assert convert(affine, AFFINE, platforms=CPU).jax.name == "affine"
    assert convert(affine, AFFINE, platforms=CPU, name="encode").jax.name == "encode"
    assert convert(functools.partial(affine, scale=2.0), AFFINE, platforms=CPU).jax.name == "affine"


def test_the_names_of_arguments_are_kept_in_the_record_and_in_the_module():
    function = convert(affine, AFFINE, platforms=CPU)
    assert trees_of(function).argument_names == ("params", "x")
    assert "params['w']" in text(function.module.content, locations=True)


def test_arguments_without_names_have_empty_ones():
    function = convert(lambda x, *rest: x + rest[0], ("2", "2"), platforms=CPU)
    assert trees_of(function).argument_names == ("x", "")


def test_equal_functions_give_equal_bytes_whatever_was_lowered_before():
    first = convert(affine, AFFINE)
    jax.jit(affine)({"w": jnp.ones((3, 4)), "b": jnp.ones(4)}, jnp.ones((2, 3))).block_until_ready()
    assert convert(affine, AFFINE).module.content == first.module.content


SOURCE = """
def function(params, x):
    return x @ params
"""


def test_equal_functions_give_equal_bytes_from_two_folders(tmp_path):
    made = []
    for name in ("one", "another"):
        path = tmp_path / name / "model.py"
        path.parent.mkdir()
        path.write_text(SOURCE)
        space: dict[str, Any] = {}
        exec(compile(SOURCE, str(path), "exec"), space)
        made.append(convert(space["function"], ("3, 4", "2, 3"), platforms=CPU))
    assert made[0] == made[1]
    assert str(tmp_path).encode() not in made[0].module.content


@pytest.mark.parametrize("option", [{"static_argnames": "n"}, {"static_argnames": ("n",)}])
def test_a_static_argument_is_fixed_and_not_in_the_signature(option):
    function = convert(lambda x, n: x * n, ("2", 3), platforms=CPU, **option)
    assert str(function.signature) == "(float32 [2]) -> float32 [2]"
    assert trees_of(function).argument_names == ("x",)


def test_static_arguments_of_a_jitted_function_are_known():
    jitted = jax.jit(
        lambda mode, x, n: x * n if mode == "times" else x, static_argnames=("mode", "n")
    )
    function = convert(jitted, ("times", "2"), {"n": 3}, platforms=CPU)
    assert str(function.signature) == "(float32 [2]) -> float32 [2]"
    assert trees_of(function).argument_names == ("x",)


def test_a_static_name_that_is_not_given_is_refused():
    with pytest.raises(InvalidModelError, match=r"among the given arguments \(x\); found 'mode'"):
        convert(lambda x: x, ("2",), static_argnames="mode")


def test_unused_inputs_are_in_the_signature_and_not_taken_by_the_module():
    function = convert(lambda x, unused, y: x + y, ("2", "3", "2"), platforms=CPU)
    assert len(function.signature.input_leaves) == 3
    assert function.kept_inputs == (0, 2)


def test_donated_arguments_are_as_any_other():
    function = convert(jax.jit(lambda x: x + 1, donate_argnums=0), ("2",), platforms=CPU)
    assert function.kept_inputs == (0,)


def test_kinds_of_nodes_are_recorded_for_inputs_and_outputs():
    function = convert(
        lambda params, x: Output(x @ params.w + params.b, {1: x}),
        (Params(w="3, 4", b="4"), "n, 3"),
        platforms=CPU,
    )
    assert str(function.signature) == (
        "((float32 [3, 4], float32 [4]), float32 [n, 3]) "
        "-> {hidden: {1: float32 [n, 3]}, logits: float32 [n, 4]}"
    )
    record = trees_of(function)
    assert record.input_kinds == {"0.0": NodeKind(kind="namedtuple:Params", children=("w", "b"))}
    assert record.output_kinds == {
        "": NodeKind(kind="dataclass:Output", children=("logits", "hidden")),
        "hidden": NodeKind(kind="dict", children=("1",)),
    }


def test_constraints_are_recorded_where_there_are_symbols():
    function = convert(lambda x: x, ("b",), constraints=("b >= 2",), platforms=CPU)
    assert trees_of(function).constraints == ("b >= 2",)


def test_typed_keys_are_their_words_with_a_logical_type():
    function = convert(jax.random.split, (jax.random.key(0),), platforms=CPU)
    (found,) = function.signature.input_leaves
    assert (str(found.dtype.value), found.shape, found.logical) == ("uint32", (2,), "key<fry>")
    (made,) = function.signature.output_leaves
    assert (made.shape, made.logical) == ((2, 2), "key<fry>")


@pytest.mark.parametrize(
    "dtype",
    [
        "int2",
        "int4",
        "uint4",
        "int8",
        "uint64",
        "int64",
        "float4_e2m1fn",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e3m4",
        "bfloat16",
        "float16",
        "float64",
        "complex64",
        "complex128",
        "bool",
    ],
)
def test_every_type_is_kept_in_and_out_though_x64_mode_is_off(dtype):
    function = convert(lambda x: jnp.reshape(x, (3, 2)), (f"{dtype}[2, 3]",))
    assert str(function.signature) == f"({dtype} [2, 3]) -> {dtype} [3, 2]"


def test_float0_inputs_are_kept():
    spec = jax.ShapeDtypeStruct((2,), jax.dtypes.float0)
    function = convert(lambda x, t: x, ("2", spec), platforms=CPU)
    assert str(function.signature) == "(float32 [2], float0 [2]) -> float32 [2]"


def test_an_output_that_is_no_array_is_refused_with_its_path():
    with pytest.raises(InvalidModelError, match=r"^function 'f', output 'a\.0': expected an array"):
        convert(lambda x: {"a": ["text"]}, ("2",), name="f", platforms=CPU)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ({"x": "2"}, "args_spec as a tuple"),
        ((object(),), "input 'x': expected an array"),
        (("float33[2]",), "input 'x': expected a dtype"),
        (({1: "2", "1": "2"},), "become equal as strings"),
    ],
)
def test_specs_that_are_none_are_refused(specs, message):
    with pytest.raises(InvalidModelError, match=rf"^function 'f'.*{message}"):
        convert(lambda x: x, specs, name="f")


@pytest.mark.parametrize(
    "impure",
    [
        lambda x: jax.debug.print("{}", x) or x,
        lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((2,), np.float32), x),
        lambda x: jax.experimental.io_callback(
            np.sin, jax.ShapeDtypeStruct((2,), np.float32), x, ordered=True
        ),
    ],
    ids=["debug.print", "pure_callback", "io_callback"],
)
@pytest.mark.parametrize("platforms", [CPU, None])
def test_callbacks_are_refused_with_the_reason(impure, platforms):
    with pytest.raises(InvalidModelError, match="Python callbacks"):
        convert(impure, ("2",), platforms=platforms)


# ------------------------------------------------------------------------------- platforms


def test_a_platform_that_does_not_lower_is_left_out_with_a_warning_naming_the_operation():
    with pytest.warns(UserWarning, match=r"'f': does not lower for tpu \(operation 'eig'"):
        function = convert(
            lambda x: jnp.linalg.eig(x)[0], ("3, 3",), platforms=["cpu", "tpu"], name="f"
        )
    assert function.platforms == ("cpu",)


def test_a_left_out_platform_is_warned_of_where_convert_was_called():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convert(lambda x: jnp.linalg.eig(x)[0], ("3, 3",), platforms=["cpu", "tpu"])
    assert [warning.filename for warning in caught] == [__file__]


def test_the_platform_at_hand_must_lower():
    def only_tpu(x):
        return jax.ffi.ffi_call("nobody_knows", jax.ShapeDtypeStruct((3,), np.float32))(x)

    with pytest.raises(InvalidModelError, match=r"custom_call:nobody_knows"):
        convert(only_tpu, ("3",))


def test_a_function_that_lowers_nowhere_is_refused():
    with pytest.raises(UnsupportedError, match="lowers for tpu; found operation 'eig'"):
        convert(lambda x: jnp.linalg.eig(x)[0], ("3, 3",), platforms=["tpu"])


def test_a_disabled_check_lets_a_custom_call_pass_and_is_recorded():
    def custom(x):
        return jax.ffi.ffi_call("nobody_knows", jax.ShapeDtypeStruct((3,), np.float32))(x)

    for check in (
        "custom_call:nobody_knows",
        jax.export.DisabledSafetyCheck.custom_call("nobody_knows"),
    ):
        function = convert(custom, ("3",), platforms=CPU, disabled_checks=[check])
        assert function.jax.disabled_checks == ("custom_call:nobody_knows",)


@pytest.mark.parametrize(
    "options",
    [
        {"platforms": ["CPU"]},
        {"platforms": ["gpu"]},
        {"platforms": []},
        {"disabled_checks": ["everything"]},
        {"xla_compile_options": {"tpu": b""}},
        {"model_inputs_layout": []},
    ],
    ids=str,
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(InvalidModelError, match="expected"):
        convert(lambda x: x, ("2",), **{"platforms": CPU, **options})


# ------------------------------------------------------------------------------- records


def test_compile_options_are_kept_as_they_are():
    from orbax_model_lite._proto.manifest_pb2 import CompileOptionsProtoMap

    function = convert(lambda x: x, ("2",), platforms=CPU, xla_compile_options={"cpu": b"\x12\x00"})
    found = function.supplementals[layout.KEY_COMPILE_OPTIONS].data
    assert found.mime_type == layout.MIME_COMPILE_OPTIONS
    assert dict(CompileOptionsProtoMap.FromString(found.content).map) == {"cpu": b"\x12\x00"}


def test_layouts_of_inputs_are_as_the_original_wrote_them():
    from jax.experimental.layout import Layout

    function = convert(
        lambda w, x, y: (w, x, y),
        ("4, 3", "2, 4", "2"),
        platforms=CPU,
        model_inputs_layout=[Layout((1, 0)), Layout((0, 1), ((8, 128),)), None],
    )
    found = [leaf.layout for leaf in function.signature.input_leaves]
    assert found == [b"\n\x02\x00\x01", b"\n\x02\x01\x002\x05\n\x03\x08\x80\x01", None]
    assert all(leaf.layout is None for leaf in function.signature.output_leaves)


def test_facts_about_the_module_are_recorded():
    from orbax_model_lite.core.module_facts import ModuleFacts

    function = convert(jnp.sin, ("2",), platforms=CPU)
    payload = function.supplementals[layout.KEY_MODULE_FACTS].data.content
    assert ModuleFacts.from_payload(payload).operations["stablehlo.sine"] == 1


def test_complex_constants_are_counted():
    from orbax_model_lite.core.module_facts import ModuleFacts

    splat, various = np.full(1000, 1 + 2j, np.complex64), np.arange(1000).astype(np.complex64)
    for constant, size_bytes in ((splat, 8), (various, 8000)):
        function = convert(lambda x, c=constant: x + c, ("c64[1000]",), platforms=CPU)
        payload = function.supplementals[layout.KEY_MODULE_FACTS].data.content
        assert ModuleFacts.from_payload(payload).constant_bytes == size_bytes


def test_names_of_needed_weights_and_the_gradient_function_are_kept():
    function = convert(
        lambda x: x, ("2",), platforms=CPU, data_names=["a.b"], gradient_function_name="f_vjp"
    )
    assert (function.data_names, function.gradient_function_name) == (("a.b",), "f_vjp")


def test_large_constants_are_warned_of_and_too_large_ones_refused():
    large, larger = (
        np.zeros((300, 1000)) + np.arange(1000.0),
        np.arange(17_000_000, dtype=np.float32),
    )
    with pytest.warns(UserWarning, match=r"f32 \[300, 1000\].*hoist_constants"):
        convert(lambda x: x + large.astype(np.float32), ("1000",), platforms=CPU)
    with pytest.raises(InvalidModelError, match=r"at most 64 MB.*allow_large_constants=True"):
        convert(lambda x: x + jnp.asarray(larger)[:3], ("3",), platforms=CPU)
