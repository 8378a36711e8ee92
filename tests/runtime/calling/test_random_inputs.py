"""Inputs at random: sizes that constraints allow, values of every type, recorded strings."""

from __future__ import annotations

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Example, write_examples
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError, UnknownNameError
from orbax_model_lite.runtime.calling.random_inputs import array_at_random, random_call
from orbax_model_lite.runtime.calling.sizes import fixed_leaves, symbols_of
from orbax_model_lite.runtime.calling.target import Form, Target

NUMBERS = [d for d in DType if d not in (DType.UNSPECIFIED, DType.STRING)]


@pytest.fixture
def nothing(tmp_path):
    core.save({}, tmp_path / "nothing")
    return obm.read(tmp_path / "nothing")


@pytest.fixture
def recorded(tmp_path):
    """Returns `recorded(*args, **kwargs)`: a bundle with a recorded call of function "f"."""

    def make(*args, **kwargs):
        path = tmp_path / "recorded"
        path.mkdir()
        example = Example(target="f", is_pipeline=False, args=args, kwargs=kwargs, outputs=())
        data = write_examples(path, [example], "cpu")
        info = {layout.KEY_EXAMPLES: core.GlobalSupplemental(data, None)}
        core.save({}, path, core.SaveOptions(supplemental_info=info))
        return obm.read(path)

    return make


def strings(*texts: bytes) -> np.ndarray:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.value)
def test_every_type_has_values_of_its_own(dtype):
    x = array_at_random(Spec(shape=(200,), dtype=dtype), np.random.default_rng(0))
    assert x.shape == (200,)
    assert x.dtype == (np.bool_ if dtype is DType.FLOAT0 else dtype.numpy)
    wide = x.astype(np.complex128)
    assert np.isfinite(wide).all()
    assert len(set(wide.tolist())) > 1


@pytest.mark.parametrize("dtype", ["int8", "uint4", "int64"])
def test_integers_are_indices_into_something_small(dtype):
    spec = Spec(shape=(200,), dtype=DType(dtype))
    x = array_at_random(spec, np.random.default_rng(0))
    assert set(x.astype(int).tolist()) == {0, 1}


def test_keys_are_words():
    spec = Spec(shape=(3, 2), dtype=DType.UINT32, logical="key<fry>")
    x = array_at_random(spec, np.random.default_rng(0))
    assert x.dtype == np.uint32
    assert x.max() > 2**16


