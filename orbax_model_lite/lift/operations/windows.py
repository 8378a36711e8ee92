"""Reductions over windows, with any body, and `select_and_scatter`, which is the way back.

Sums, maxima and minima become the operations of JAX that have a derivative. Any other body keeps
its operation; its derivative is that of a loop over the places of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxlib.mlir import ir

from orbax_model_lite.lift.evaluation import evaluate
from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import (
    Body,
    body_of,
    closed,
    combine,
    combiners,
    constant_scalar,
    elementwise,
    identity_of,
    is_identity,
    with_derivative_of,
)
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import as_arrays, shape_of

_REDUCERS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": lax.add,
    "maximum": lax.max,
    "minimum": lax.min,
}

# Booleans are ordered, so these are the same, and JAX has a reduction for them.
_OF_BOOLEANS: Final = {"and": "minimum", "or": "maximum"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How windows lie; one entry for each dimension, sizes may be symbolic.

    Attributes:
      sizes: Of a window.
      strides: From window to window.
      padding: Low and high. Nothing is there: XLA skips these places, whatever the initial value.
      base_dilation: Distance of neighbours in the operand.
      window_dilation: Distance of neighbours in a window.
    """

    sizes: Sequence[Any]
    strides: Sequence[Any]
    padding: Sequence[tuple[Any, Any]]
    base_dilation: Sequence[Any]
    window_dilation: Sequence[Any]

    def padded(self, x: Any, value: Any) -> Any:
        """Returns an operand with its padding and the distance between its elements."""
        config = [
            (low, high, step - 1)
            for (low, high), step in zip(self.padding, self.base_dilation, strict=True)
        ]
        is_needless = all(entry == (0, 0, 0) for entry in config)
        return x if is_needless else lax.pad(x, jnp.asarray(value, x.dtype), config)

    def counts(self, padded_shape: Sequence[Any]) -> tuple[Any, ...]:
        """Returns how many windows there are along each dimension of the padded operand."""
        found = []
        for size, window, stride, dilation in zip(
            padded_shape, self.sizes, self.strides, self.window_dilation, strict=True
        ):
            room = size - (window - 1) * dilation - 1
            found.append(jax.core.max_dim(room // stride + 1, 0))
        return tuple(found)

    def arguments(self) -> tuple[Any, ...]:
        """Returns them as `lax.reduce_window` takes them."""
        return (
            tuple(self.sizes),
            tuple(self.strides),
            tuple(self.padding),
            tuple(self.base_dilation),
            tuple(self.window_dilation),
        )


def windows_of(operation: Operation) -> Windows:
    """Returns how the windows of an operation lie over its first operand."""
    rank = operation.operand_type().rank
    ones = [1] * rank
    padding = [(0, 0)] * rank
    if operation.has("padding"):
        dense = np.array(ir.DenseIntElementsAttr(operation.attribute("padding"))).reshape(-1, 2)
        padding = [(int(low), int(high)) for low, high in dense]
    return Windows(
        sizes=operation.integers("window_dimensions", ones),
        strides=operation.integers("window_strides", ones),
        padding=padding,
        base_dilation=operation.integers("base_dilations", ones),
        window_dilation=operation.integers("window_dilations", ones),
    )


_Reduction = Callable[[Body, Sequence[Any], Sequence[Any], Windows], tuple[Any, ...]]
"""Takes the body, the operands, the initial values and the windows."""


def _reduction(operation: Operation, block: ir.Block, count: int) -> _Reduction:
    inits = [constant_scalar(operation, count + i) for i in range(count)]
    dtypes = [operation.result_type(i).dtype for i in range(count)]
    names = combiners(block)
    if names is not None and count == 1:
        name = _OF_BOOLEANS.get(names[0], names[0]) if dtypes[0] == np.bool_ else names[0]
        is_negative_zero = name == "add" and inits[0] is not None and _is_negative_zero(inits[0])
        if name in _REDUCERS and not is_negative_zero:
            return _known(name, inits[0])
    return _generic(inits, dtypes)


def _is_negative_zero(value: np.ndarray) -> bool:
    is_float = jnp.issubdtype(value.dtype, jnp.floating)
    return bool(is_float and value == 0 and np.signbit(value.astype(np.float64)))


def _known(name: str, constant: np.ndarray | None) -> _Reduction:
    def run(body: Body, operands: Any, inits: Any, windows: Windows) -> tuple[Any]:
        del body
        (operand,), (init,) = operands, inits
        neutral = np.asarray(identity_of(name, operand.dtype)).astype(operand.dtype)
        found = lax.reduce_window(operand, neutral, _REDUCERS[name], *windows.arguments())
        if is_identity(name, constant):
            return (found,)
        return (combine(name)(jnp.full_like(found, init), found),)

    return run


def _generic(inits: Sequence[np.ndarray | None], dtypes: Sequence[np.dtype]) -> _Reduction:
    constants = tuple(init for init in inits if init is not None)
    scalars = [TensorType(shape=(), dtype=dtype) for dtype in dtypes]

    def run(body: Body, operands: Any, starts: Any, windows: Windows) -> tuple[Any, ...]:
        if len(constants) == len(inits):
            kept = closed(body, [*scalars, *scalars])
            if kept is not None:
                return _by_xla(kept, constants, windows)(*operands)
        return _by_loop(body, operands, starts, windows)

    return run


def _by_xla(body: Body, starts: tuple[Any, ...], windows: Windows) -> Callable[..., Any]:
    def fast(*operands: Any) -> tuple[Any, ...]:
        def computation(a: Any, b: Any) -> tuple[Any, ...]:
            return body(*a, *b)

        return tuple(lax.reduce_window(operands, starts, computation, *windows.arguments()))

    def slow(*operands: Any) -> tuple[Any, ...]:
        return _by_loop(body, operands, starts, windows)

    return with_derivative_of(fast, slow)


def _by_loop(
    body: Body, operands: Sequence[Any], starts: Sequence[Any], windows: Windows
) -> tuple[Any, ...]:
    """Returns the reduction as a loop over the places of a window, for all windows at once."""
    padded = [windows.padded(x, 0) for x in operands]
    is_there = windows.padded(jnp.ones(operands[0].shape, bool), False)
    counts = windows.counts(padded[0].shape)
    apply = elementwise(body, len(counts))

    def step(carry: tuple[Any, ...], place: Any) -> tuple[tuple[Any, ...], None]:
        offsets = offsets_of(place, windows)
        found = apply(*carry, *(elements(x, offsets, counts, windows) for x in padded))
        taken = elements(is_there, offsets, counts, windows)
        return tuple(jnp.where(taken, x, y) for x, y in zip(found, carry, strict=True)), None

    carry = tuple(
        jnp.broadcast_to(jnp.asarray(start, x.dtype), counts)
        for x, start in zip(padded, starts, strict=True)
    )
    found, _ = lax.scan(step, carry, lax.iota(jnp.int32, product_of(windows.sizes)))
    return found


def offsets_of(place: Any, windows: Windows) -> list[Any]:
    """Returns where the element with a number in row-major order lies in its window."""
    offsets = []
    for size, dilation in zip(windows.sizes[::-1], windows.window_dilation[::-1], strict=True):
        whole = jnp.asarray(size, jnp.int32)
        offsets.append(lax.rem(place, whole) * jnp.asarray(dilation, jnp.int32))
        place = lax.div(place, whole)
    return offsets[::-1]


def elements(x: Any, offsets: Sequence[Any], counts: Sequence[Any], windows: Windows) -> Any:
    """Returns the element at the same place of each window."""
    spans = [(n - 1) * stride + 1 for n, stride in zip(counts, windows.strides, strict=True)]
    # No window at all: nothing is read.
    spans = [span if n != 0 else 0 for span, n in zip(spans, counts, strict=True)]
    reached = lax.dynamic_slice(x, offsets, spans)
    return lax.slice(reached, [0] * x.ndim, reached.shape, tuple(windows.strides))


def product_of(sizes: Sequence[Any]) -> Any:
    """Returns how many elements there are with these sizes."""
    product = 1
    for size in sizes:
        product = product * size
    return product


def _reduce_window(operation: Operation) -> Runner:
    count, windows = len(operation.result_types), windows_of(operation)
    reduction = _reduction(operation, body_of(operation), count)

    def run(*arguments: Any, regions: Sequence[Body]) -> tuple[Any, ...]:
        return reduction(regions[0], arguments[:count], arguments[count:], windows)

    return run


def _dynamic_reduce_window(operation: Operation) -> Runner:
    count = len(operation.result_types)
    symbol = ir.ArrayAttr(operation.attribute("called_computations"))[0]
    name = ir.FlatSymbolRefAttr(symbol).value
    program = operation.around.program(name)
    block = operation.around.function(name).regions[0].blocks[0]
    reduction = _reduction(operation, block, count)

    def run(*arguments: Any) -> tuple[Any, ...]:
        sizes, strides, base, dilation, padding = map(
            shape_of, arguments[2 * count : 2 * count + 5]
        )
        windows = Windows(
            sizes=sizes,
            strides=strides,
            padding=list(zip(padding[::2], padding[1::2], strict=True)),
            base_dilation=base,
            window_dilation=dilation,
        )
        arrays = as_arrays(arguments[: 2 * count])
        body = lambda *scalars: evaluate(program, scalars)  # noqa: E731
        return reduction(body, arrays[:count], arrays[count:], windows)

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {"stablehlo.reduce_window": Handler(_reduce_window)}

CUSTOM_CALLS: Final[Mapping[str, Handler]] = {
    "stablehlo.dynamic_reduce_window": Handler(_dynamic_reduce_window, keeps_known=True),
}
