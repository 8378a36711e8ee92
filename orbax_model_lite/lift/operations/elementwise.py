"""Operations that compute each element on its own, as the `jax.lax` function that lowers to them.

The natural derivative comes with that function. Conversions and comparisons have their own files;
folding of known integers is in `folding`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.problems import NotLiftable


def _same(function: Callable[..., Any]) -> Handler:
    """Returns what lifts an operation whose attributes do not matter."""
    return Handler(lambda operation: function)


def _logical(on_numbers: Callable[..., Any], on_booleans: Callable[..., Any]) -> Handler:
    """Returns what lifts an operation that StableHLO defines on booleans too, and JAX does not."""

    def build(operation: Operation) -> Runner:
        return on_booleans if operation.operand_type().dtype == np.bool_ else on_numbers

    return Handler(build)


def _part(of_complex: Callable[..., Any], of_real: Callable[..., Any]) -> Handler:
    """Returns what lifts `real` or `imag`, which JAX defines on complex numbers only."""

    def build(operation: Operation) -> Runner:
        is_complex = operation.operand_type().dtype.kind == "c"
        return of_complex if is_complex else of_real

    return Handler(build)


def _with_accuracy(function: Callable[..., Any]) -> Handler:
    """Returns what lifts an operation that may ask the compiler for an accuracy."""
    return Handler(lambda operation: _accurate(function, operation))


def _accurate(function: Callable[..., Any], operation: Operation) -> Runner:
    accuracy = _accuracy(operation)
    return function if accuracy is None else lambda x: function(x, accuracy=accuracy)


_ACCURACY: Final = re.compile(
    r"(?:atol = (?P<atol>[^,>]+), )?(?:rtol = (?P<rtol>[^,>]+), )?(?:ulps = (?P<ulps>\d+), )?"
    r"mode = #stablehlo\.result_accuracy_mode<(?P<mode>\w+)>"
)


def _accuracy(operation: Operation) -> lax.AccuracyMode | lax.Tolerance | None:
    """Returns what `result_accuracy` asks for; None for the default.

    The bindings have no class that reads the attribute, so it is read as it prints.
    """
    if not operation.has("result_accuracy"):
        return None
    printed = str(operation.attribute("result_accuracy"))
    found = _ACCURACY.search(printed)
    if found is None:
        raise NotLiftable(f"an accuracy of an unknown form: {printed}")
    mode = found["mode"]
    if mode == "TOLERANCE":
        return lax.Tolerance(
            atol=float(found["atol"] or 0),
            rtol=float(found["rtol"] or 0),
            ulps=int(found["ulps"] or 0),
        )
    return lax.AccuracyMode.HIGHEST if mode == "HIGHEST" else None


def _cbrt(operation: Operation) -> Runner:
    if operation.operand_type().dtype.kind == "c":
        raise NotLiftable("no counterpart in JAX for complex numbers")
    return _accurate(lax.cbrt, operation)


def _abs(operation: Operation) -> Runner:
    dtype = operation.operand_type().dtype
    if jnp.issubdtype(dtype, jnp.signedinteger) and jnp.iinfo(dtype).bits < 8:
        # JAX has this for whole bytes only; the way back wraps, as the operation itself does.
        return lambda x: lax.abs(x.astype(np.int8)).astype(dtype)
    return lax.abs


def _logistic(operation: Operation) -> Runner:
    logistic = _accurate(lax.logistic, operation)
    dtype = operation.operand_type().dtype
    if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 and dtype != np.float16:
        # XLA computes it in float32; JAX would round each of its steps to the narrow type.
        return lambda x: lax.convert_element_type(
            logistic(lax.convert_element_type(x, np.float32)), dtype
        )
    return logistic


def _power(operation: Operation) -> Runner:
    dtype = operation.operand_type().dtype
    return _integer_power if jnp.issubdtype(dtype, jnp.integer) else lax.pow


def _integer_power(base: Any, exponent: Any) -> Any:
    """Returns the power of integers, which JAX has for a constant exponent only.

    All bits of the exponent count, as the specification has it; XLA before JAX 0.12 read six, and
    took the first bit of an unsigned one for a sign.
    """
    zero, one = lax.full_like(base, 0), lax.full_like(base, 1)
    power, square, remaining = one, base, exponent
    for _ in range(jnp.iinfo(base.dtype).bits):
        power = lax.select_n(_is_odd(remaining), power, lax.mul(power, square))
        square = lax.mul(square, square)
        remaining = lax.shift_right_logical(remaining, one)
    if jnp.issubdtype(base.dtype, jnp.unsignedinteger):
        return power
    return lax.select_n(lax.lt(exponent, zero), power, _reciprocal(base, exponent))


def _is_odd(x: Any) -> Any:
    return lax.ne(lax.bitwise_and(x, lax.full_like(x, 1)), lax.full_like(x, 0))


def _reciprocal(base: Any, exponent: Any) -> Any:
    """Returns the power of integers for negative exponents: 0 but for bases 1 and -1."""
    zero, one = lax.full_like(base, 0), lax.full_like(base, 1)
    of_minus_one = lax.select_n(_is_odd(exponent), one, base)
    others = lax.select_n(lax.eq(base, one), zero, one)
    return lax.select_n(lax.eq(base, lax.full_like(base, -1)), others, of_minus_one)


def _select(condition: Any, on_true: Any, on_false: Any) -> Any:
    return lax.select_n(condition, on_false, on_true)


def _reduce_precision(operation: Operation) -> Runner:
    exponent_bits = operation.integer("exponent_bits")
    mantissa_bits = operation.integer("mantissa_bits")
    return lambda x: lax.reduce_precision(x, exponent_bits, mantissa_bits)


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.abs": Handler(_abs),
    "stablehlo.add": _logical(lax.add, lax.bitwise_or),
    "stablehlo.and": _same(lax.bitwise_and),
    "stablehlo.atan2": _same(lax.atan2),
    "stablehlo.cbrt": Handler(_cbrt),
    "stablehlo.ceil": _same(lax.ceil),
    "stablehlo.clamp": _same(lax.clamp),
    "stablehlo.complex": _same(lax.complex),
    "stablehlo.cosine": _with_accuracy(lax.cos),
    "stablehlo.count_leading_zeros": _same(lax.clz),
    "stablehlo.divide": _same(lax.div),
    "stablehlo.exponential": _with_accuracy(lax.exp),
    "stablehlo.exponential_minus_one": _with_accuracy(lax.expm1),
    "stablehlo.floor": _same(lax.floor),
    "stablehlo.imag": _part(lax.imag, lambda x: lax.full_like(x, 0)),
    "stablehlo.is_finite": _same(lax.is_finite),
    "stablehlo.log": _with_accuracy(lax.log),
    "stablehlo.log_plus_one": _with_accuracy(lax.log1p),
    "stablehlo.logistic": Handler(_logistic),
    "stablehlo.maximum": _same(lax.max),
    "stablehlo.minimum": _same(lax.min),
    "stablehlo.multiply": _logical(lax.mul, lax.bitwise_and),
    "stablehlo.negate": _same(lax.neg),
    "stablehlo.not": _same(lax.bitwise_not),
    "stablehlo.or": _same(lax.bitwise_or),
    "stablehlo.popcnt": _same(lax.population_count),
    "stablehlo.power": Handler(_power),
    "stablehlo.real": _part(lax.real, lambda x: x),
    "stablehlo.reduce_precision": Handler(_reduce_precision),
    "stablehlo.remainder": _same(lax.rem),
    "stablehlo.round_nearest_afz": _same(lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)),
    "stablehlo.round_nearest_even": _same(
        lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)
    ),
    "stablehlo.rsqrt": _with_accuracy(lax.rsqrt),
    "stablehlo.select": _same(_select),
    "stablehlo.shift_left": _same(lax.shift_left),
    "stablehlo.shift_right_arithmetic": _same(lax.shift_right_arithmetic),
    "stablehlo.shift_right_logical": _same(lax.shift_right_logical),
    "stablehlo.sign": _same(lax.sign),
    "stablehlo.sine": _with_accuracy(lax.sin),
    "stablehlo.sqrt": _with_accuracy(lax.sqrt),
    "stablehlo.subtract": _same(lax.sub),
    "stablehlo.tan": _with_accuracy(lax.tan),
    "stablehlo.tanh": _with_accuracy(lax.tanh),
    "stablehlo.xor": _same(lax.bitwise_xor),
}