def test_a_seed_decides_the_numbers(nothing, target, spec):
    takes = target(spec("b", 4))
    first, again, other = (random_call(nothing, takes, seed=s).args[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sizes_that_are_asked_for_are_taken(nothing, target, spec):
    takes = target(spec("b", "t"), {"y": spec("t", 3)})
    call = random_call(nothing, takes, sizes={"t": 7})
    assert call.args[0].shape == (2, 7)
    assert call.args[1]["y"].shape == (7, 3)


def test_unknown_sizes_have_names(nothing, target, spec):
    takes = target(spec(None, None), spec(None, 3, None), Spec(shape=None, dtype=DType.INT32))
    assert symbols_of(takes.forms[0]) == ("b", "d0", "d1")
    call = random_call(nothing, takes, sizes={"b": 5, "d1": 6})
    assert [x.shape for x in call.args] == [(5, 2), (5, 3, 6), (5,)]


def test_a_size_that_is_none_is_told_with_those_that_are(nothing, target, spec):
    with pytest.raises(UnknownNameError, match=r"no open dimension 'batch'.*there is: b"):
        random_call(nothing, target(spec("b", 4)), sizes={"batch": 3})


CONSTRAINED = [
    (("b",), ("b >= 5",), {}, (8,)),
    (("t",), ("mod(t, 8) == 0",), {}, (8,)),
    (("b", "t"), ("t >= 3*b", "b >= 2"), {}, None),
    (("b", "t"), ("b <= 1", "mod(t, 12) == 0"), {}, (1, 12)),
    (("b - 3",), (), {}, (1,)),
    (("floordiv(t, 4)", "t"), (), {}, (1, 4)),
    (("2*b",), (), {"b": 6}, (12,)),
]


@pytest.mark.frameworks
@pytest.mark.parametrize(("shape", "constraints", "sizes", "fixed"), CONSTRAINED, ids=str)
def test_sizes_meet_the_constraints(shape, constraints, sizes, fixed, target, spec):
    takes = target(spec(*shape), constraints=constraints)
    ((_, found),) = fixed_leaves(takes.forms[0], sizes)
    assert all(size >= 1 for size in found.shape)
    if fixed is None:
        b, t = found.shape
        assert b >= 2
        assert t >= 3 * b
    else:
        assert found.shape == fixed


@pytest.mark.frameworks
def test_constraints_that_no_small_size_meets_ask_for_one(target, spec):
    takes = target(spec("t"), constraints=("t >= 100000",))
    with pytest.raises(SignatureMismatchError, match=r"t >= 100000 .*choose some with --size"):
        fixed_leaves(takes.forms[0], {})
    assert fixed_leaves(takes.forms[0], {"t": 100000})[0][1].shape == (100000,)


def test_of_several_forms_the_first_that_has_the_sizes_is_taken(nothing, spec):
    forms = (Form(args=(spec(1, 4),), kwargs={}), Form(args=(spec("b", 4),), kwargs={}))
    takes = Target(kind="function", name="f", forms=forms, stages=())
    assert random_call(nothing, takes).args[0].shape == (1, 4)
    assert random_call(nothing, takes, sizes={"b": 3}).args[0].shape == (3, 4)


@pytest.mark.parametrize(
    ("size", "texts"), [(2, [b"a", b"b"]), (5, [b"a", b"b", b"c", b"a", b"b"])]
)
def test_strings_are_those_of_a_recorded_call(size, texts, recorded, target, spec):
    bundle = recorded(strings(b"a", b"b", b"c"), np.zeros((3, 4), np.float32))
    takes = target(spec("b", dtype="string"), spec("b", 4), names=("text", "x"))
    call = random_call(bundle, takes, sizes={"b": size})
    assert call.args[0].tolist() == texts
    assert call.args[1].any()
    assert call.args[1].shape == (size, 4)
    assert call.notes == ("strings of a recorded call: text",)


def test_recorded_strings_may_have_been_given_by_name(recorded, target, spec):
    bundle = recorded(text=strings(b"a"))
    call = random_call(bundle, target(spec("b", dtype="string"), names=("text",)))
    assert call.args[0].tolist() == [b"a", b"a"]


def test_strings_cannot_be_made_up(nothing, target, spec):
    takes = target(spec("b", dtype="string"), names=("text",))
    with pytest.raises(SignatureMismatchError) as caught:
        random_call(nothing, takes)
    message = str(caught.value)
    assert "function 'f', input 'text': expected strings that mean something" in message
    assert "give them with --input or --value, or pack the bundle with examples=" in message


def test_optional_strings_are_left_out(nothing, target, spec):
    takes = target(spec(2), spec(dtype="string"), names=("x", "note"), optional=("note",))
    assert len(random_call(nothing, takes).args) == 1


def test_recorded_strings_of_another_shape_are_not_bent(recorded, target, spec):
    bundle = recorded(strings(b"a", b"b"))
    with pytest.raises(SignatureMismatchError, match=r"expected recorded strings \[2, 3\]"):
        random_call(bundle, target(spec("b", 3, dtype="string")))


@pytest.mark.parametrize(
    "shape", [(2**62,) * 3, (1,) * 3000, (2**46,)], ids=["too large", "too deep", "no such memory"]
)
def test_sizes_that_no_memory_has_are_told(nothing, shape):
    form = Form(args=(Spec(shape=shape, dtype=DType.FLOAT32),), kwargs={}, names=("x",))
    target = Target(kind="function", name="f", forms=(form,), stages=())
    with pytest.raises(SignatureMismatchError, match=r"input 'x': .*; choose smaller sizes"):
        random_call(nothing, target)
