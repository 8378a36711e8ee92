"""The record `jax_specific_info` <-> facts and the symbolic part of a signature."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite._proto import jax_supplemental_pb2 as jax_pb2
from orbax_model_lite.core import jax_info
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import JaxInfo
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec, Token
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError


def leaf(*shape, dtype: DType = DType.FLOAT32) -> Spec:
    return Spec(shape=shape, dtype=dtype)


def record(text: str) -> bytes:
    return text_format.Parse(text, jax_pb2.Function()).SerializeToString()


def signature(*inputs, outputs=()) -> Signature:
    return Signature.of_call(inputs, {}, outputs)


def refined(text: str, *inputs) -> tuple:
    raw = record(f"input_spec_refinements {{ {text} }}")
    return jax_info.decode(raw, signature(*inputs), "function 'f'")[1].args


def test_all_facts_are_read():
    raw = record("""
        nr_devices: 4 ordered_effects: "a" unordered_effects: "b" unordered_effects: "c"
        disabled_checks { platform {} } disabled_checks { custom_call { target_name: "foo" } }
        disabled_checks { shape_assertions {} } uses_shape_polymorphism: true name: "<lambda>"
    """)
    info, _ = jax_info.decode(raw, signature(), "function 'f'")
    assert info == JaxInfo(
        name="<lambda>",
        device_count=4,
        ordered_effects=("a",),
        unordered_effects=("b", "c"),
        disabled_checks=("platform", "custom_call:foo", "shape_assertions"),
        uses_shape_polymorphism=True,
    )


def test_a_list_has_an_entry_for_every_leaf():
    text = 'list { refinements {} refinements { shape { dimension_sizes { size: "b" } } } }'
    assert refined(text, leaf(2), leaf(None)) == (leaf(2), leaf("b"))


def test_a_map_has_entries_for_some_leaves():
    text = 'map { idx_to_refinement { key: 1 value { shape { dimension_sizes { size: "b" } } } } }'
    assert refined(text, leaf(2), leaf(None)) == (leaf(2), leaf("b"))


def test_a_leaf_can_have_both_refinements():
    text = 'list { refinements { dtype: f0 shape { dimension_sizes { size: "b" } } } }'
    assert refined(text, leaf(None, dtype=DType.BOOL)) == (leaf("b", dtype=DType.FLOAT0),)


def test_a_number_that_the_manifest_has_too_is_no_contradiction():
    text = """list { refinements { shape {
        dimension_sizes { size: "3" } dimension_sizes { size: "b" } dimension_sizes {} } } }"""
    assert refined(text, leaf(3, None, None)) == (leaf(3, "b", None),)


def test_unknown_dimensions_without_refinement_stay_unknown():
    assert refined("list { refinements {} }", leaf(None)) == (leaf(None),)


WRONG = {
    "other number": ('list { refinements { shape { dimension_sizes { size: "4" } } } }', leaf(3)),
    "number for an unknown size": (
        'list { refinements { shape { dimension_sizes { size: "4" } } } }',
        leaf(None),
    ),
    "symbol for a known size": (
        'list { refinements { shape { dimension_sizes { size: "b" } } } }',
        leaf(3),
    ),
    "no expression": (
        'list { refinements { shape { dimension_sizes { size: "" } } } }',
        leaf(None),
    ),
    "other rank": ('list { refinements { shape { dimension_sizes { size: "b" } } } }', leaf(3, 4)),
    "unknown rank": (
        'list { refinements { shape { dimension_sizes { size: "b" } } } }',
        Spec(shape=None, dtype=DType.FLOAT32),
    ),
    "float0 over another dtype": ("list { refinements { dtype: f0 } }", leaf()),
    "token": ("list { refinements { dtype: f0 } }", Token()),
    "too few": ("list {}", leaf()),
    "too many": ("list { refinements {} refinements {} }", leaf()),
    "no such leaf": ("map { idx_to_refinement { key: 1 value {} } }", leaf()),
}


@pytest.mark.parametrize(("text", "found"), WRONG.values(), ids=WRONG)
def test_a_record_that_contradicts_the_manifest_is_damage(text, found):
    with pytest.raises(InvalidBundleError, match=r"function 'f', input leaf.*: expected .*found "):
        refined(text, found)


def test_a_record_that_does_not_parse_is_damage():
    with pytest.raises(InvalidBundleError, match="function 'f', 'jax_specific_info': expected"):
        jax_info.decode(b"\xff", signature(), "function 'f'")


def encoded(*inputs, info: JaxInfo | None = None) -> jax_pb2.Function:
    raw = jax_info.encode(info or JaxInfo(), signature(*inputs), "function 'f'")
    assert raw is not None
    return jax_pb2.Function.FromString(raw)


@pytest.mark.parametrize(
    ("useful", "total", "case"),
    [(0, 3, None), (1, 1, "list"), (1, 2, "list"), (1, 3, "map"), (2, 5, "map"), (3, 6, "list")],
)
def test_the_encoding_is_a_list_while_half_of_the_leaves_need_it(useful, total, case):
    leaves = [leaf("b")] * useful + [leaf(2)] * (total - useful)
    proto = encoded(*leaves)
    assert proto.HasField("input_spec_refinements") == (case is not None)
    assert proto.input_spec_refinements.WhichOneof("case") == case
    assert not proto.HasField("output_spec_refinements")


def test_static_dimensions_are_entries_without_a_size():
    sizes = encoded(leaf("b", 3)).input_spec_refinements.list.refinements[0].shape.dimension_sizes
    assert [(s.HasField("size"), s.size) for s in sizes] == [(True, "b"), (False, "")]


def test_float0_is_explicit_though_its_number_is_zero():
    refinement = encoded(leaf(dtype=DType.FLOAT0)).input_spec_refinements.list.refinements[0]
    assert refinement.HasField("dtype")
    assert not refinement.HasField("shape")


def test_a_signature_that_needs_no_record_has_none():
    assert jax_info.encode(None, signature(leaf(2)), "f") is None


def test_a_symbolic_signature_has_a_record_even_without_other_facts():
    assert jax_info.encode(None, signature(leaf("b")), "f") is not None


LISTED_AT_40_PERCENT = """
    input_spec_refinements { list { refinements { shape { dimension_sizes { size: "b" } } }
        refinements {} refinements {} } }
    nr_devices: 1 name: "f"
