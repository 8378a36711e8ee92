"""A TensorFlow function at fixed sizes, compiled to the text of a StableHLO module.

TensorFlow's own compiler does it; the platform only decides which kernels it knows. What the text
means for JAX is the business of `lower`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from orbax_model_lite.core.spec import Spec
from orbax_model_lite.tf2obm.obstacles import NotLowerable, require_static, verdict_of_xla
from orbax_model_lite.tf2obm.prepare import PreparedFunction


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A function for one batch size.

    Attributes:
      text: MLIR text; `main` takes the flat inputs, then `captured`.
      captured: Values of variables and other tensors that the function closes over, as they are
        now.
    """

    text: str
    captured: tuple[np.ndarray, ...]


def compiled(prepared: PreparedFunction, batch: int) -> Compiled:
    """Returns a function compiled for one batch size.

    Args:
      prepared: A function whose inputs have known sizes beside the first.
      batch: What unknown first sizes become.

    Raises:
      NotLowerable: If XLA cannot compile it.
    """
    specs = [
        tf.TensorSpec(sized(spec, batch), tf.as_dtype(spec.dtype.value))
        for spec in prepared.signature.input_leaves
        if isinstance(spec, Spec)
    ]

    def flat(*inputs: Any) -> list[Any]:
        return prepared(*inputs)

    function = tf.function(flat, jit_compile=True, autograph=False)
    try:
        concrete = function.get_concrete_function(*specs)
        generate = function.experimental_get_compiler_ir(*specs)
        text = generate(stage="stablehlo", platform_name="CPU")
    # The bridge to XLA refuses an operation with any of these, by where it first notices.
    except (ValueError, TypeError, NotImplementedError, tf.errors.OpError) as e:
        raise verdict_of_xla(e) from e
    require_static(text, prepared)
    return Compiled(text=text, captured=_captured(concrete))


def sized(spec: Spec, batch: int) -> tuple[int, ...]:
    """Returns the shape of a spec with known sizes beside the first, at a batch size."""
    return tuple(dim if isinstance(dim, int) else batch for dim in spec.shape or ())


def run(prepared: PreparedFunction, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns what TensorFlow itself gives for flat inputs.

    Raises:
      NotLowerable: If an operation refuses the values.
    """
    try:
        return [np.asarray(y) for y in prepared(*map(tf.constant, inputs))]
    except tf.errors.OpError as e:
        raise verdict_of_xla(e) from e


def _captured(concrete: Any) -> tuple[np.ndarray, ...]:
    variables = {id(variable.handle): variable for variable in concrete.variables}
    found = []
    for tensor in concrete.captured_inputs:
        if tensor.dtype != tf.resource:
            found.append(np.asarray(tensor))
        elif id(tensor) in variables:
            found.append(np.asarray(variables[id(tensor)]))
        else:
            raise NotLowerable("it reads a resource that is no variable")
    return tuple(found)
