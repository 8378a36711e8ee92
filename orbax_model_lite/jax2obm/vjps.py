"""The VJP of a converted function, as a function to be converted itself.

It takes the flat inputs, then a cotangent for each flat output, and gives a cotangent for each flat
input: the form that the original and jax.export use. Cotangents of leaves that are not real or
complex numbers are float0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp

from orbax_model_lite.core.tree import unflatten
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm.devices.placing import Shardings
from orbax_model_lite.jax2obm.plain_call import PlainCall


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Vjp:
    """What to convert.

    Attributes:
      function: Of flat leaves.
      specs: What to trace it with.
    """

    function: Callable[..., tuple[Any, ...]]
    specs: tuple[jax.ShapeDtypeStruct, ...]


def vjp_of(
    call: PlainCall, exported: jax.export.Exported, inputs: Shardings, outputs: Shardings
) -> Vjp:
    """Returns the VJP of a function that was exported.

    Args:
      call: The function of plain trees.
      exported: What jax.export made of it.
      inputs: Sharding of each flat input; the cotangent of an input is split like it.
      outputs: Sharding of each flat output.

    Raises:
      InvalidModelError: When it is traced, if JAX cannot differentiate the function in reverse.
    """
    primals = [_struct(aval, s) for aval, s in zip(exported.in_avals, inputs, strict=True)]
    results = [_tangent(aval, s) for aval, s in zip(exported.out_avals, outputs, strict=True)]
    count = len(primals)

    def flat_call(*flat: Any) -> list[Any]:
        args, kwargs = unflatten((call.args, call.kwargs), list(flat))
        return jax.tree.leaves(call.function(*args, **kwargs))

    def vjp(*flat: Any) -> tuple[Any, ...]:
        try:
            _, pull_back = jax.vjp(flat_call, *flat[:count])
            return tuple(pull_back(list(flat[count:])))
        except ValueError as e:
            if "everse-mode differentiation" not in str(e):
                raise
            raise InvalidModelError(
                f"{call.where}: expected a function that JAX can differentiate in reverse, for its "
                f"VJP; found {str(e).splitlines()[0]}; use lax.scan, or convert it without "
                "vjp_order"
            ) from e

    given = [
        s if _is_number(struct.dtype) else None for struct, s in zip(primals, inputs, strict=True)
    ]
    placed = jax.jit(vjp, out_shardings=tuple(given)) if any(given) else vjp
    return Vjp(function=placed, specs=(*primals, *results))


def _struct(aval: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type, sharding=sharding)


def _tangent(aval: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    if _is_number(aval.dtype):
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding)
    return jax.ShapeDtypeStruct(aval.shape, jax.dtypes.float0)


def _is_number(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)
