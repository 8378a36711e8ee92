"""The derivative of a module without marks is the program's, and says so once."""

import warnings

import jax
import jax.numpy as jnp
import pytest

from orbax_model_lite.lift.rules.identities import ProgramDerivativeWarning


def noted():
    warning = ProgramDerivativeWarning("function 'f'")

    def function(x, n):
        x, n = warning.on([x, n])
        return jnp.sum(x**2) * n

    return function


def test_running_a_function_says_nothing():
    function = noted()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jax.jit(function)(jnp.ones(3), 2) == 6
        assert jax.vmap(function)(jnp.ones((2, 3)), jnp.arange(2)).shape == (2,)


def test_differentiating_it_warns_once():
    function = noted()
    with pytest.warns(UserWarning, match=r"function 'f'.*derivative is the program's"):
        gradient = jax.grad(function)(jnp.ones(3), 2)
    assert gradient.tolist() == [4, 4, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(jax.grad(function))(jnp.ones(4), 2)
        jax.jvp(lambda x: function(x, 2), (jnp.ones(3),), (jnp.ones(3),))
