"""Records of stored functions: what the engine runs, lifts or refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.tree import StringPairs
from orbax_model_lite.errors import (
    InvalidBundleError,
    UnsupportedError,
)
from orbax_model_lite.jax2obm import convert

pytestmark = pytest.mark.frameworks


def test_a_platform_that_it_was_not_lowered_for_is_named(bound):
    function = convert(lambda x: x, ("2",), platforms=["cuda", "tpu"])
    with pytest.raises(UnsupportedError, match=r"the platform at hand, cpu; .* for cuda, tpu; "):
        bound(function)


def test_a_disabled_platform_check_lets_it_run_anyway(converted):
    call = converted(lambda x: x + 1, "2", platforms=["tpu"], disabled_checks=["platform"])
    assert list(call(np.zeros(2, np.float32))) == [1, 1]


@pytest.mark.parametrize(
    "kept",
    [(7,), (0, 0)],
    ids=str,
)
def test_kept_inputs_that_cannot_be_are_refused(bound, kept):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    with pytest.raises(InvalidBundleError, match=r"^function 'f': expected kept inputs"):
        bound(dataclasses.replace(function, kept_inputs=kept))


@pytest.mark.parametrize("version", [1, 99])
def test_a_function_that_this_jax_would_not_call_is_lifted(bound, version):
    function = convert(lambda x, n: (x + 1, n), ("2", "int64[]"), platforms=["cpu"])
    call = bound(dataclasses.replace(function, calling_convention_version=version))
    y, n = call(np.zeros(2, np.float32), np.int64(2**40))
    assert y.tolist() == [1, 1]
    assert int(n) == 2**40


def test_ordered_effects_are_refused_by_name(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    info = dataclasses.replace(function.jax, ordered_effects=("<class 'PrintEffect'>",))
    with pytest.raises(UnsupportedError, match=r"PrintEffect.*convert the function again"):
        bound(dataclasses.replace(function, jax=info))


def test_a_signature_that_is_not_the_modules_is_noticed(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    other = convert(lambda x: x + 1, ("3",), platforms=["cpu"])
    call = bound(dataclasses.replace(function, signature=other.signature))
    with pytest.raises(InvalidBundleError, match="what the signature says"):
        call(np.ones(3, np.float32))


def test_a_damaged_module_is_refused(bound):
    function = convert(lambda x: x + 1, ("2",), platforms=["cpu"])
    cut = dataclasses.replace(function.module, content=function.module.content[:200])
    with pytest.raises(InvalidBundleError, match=r"^function 'f'"):
        bound(dataclasses.replace(function, module=cut))(np.ones(2, np.float32))


def test_string_pairs_are_dicts_whose_order_is_the_modules(bound):
    function = convert(lambda b, a: (b.sum() - a.sum(), a), ("2", "3"), platforms=["cpu"])
    (b, a), _ = function.signature.inputs
    first, second = function.signature.outputs
    pairs = Signature(
        inputs=((StringPairs((("b", b), ("a", a))),), {}),
        outputs=StringPairs((("z", first), ("y", second))),
    )
    call = bound(dataclasses.replace(function, signature=pairs))
    found = call({"a": np.ones(3, np.float32), "b": np.full(2, 5, np.float32)})
    assert (float(found["z"]), found["y"].shape) == (7.0, (3,))


def test_string_pairs_that_repeat_a_key_are_refused(bound):
    function = convert(lambda x, y: x + y, ("2", "2"), platforms=["cpu"])
    x, y = function.signature.args
    inputs = ((StringPairs((("a", x), ("a", y))),), {})
    pairs = Signature(inputs=inputs, outputs=function.signature.outputs)
    with pytest.raises(UnsupportedError, match=r"found \['a', 'a'\]"):
        bound(dataclasses.replace(function, signature=pairs))


def test_a_signature_without_call_form_is_one_argument(bound):
    function = convert(lambda x, y: x - y, ("2", "2"), platforms=["cpu"])
    x, y = function.signature.args
    one = Signature(inputs=[x, y], outputs=function.signature.outputs)
    call = bound(dataclasses.replace(function, signature=one))
    assert list(call([np.ones(2, np.float32), np.zeros(2, np.float32)])) == [1, 1]
