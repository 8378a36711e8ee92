"""Whether a function in JAX gives what TensorFlow gives: both are run on made-up inputs.

Values come from three ranges (fractions, small numbers of both signs, bytes), because what differs
may show in one of them only. They are the same at every run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np

from orbax_model_lite.core.comparison import DEFAULT_TOLERANCES, difference
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Tolerance
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.tf2obm.compiling import run, sized
from orbax_model_lite.tf2obm.obstacles import NotLowerable
from orbax_model_lite.tf2obm.prepare import PreparedFunction

_RANGES: Final = ((0, 1), (-3, 3), (0, 255))


def first_difference(
    prepared: PreparedFunction, call: Callable[..., Sequence[Any]], batch: int
) -> str | None:
    """Returns the first output that differs at a batch size, and how; None where all are equal.

    Equal means: the same dtype and shape, the same integers and booleans, and floats within what a
    replay of recorded examples allows.

    Args:
      prepared: The function in TensorFlow.
      call: Takes flat inputs, returns flat outputs.
      batch: What unknown first sizes are.

    Raises:
      NotLowerable: If TensorFlow itself refuses inputs of every range.
    """
    refusals: list[NotLowerable] = []
    for index, limits in enumerate(_RANGES):
        rng = np.random.default_rng([index, batch])
        inputs = [
            _values(rng, spec, batch, limits)
            for spec in prepared.signature.input_leaves
            if isinstance(spec, Spec)
        ]
        try:
            expected = run(prepared, inputs)
        except NotLowerable as e:
            refusals.append(e)
            continue
        arrays = [np.asarray(array) for array in call(*inputs)]
        found = _difference_of_outputs(prepared.signature, expected, arrays)
        if found is not None:
            return found
    if len(refusals) == len(_RANGES):
        raise NotLowerable(f"it refuses every input that was tried: {refusals[0].reason}")
    return None


def _values(
    rng: np.random.Generator, spec: Spec, batch: int, limits: tuple[int, int]
) -> np.ndarray:
    shape, dtype = sized(spec, batch), spec.dtype
    low, high = limits
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.value.startswith(("int", "uint")):
        info = ml_dtypes.iinfo(dtype.numpy)
        low, high = max(low, int(info.min)), min(high, int(info.max))
        return rng.integers(low, high, shape, endpoint=True).astype(dtype.numpy)
    values = rng.uniform(low, high, shape)
    if dtype.value.startswith("complex"):
        values = values + 1j * rng.uniform(low, high, shape)
    return values.astype(dtype.numpy)


def _difference_of_outputs(
    signature: Signature, expected: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> str | None:
    for (path, spec), old, new in zip(
        flatten_with_path(signature.outputs), expected, found, strict=True
    ):
        name = format_path(path) or "the output"
        if old.dtype != new.dtype or old.dtype != spec.dtype.numpy:
            return f"{name} is {new.dtype} instead of {spec.dtype.value}"
        if old.shape != new.shape:
            return f"{name} has shape {list(new.shape)} instead of {list(old.shape)}"
        apart = difference(old, new, DEFAULT_TOLERANCES.get(spec.dtype.value, Tolerance()))
        if not apart.is_within:
            return (
                f"{name} has other values, by {apart.relative or apart.absolute:.1g} of the largest"
            )
    return None
