"""Identities that speak up when they are differentiated: by a warning, or by an error."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from orbax_model_lite.errors import UnsupportedError


def forward_only(values: Sequence[Any], found: str) -> list[Any]:
    """Returns values as they are; differentiating them in reverse raises UnsupportedError.

    Args:
      values: JAX arrays, tokens and tuples of them.
      found: What of the program has no reverse-mode derivative, for the error.
    """

    def tangent_of(tangent: Any) -> Any:
        return _forward_only_p.bind(tangent, found=found)

    return [_with_tangent(value, tangent_of) for value in values]


@final
class ProgramDerivativeWarning:
    """Says, when a function is differentiated first, that it has lost its author's rules.

    One object serves one lifted function, so that it is said once.
    """

    def __init__(self, where: str) -> None:
        """Takes the first words of the message: "function 'encode'"."""
        self._message = (
            f"{where}: expected marks of the author's derivative rules; found none, as "
            "`jax2obm.convert` did not write this module, so the derivative is the program's: it "
            "differs where the author used stop_gradient, custom_jvp or custom_vjp; pass "
            '`derivative="program"` if that is meant'
        )
        self._is_said = False

    def on(self, values: Sequence[Any]) -> list[Any]:
        """Returns a function's arguments as they are; a UserWarning is given at their derivative.

        Args:
          values: JAX arrays; integers have no derivative.
        """
        return [_with_tangent(value, self._noted) for value in values]

    def _noted(self, tangent: Any) -> Any:
        if not self._is_said:
            self._is_said = True
            warnings.warn(self._message, UserWarning, stacklevel=2)
        return tangent


def _with_tangent(value: Any, tangent_of: Callable[[Any], Any]) -> Any:
    if not hasattr(value, "dtype") or not jnp.issubdtype(value.dtype, jnp.inexact):
        return value

    @jax.custom_jvp
    def identity(x: Any) -> Any:
        return x

    @identity.defjvp
    def _(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        return identity(primals[0]), tangent_of(tangents[0])

    return identity(value)


def _refuse_transpose(cotangent: Any, tangent: Any, *, found: str) -> Any:
    del cotangent, tangent
    raise UnsupportedError(
        f"gradient of a lifted function: expected operations that have one; found {found}; use "
        "forward mode (jax.jvp, jax.jacfwd), or have the author convert with `vjp_order=1`"
    )


# No public function of JAX has a forward-mode derivative, and a transpose of one's own, and works
# under vmap.
_forward_only_p = Primitive("obm_forward_only")
_forward_only_p.def_impl(lambda tangent, *, found: tangent)
_forward_only_p.def_abstract_eval(lambda tangent, *, found: tangent)
ad.deflinear2(_forward_only_p, _refuse_transpose)
batching.defvectorized(_forward_only_p)
mlir.register_lowering(_forward_only_p, lambda context, tangent, *, found: [tangent])
