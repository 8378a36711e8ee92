"""Which batches are measured: what is asked for, what inputs allow, and given rows repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.matching import assembled
from orbax_model_lite.runtime.calling.target import Form, Target
from orbax_model_lite.runtime.measuring.plan import (
    DEFAULT_SIZES,
    batch_symbol,
    fixed_size,
    inputs_at_random,
    plan,
    repeated,
)


def spec(*shape: Any) -> Spec:
    return Spec(shape=shape, dtype=DType.FLOAT32)


def target(*forms: Form, batch_sizes: tuple[int, ...] = ()) -> Target:
    return Target(kind="function", name="f", forms=forms, stages=(), batch_sizes=batch_sizes)


def form(*args: Any, constraints: tuple[str, ...] = ()) -> Form:
    return Form(args=args, kwargs={}, constraints=constraints)


def sizes_of(*given: Any, sizes: Any = None) -> list[int | None]:
    return [batch.size for batch in plan(*given, sizes or {})[0]]


@pytest.mark.parametrize(
    ("shapes", "symbol"),
    [
        ([("b", 4)], "b"),
        ([("n", "t")], "n"),
        ([(), ("t", 4)], "t"),
        ([(None, 4)], "b"),
        ([(3, "t")], None),
        ([("2*b",)], None),
    ],
    ids=str,
)
def test_the_first_open_leading_dimension_is_the_batch(shapes, symbol):
    assert batch_symbol(form(*(spec(*shape) for shape in shapes))) == symbol


def test_a_size_that_all_inputs_lead_with_is_the_batch():
    assert fixed_size(form(spec(4, 2), spec(4))) == 4
    assert fixed_size(form(spec(4, 2), spec(3))) is None
    assert fixed_size(form(spec(4), spec())) is None
    assert fixed_size(form()) is None


def test_sizes_are_those_that_are_asked_for_then_the_authors_then_ours():
    takes = target(form(spec("b", 4)), batch_sizes=(4, 16))
    assert sizes_of(takes, (3, 5)) == [3, 5]
    assert sizes_of(takes, None) == [4, 16]
    assert tuple(sizes_of(target(form(spec("b", 4))), None)) == DEFAULT_SIZES


def test_a_fixed_size_is_measured_alone_and_said():
    batches, notes = plan(target(form(spec(4, 2))), (1, 8), {})
    assert [batch.size for batch in batches] == [4]
    assert notes == [
        "its batch size is fixed: 4",
        "not measured, since it does not take them: batches of 1, 8",
    ]


def test_inputs_without_a_batch_are_measured_as_calls():
    batches, notes = plan(target(form(spec())), None, {})
    assert [batch.size for batch in batches] == [None]
    assert notes == ["its inputs have no batch size"]


def test_a_polymorphic_function_is_measured_at_its_own_sizes():
    one, eight = form(spec(1, 4)), form(spec(8, 4))
    batches, _ = plan(target(one, eight), None, {})
    assert {batch.size: batch.form for batch in batches} == {1: one, 8: eight}
    assert sizes_of(target(one, eight), (8, 16)) == [8]


def test_a_form_of_just_that_size_comes_before_an_open_one():
    fixed, open_form = form(spec(8, 4)), form(spec("b", 4))
    batches, _ = plan(target(open_form, fixed), (4, 8), {})
    assert [batch.form for batch in batches] == [open_form, fixed]


@pytest.mark.frameworks
def test_default_sizes_that_constraints_forbid_are_left_out_and_said():
    takes = target(form(spec("b", 4), constraints=("mod(b, 8) == 0",)))
    batches, notes = plan(takes, None, {})
    assert [batch.size for batch in batches] == [8, 32]
    assert notes == ["constraints forbid batches of 1"]


@pytest.mark.frameworks
def test_where_constraints_forbid_all_default_sizes_the_smallest_that_is_allowed_is_measured():
    takes = target(form(spec("b", 4), constraints=("mod(b, 5) == 0",)))
    assert sizes_of(takes, None) == [5]


@pytest.mark.frameworks
def test_a_size_that_was_asked_for_and_is_forbidden_is_told():
    takes = target(form(spec("b", 4), constraints=("mod(b, 8) == 0",)))
    with pytest.raises(SignatureMismatchError, match="mod"):
        plan(takes, (3,), {})


def test_inputs_at_random_have_the_size_and_those_of_other_dimensions(tmp_path):
    core.save({}, tmp_path / "m")
    takes = target(form(spec("b", "t")))
    (batch,), _ = plan(takes, (5,), {"t": 7})
    call = inputs_at_random(obm.read(tmp_path / "m"), takes, batch, seed=0, sizes={"t": 7})
    assert call.args[0].shape == (5, 7)


def test_given_rows_are_repeated_and_what_has_none_is_not():
    takes = form(spec("b"), spec(3))
    x, y = np.array([1, 2], np.float32), np.ones(3, np.float32)
    call = assembled(takes, {(0,): x, (1,): y})
    assert repeated(call, 5).args[0].tolist() == [1, 2, 1, 2, 1]
    assert repeated(call, 1).args[0].tolist() == [1]
    assert repeated(call, 5).args[1] is y
    assert repeated(call, None) is call


def test_rows_of_text_are_repeated_too():
    takes = form(Spec(shape=(None,), dtype=DType.STRING))
    call = assembled(takes, {(0,): np.array([b"a", b"b"], object)})
    assert repeated(call, 3).args[0].tolist() == [b"a", b"b", b"a"]


def test_no_row_cannot_be_repeated():
    call = assembled(form(spec("b")), {(0,): np.zeros(0, np.float32)})
    with pytest.raises(SignatureMismatchError, match="at least one row"):
        repeated(call, 2)
