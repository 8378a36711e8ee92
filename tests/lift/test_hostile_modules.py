"""Modules that are broken, foreign or made to do harm end in an error that tells what is wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.lift import lift_module

_DECLARATION = "func.func private @f(%x: tensor<2xf32>) -> tensor<2xf32>"
_QUANTIZED = "tensor<2x!quant.uniform<i8:f32, 0.5>>"


def _straight_line(count: int) -> str:
    sums = [f"%v{i} = stablehlo.add %v{i - 1}, %v0 : tensor<2xf32>" for i in range(1, count + 1)]
    return (
        "func.func @main(%v0: tensor<2xf32>) -> tensor<2xf32> {\n"
        + "\n".join(sums)
        + f"\nreturn %v{count} : tensor<2xf32>\n}}"
    )


def _nested_branches(depth: int) -> str:
    heads = [f'%r{i} = "stablehlo.if"(%p) ({{' for i in range(depth)]
    tails = [
        '}, { "stablehlo.return"(%x) : (tensor<f32>) -> () }) : (tensor<i1>) -> tensor<f32>\n'
        + (f'"stablehlo.return"(%r{i}) : (tensor<f32>) -> ()' if i else "return %r0 : tensor<f32>")
        for i in reversed(range(depth))
    ]
    return "\n".join(
        [
            "func.func @main(%p: tensor<i1>, %x: tensor<f32>) -> tensor<f32> {",
            *heads,
            '"stablehlo.return"(%x) : (tensor<f32>) -> ()',
            *tails,
            "}",
        ]
    )


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        'func.func @main() { "foo.bar"() : () -> () return }',
        'func.func @main() { "stablehlo.zork"() : () -> () return }',
        "func.func @main(%x: tensor<2xf32>) { %y = stablehlo.add %x, %x : tensor<3xf32> return }",
        "func.func @main() { return } // \udc80",
    ],
    ids=["words", "unknown dialect", "unknown operation", "wrong types", "a lone surrogate"],
)
def test_text_that_is_no_module_is_an_invalid_bundle(text: str) -> None:
    with pytest.raises(InvalidBundleError, match=r"^StableHLO module: expected MLIR text; found "):
        lift_module(text)


@pytest.mark.parametrize("source", [None, 5, bytearray(b"ML\xefR")])
def test_a_source_that_is_no_source_is_an_invalid_bundle(source: object) -> None:
    with pytest.raises(InvalidBundleError, match=type(source).__name__):
        lift_module(source)  # pyright: ignore[reportArgumentType]  # that is the point


@pytest.mark.parametrize(
    "text",
    [
        "module attributes {a.b = " + "[" * 100_000 + "]" * 100_000 + "} {}",
        "func.func @main(%x: "
        + "tuple<" * 100_000
        + "tensor<f32>"
        + ">" * 100_000
        + ") { return }",
        _nested_branches(20_000),
    ],
    ids=["attributes", "types", "regions"],
)
def test_text_of_brackets_in_brackets_is_refused_before_mlir_parses_it(text: str) -> None:
    with pytest.raises(InvalidBundleError, match="at most 1000 brackets open at once"):
        lift_module(text)


def test_brackets_in_strings_and_comments_and_arrows_nest_nothing() -> None:
    arrows = "\n".join(f"func.func private @f{i}() -> tensor<2xf32>" for i in range(2000))
    text = 'module attributes {a.b = "' + "[" * 3000 + '"} {\n// ' + "(" * 3000 + f"\n{arrows}"
    lifted = lift_module(text + "\nfunc.func @main() { return }\n}")
    assert lifted() == ()


def test_regions_nested_deeper_than_python_calls_are_unsupported() -> None:
    lifted = lift_module(_nested_branches(150))
    with pytest.raises(UnsupportedError, match="expected regions that nest no deeper"):
        jax.make_jaxpr(lifted)(jnp.array(True), jnp.float32(1))


def test_a_function_that_is_only_declared_cannot_be_lifted() -> None:
    with pytest.raises(UnsupportedError, match="'f' is only declared"):
        lift_module(_DECLARATION, entry="f")


def test_quantized_types_are_named_as_what_is_unsupported() -> None:
    text = f"func.func @main(%x: {_QUANTIZED}) -> {_QUANTIZED} {{ return %x : {_QUANTIZED} }}"
    with pytest.raises(UnsupportedError, match="expected types that JAX has; found quantized ones"):
        lift_module(text)


def test_operands_that_a_guaranteed_custom_call_is_not_for_are_unsupported() -> None:
    lifted = lift_module(
        "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "%y = stablehlo.custom_call @lapack_sgetrf_ffi(%x) : (tensor<2xf32>) -> tensor<2xf32>\n"
        "return %y : tensor<2xf32> }"
    )
    with pytest.raises(UnsupportedError, match=r"float32\[2\].*lapack_sgetrf_ffi"):
        lifted(jnp.ones(2))


def test_a_straight_line_of_operations_does_not_meet_the_limit_of_recursion() -> None:
    lifted = lift_module(_straight_line(3000))
    assert len(jax.make_jaxpr(lifted)(jnp.ones(2)).eqns) == 3000


@pytest.mark.parametrize(
    ("element", "one"), [("f32", "1.0"), ("i32", "1"), ("i1", "true"), ("bf16", "1.0")]
)
def test_a_huge_constant_of_one_number_takes_no_memory_for_each(element: str, one: str) -> None:
    huge, part = f"tensor<1000000x1000000x{element}>", f"tensor<1x2x{element}>"
    lifted = lift_module(
        f"func.func @main() -> {part} {{\n"
        f"%c = stablehlo.constant dense<{one}> : {huge}\n"
        f"%y = stablehlo.slice %c [0:1, 0:2] : ({huge}) -> {part}\n"
        f"return %y : {part} }}"
    )
    assert jax.jit(lifted)()[0].astype(jnp.float32).tolist() == [[1.0, 1.0]]
