"""Functions of a bundle as JAX code: what `Model.lift` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orbax_model_lite import _lazy
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import OpaqueFunction, PolymorphicFunction, ShloFunction
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.runtime.polymorphic import PolymorphicCallable


def lifted(bundle: Bundle, name: str, **options: Any) -> Callable[..., Any]:
    """Returns a StableHLO function as JAX code; of a polymorphic one, the arguments choose.

    A TensorFlow function is lifted by its StableHLO form.

    Args:
      bundle: Whose function it is.
      name: Of the function.
      **options: For `lift.lift_function`.

    Raises:
      UnsupportedError: If it is not StableHLO, or has operations without a counterpart in JAX.
    """
    lift_function = _lazy.load("orbax_model_lite.lift:lift_function", purpose="lifting")

    def lift(function: Any) -> Callable[..., Any]:
        if not isinstance(function, ShloFunction):
            lowering = getattr(function, "lowering", None)
            why = f" without a StableHLO form, because {lowering.reason}" if lowering else ""
            raise UnsupportedError(
                f"function {name!r}: expected a StableHLO function; found "
                f"{type(function).__name__}{why}; only StableHLO can be lifted to JAX"
            )
        return lift_function(function, name=name, read=bundle.read_bytes, **options)

    found = bundle.objects[name]
    if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
        found = found.lowering.function
    if not isinstance(found, PolymorphicFunction):
        return lift(found)
    variants = [lift(function) for function in found.functions]
    signatures = [function.signature for function in found.functions]
    return PolymorphicCallable(name, signatures, lambda i: variants[i])
