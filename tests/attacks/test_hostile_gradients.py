"""A harmless function whose derivative is another function of the bundle, which is not harmless."""

from __future__ import annotations

import dataclasses

import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.errors import UntrustedError

pytestmark = pytest.mark.frameworks


@pytest.fixture
def bundle(tmp_path):
    """Returns a bundle with `harmless`, whose gradient's gradient makes a custom call."""
    import jax

    from orbax_model_lite import jax2obm

    def evil(x, _):
        return (jax.ffi.ffi_call("read_my_files", jax.ShapeDtypeStruct(x.shape, x.dtype))(x),)

    def doubled(x, cotangent):
        return (2 * cotangent + 0 * x,)

    two = ("float32[4]", "float32[4]")
    harmless = jax2obm.convert(lambda x: 2 * x, ("float32[4]",), platforms=["cpu"])
    gradient = jax2obm.convert(doubled, two, platforms=["cpu"])
    hostile = jax2obm.convert(
        evil, two, platforms=["cpu"], disabled_checks=["custom_call:read_my_files"]
    )
    objects = {
        "harmless": dataclasses.replace(harmless, gradient_function_name="gradient"),
        "gradient": dataclasses.replace(gradient, gradient_function_name="evil"),
        "evil": hostile,
    }
    core.save(objects, tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize("name", ["harmless", "gradient", "evil"])
def test_a_function_whose_derivative_makes_a_custom_call_is_refused(bundle, name):
    with obm.load(bundle) as model, pytest.raises(UntrustedError, match=r"'evil'.*read_my_files"):
        model.functions[name]


def test_a_granted_custom_call_lets_the_function_pass(bundle):
    trust = obm.Trust(custom_calls={"read_my_files"})
    with obm.load(bundle, trust=trust) as model:
        assert callable(model.functions["harmless"])


def test_functions_that_are_derivatives_in_a_circle_are_checked_and_bound(tmp_path):
    from orbax_model_lite import jax2obm

    function = jax2obm.convert(lambda x: x, ("float32[4]",), platforms=["cpu"])
    core.save({"f": dataclasses.replace(function, gradient_function_name="f")}, tmp_path / "m")
    with obm.load(tmp_path / "m") as model:
        assert callable(model.functions["f"])
