"""One stored function as a callable under jit, with its derivative and its errors.

How it becomes something that JAX can call is in `rebuild`; what may be passed is in `arguments`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, final

import jax
import jax.export
import jax.numpy as jnp

from orbax_model_lite.core.tree import Tree, leaves, unflatten
from orbax_model_lite.errors import InvalidBundleError, SignatureMismatchError
from orbax_model_lite.jax2obm.call_errors import CALL_ERRORS, beyond_stored, translated
from orbax_model_lite.jax2obm.devices.placing import Placing
from orbax_model_lite.jax2obm.rows import row_of
from orbax_model_lite.jaxtypes.adapting import adapted
from orbax_model_lite.jaxtypes.arguments import Parameters, callable_order, callable_tree
from orbax_model_lite.jaxtypes.leaves import to_logical, to_physical

MOST_VARIANTS = 512
"""Trees and shapes that one function keeps compiled; at the next one all are let go."""

FlatCall = Callable[..., tuple[Any, ...]]


@final
class _Program:
    """A traced function under `jax.jit`, which can be begun anew.

    Attributes:
      call: The jitted function of now.
    """

    def __init__(self, traced: Callable[..., Tree], name: str) -> None:
        self._traced, self._name = traced, name
        self.renew()

    def renew(self) -> None:
        """Starts with nothing compiled."""

        def traced(*args: Any, **kwargs: Any) -> Tree:
            return self._traced(*args, **kwargs)

        traced.__name__ = traced.__qualname__ = self._name
        # The old one, and with it what it compiled, goes when its last call has returned.
        self.call: Any = jax.jit(traced)


@final
class Bound:
    """A function of a bundle, ready to be called; made by the engine.

    Args:
      exported: Of the flat physical leaves in `kept`.
      parameters: What it takes.
      kept: Flat positions of the inputs that the module takes.
      placing: For a function for several devices.
      device: To run on; None is JAX's default.
      gradient: Gives the function's VJP as a call of flat leaves (primals, then cotangents); None
        where the bundle has none.
      derivative_of: The function of the caller, where this one is its VJP.
    """

    def __init__(
        self,
        exported: jax.export.Exported,
        parameters: Parameters,
        *,
        kept: Sequence[int],
        placing: Placing | None = None,
        device: Any = None,
        gradient: Callable[[], FlatCall] | None = None,
        derivative_of: str = "",
    ) -> None:
        """Prepares the call; nothing is compiled yet."""
        self.parameters = parameters
        self._exported: jax.export.Exported | None = exported
        self._placing = placing
        self._device = device
        self._gradient = gradient
        self._derivative_of = derivative_of
        self._inputs = parameters.signature.input_leaves
        self._outputs = parameters.signature.output_leaves
        self._output_tree = callable_tree(parameters.signature.outputs)
        self._output_order = callable_order(parameters.signature.outputs)
        self._lock = threading.Lock()
        self._variants = 0
        self._kept = tuple(kept)
        # Others are dropped at once, so that jax.jit need not look at them; a VJP may want all.
        self._taken = self._kept if gradient is None else tuple(range(len(self._inputs)))
        self._is_adapting = False
        self._flat = self._differentiable()
        self._programs: list[_Program] = []
        self._program = self._new_program(self._traced)
        first = parameters.tree[0][:1]
        self._row = row_of(first[0]) if first else None
        self._by_row = self._new_program(self._traced_by_row)

    def function(self) -> Callable[..., Any]:
        """Returns the callable: `jax.jit`'s with an exception handler and a mode switch."""
        x64, program, row, by_row = jax.enable_x64, self._program, self._row, self._by_row

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._is_adapting:
                args, kwargs = self._adapted(args, kwargs)
            # In x64 mode JAX tells a NumPy float64 from a float32, so that it can be refused.
            try:
                taken = row.of(args[0]) if row and args else None
                with x64(True):
                    if taken is None:
                        return program.call(*args, **kwargs)
                    return by_row.call(taken, *args[1:], **kwargs)
            except CALL_ERRORS as e:
                error = e
            return self._recover(error, args, kwargs)

        return self._named(call)

    def function_with(self, weights: Tree) -> Callable[..., Any]:
        """Returns the callable of the other arguments, its first one given once for all calls.

        The leaves of the weights are put in a row here, so that no call does it again: for hundreds
        of them in a dict that costs more than the rest of a call.

        Args:
          weights: What would be passed first.
        """
        general, x64 = self.function(), jax.enable_x64
        if self._placing is not None:
            return functools.partial(general, weights)
        flat, program = self._row.of(weights) if self._row else None, self._by_row
        if flat is None:
            found, tree = jax.tree.flatten(weights)
            flat = tuple(found)

            def traced(flat: Any, *args: Any, **kwargs: Any) -> Tree:
                return self._traced(tree.unflatten(flat), *args, **kwargs)

            program = self._new_program(traced)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._is_adapting:
                return general(weights, *args, **kwargs)
            try:
                with x64(True):
                    return program.call(flat, *args, **kwargs)
            except CALL_ERRORS as e:
                error = e
            return self._recover(error, (weights, *args), kwargs)

        return self._named(call)

    def _named(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a call where the function belongs, with its name."""

        def call_elsewhere(*args: Any, **kwargs: Any) -> Any:
            with nullcontext() if self._device is None else jax.default_device(self._device):
                if self._placing is not None:
                    args, kwargs = self._placed(args, kwargs)
                return call(*args, **kwargs)

        is_here = self._placing is None and self._device is None
        made = call if is_here else call_elsewhere
        made.__name__ = made.__qualname__ = self.parameters.function_name
        made.__doc__ = f"{self.parameters.function_name}{self.parameters.signature}"
        return made

    def close(self) -> None:
        """Lets go of compiled programs and of the module."""
        with self._lock:
            for program in self._programs:
                program.call.clear_cache()
            self._exported = None

    def flat_call(self, *flat: Any) -> tuple[Any, ...]:
        """Returns flat logical outputs for flat logical inputs, while JAX traces."""
        physical = [to_physical(spec, leaf) for spec, leaf in zip(self._inputs, flat, strict=True)]
        results = self._flat(*(physical[i] for i in self._taken))
        where = f"function {self.parameters.function_name!r}, output"
        pairs = zip(self._outputs, results, strict=True)
        return tuple(to_logical(spec, leaf, where) for spec, leaf in pairs)

    def _traced(self, *args: Any, **kwargs: Any) -> Tree:
        flat = self.parameters.require(args, kwargs)
        self._count_variant()
        results = self.flat_call(*flat)
        return unflatten(self._output_tree, [results[i] for i in self._output_order])

    def _traced_by_row(self, taken: Sequence[Any], *args: Any, **kwargs: Any) -> Tree:
        assert self._row is not None
        return self._traced(self._row.dict(taken), *args, **kwargs)

    def _new_program(self, traced: Callable[..., Tree]) -> _Program:
        program = _Program(traced, self.parameters.function_name)
        with self._lock:
            self._programs.append(program)
        return program

    def _count_variant(self) -> None:
        with self._lock:
            self._variants += 1
            if self._variants > MOST_VARIANTS:
                self._variants = 1
                for program in self._programs:
                    program.renew()

    def _differentiable(self) -> FlatCall:
        """Returns the physical call with the stored derivative, or one that says there is none."""

        @jax.custom_vjp
        def call(*flat: Any) -> tuple[Any, ...]:
            return self._call_module(*flat)

        def forward(*flat: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            return call(*flat), flat

        def backward(flat: tuple[Any, ...], cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
            if self._gradient is None:
                raise beyond_stored(self.parameters.function_name, self._derivative_of)
            with jax.enable_x64(True):
                found = self._gradient()(*flat, *cotangents)
            inexact = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in flat]
            return tuple(g if is_real else None for g, is_real in zip(found, inexact, strict=True))

        call.defvjp(forward, backward)
        return call

    def _call_module(self, *flat: Any) -> tuple[Any, ...]:
        exported = self._exported
        if exported is None:
            raise InvalidBundleError(
                f"function {self.parameters.function_name!r}: expected an open model; found a "
                "closed one; load it again"
            )
        by_position = dict(zip(self._taken, flat, strict=True))
        if self._placing is None:
            return tuple(exported.call(*(by_position[i] for i in self._kept)))
        given = [self._placing.constrained(by_position[i], i) for i in self._kept]
        return self._placing.settled(exported.call(*given), is_tied=bool(given))

    def _placed(self, args: Any, kwargs: Any) -> Any:
        """Returns a call with its leaves on the mesh, if it has the form of the signature."""
        assert self._placing is not None
        call = self._adapted(args, kwargs)
        found, order = leaves(call), self.parameters.order
        if len(found) != len(order):
            return args, kwargs
        with jax.enable_x64(True):
            pairs = zip(found, order, strict=True)
            return unflatten(call, [self._placing.placed(leaf, i) for leaf, i in pairs])

    def _adapted(self, args: Any, kwargs: Any) -> Any:
        call, is_changed = adapted(self.parameters.tree, self.parameters.bound(args, kwargs))
        return call if is_changed else (args, kwargs)

    def _recover(self, error: Exception, args: Any, kwargs: Any) -> Any:
        """Returns the result after converting Python numbers, or raises the error in our terms."""
        if isinstance(error, (TypeError, OverflowError)) and not self._is_adapting:
            again = self._adapted(args, kwargs)
            if again[0] is not args:
                # Whoever passes numbers once will pass them again: from now on, convert first.
                self._is_adapting = True
                return self.function()(*again[0], **again[1])
        found = translated(error, self.parameters, args, kwargs)
        if found is error:
            raise error
        raise found from (None if isinstance(found, SignatureMismatchError) else error)