"""


def test_a_record_that_still_says_the_same_stays_byte_for_byte():
    raw = record(LISTED_AT_40_PERCENT) + b"\xf8\x7c\x05"
    plain = signature(leaf(None), leaf(), leaf())
    info, found = jax_info.decode(raw, plain, "f")
    assert jax_info.encode(info, found, "f") == raw


@pytest.mark.parametrize(
    "change",
    [
        lambda info, found: (replace(info, name="g"), found),
        lambda info, found: (info, signature(leaf("c"), leaf(), leaf())),
        lambda info, found: (info, signature(leaf("b"))),
    ],
    ids=["fact", "expression", "fewer leaves"],
)
def test_a_changed_record_is_written_anew_and_keeps_what_is_unknown(change):
    unknown = b"\xf8\x7c\x05"
    raw = record(LISTED_AT_40_PERCENT) + unknown
    info, found = jax_info.decode(raw, signature(leaf(None), leaf(), leaf()), "f")
    info, found = change(info, found)
    again = jax_info.encode(info, found, "f")
    assert again is not None
    assert again.endswith(unknown)
    assert jax_info.decode(again, jax_info.plain(found), "f") == (info, found)


def test_a_disabled_check_of_an_unknown_kind_survives():
    raw = record("nr_devices: 1") + b"\x32\x04\x4a\x02hi"  # disabled_checks { 9: "hi" }
    info, found = jax_info.decode(raw, signature(), "f")
    assert info.disabled_checks == ("unknown:4a026869",)
    again = jax_info.encode(replace(info, name="g", origin=b""), found, "f")
    assert again is not None
    assert jax_info.decode(again, found, "f")[0].disabled_checks == info.disabled_checks


@pytest.mark.parametrize(
    ("info", "found", "message"),
    [
        (JaxInfo(disabled_checks=("platforms",)), leaf(), "found 'platforms'; correct"),
        (JaxInfo(), leaf("12"), "found the text '12'; write 12"),
    ],
)
def test_what_cannot_be_recorded_is_refused(info, found, message):
    with pytest.raises(InvalidModelError, match=message):
        jax_info.encode(info, signature(found), "function 'f'")


@given(
    st.lists(
        st.sampled_from([leaf("b", 2), leaf(2), leaf(None), leaf(dtype=DType.FLOAT0), Token()]),
        max_size=9,
    )
)
def test_whatever_is_encoded_is_decoded(leaves):
    found = Signature.of_call(tuple(leaves), {}, list(reversed(leaves)))
    raw = jax_info.encode(JaxInfo(), found, "f")
    assert raw is not None
    assert jax_info.decode(raw, jax_info.plain(found), "f") == (JaxInfo(), found)
