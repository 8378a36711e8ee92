"""A TensorFlow function as a StableHLO function: compiled at one size, lifted, vmapped, converted.

XLA compiles TensorFlow for fixed sizes only. So the function is compiled for a batch of one, lifted
to JAX, mapped over the batch, and converted with a symbolic batch for every platform. That is the
same function only if its rows do not depend on each other, which is tried at three sizes; a
function that fails is stored at fixed sizes instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, final

import jax
import numpy as np

from orbax_model_lite.core import layout
from orbax_model_lite.core.function import (
    Lowering,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, leaves, map_leaves, unflatten
from orbax_model_lite.errors import ObmError, UnsupportedError
from orbax_model_lite.lift.lifted import LiftedModule, lift_module, module_coverage
from orbax_model_lite.stablehlo.facts import facts
from orbax_model_lite.tf2obm.compiling import compiled
from orbax_model_lite.tf2obm.names import argument_names
from orbax_model_lite.tf2obm.obstacles import (
    NotLowerable,
    has_gradient_rules,
    operation_at,
    require_lowerable,
)
from orbax_model_lite.tf2obm.prepare import PreparedFunction
from orbax_model_lite.tf2obm.probing import first_difference

FIXED_SIZES: Final = (1, 8)
"""Batch sizes of a function whose rows depend on each other."""

MAX_AUTO_CONSTANT_BYTES: Final = 1_000_000

_TRIED_SIZES = (1, 3, 5)
_SYMBOL = "b"

Convert: TypeAlias = Callable[..., ShloFunction]
FlatCall: TypeAlias = Callable[..., tuple[Any, ...]]


def lowered(
    name: str, prepared: PreparedFunction, mode: Literal["auto", "always"], convert: Convert
) -> Lowering:
    """Returns the StableHLO form of a function, or why it has none.

    Args:
      name: Object name of the function, for messages.
      prepared: The function.
      mode: "auto" leaves out functions with checks of values, and with variables and other
        constants of more than 1 MB; "always" takes them: the checks are gone then, and variables
        are constants.
      convert: Turns a JAX callable, specs of its arguments by position and those by keyword into a
        function of the format; it takes `name=`.

    Raises:
      UnsupportedError: With "always", if there is no form; names the operation that stopped it.
    """
    is_auto = mode == "auto"
    limit = MAX_AUTO_CONSTANT_BYTES if is_auto else None
    task = _Task(name=name, prepared=prepared, convert=convert, max_constant_bytes=limit)
    try:
        require_lowerable(prepared, with_checks=is_auto)
        return _form(task)
    except NotLowerable as e:
        if is_auto:
            return Lowering(reason=e.reason, operation=e.operation)
        raise UnsupportedError(
            f"function {name!r}: expected a TensorFlow function that can be said in StableHLO; "
            f"found that {e.reason}; change it, or let lower be 'auto'"
        ) from e


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What is to be lowered, and how."""

    name: str
    prepared: PreparedFunction
    convert: Convert
    max_constant_bytes: int | None


def _form(task: _Task) -> Lowering:
    if not any(_is_open(spec) for spec in task.prepared.signature.input_leaves):
        return Lowering(function=_sized_form(task, 1))
    try:
        return Lowering(function=_symbolic_form(task))
    except NotLowerable as e:
        variants = [_sized_form(task, size) for size in FIXED_SIZES]
        sizes = " and ".join(map(str, FIXED_SIZES))
        return Lowering(
            function=PolymorphicFunction(functions=tuple(variants)),
            reason=f"{e.reason}, so there is a form for batches of {sizes} only",
            operation=e.operation,
        )


def _symbolic_form(task: _Task) -> ShloFunction:
    call = _mapped(task.prepared, _lifted(task, 1))
    for size in _TRIED_SIZES:
        found = _difference(task.prepared, call, size)
        if found is not None:
            raise NotLowerable(f"its rows depend on each other: in a batch of {size}, {found}")
    return _converted(task, call, _SYMBOL)


def _sized_form(task: _Task, size: int) -> ShloFunction:
    call = _lifted(task, size)
    found = _difference(task.prepared, call, size)
    if found is not None:
        raise NotLowerable(f"StableHLO gives another result: {found}")
    return _converted(task, call, size)


@final
@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class _Lifted:
    """A function at a batch size as JAX code over flat arrays."""

    module: LiftedModule
    captured: tuple[np.ndarray, ...]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return tuple(self.module(*inputs, *self.captured))


def _lifted(task: _Task, size: int) -> _Lifted:
    found = compiled(task.prepared, size)
    constant_bytes = facts(found.text).constant_bytes + sum(a.nbytes for a in found.captured)
    if task.max_constant_bytes is not None and constant_bytes > task.max_constant_bytes:
        raise NotLowerable(
            f"it has {constant_bytes / 1e6:.1f} MB of constants, which would be stored once more; "
            "to accept that, let lower be 'always'"
        )
    where = f"function {task.name!r}"
    problems = module_coverage(found.text, where=where).problems
    if problems:
        operation = operation_at(task.prepared, problems[0].scope)
        raise NotLowerable(f"{operation} compiles to {problems[0]}", operation)
    return _Lifted(module=lift_module(found.text, where=where), captured=found.captured)


def _mapped(prepared: PreparedFunction, call: _Lifted) -> FlatCall:
    """Returns a call for batches of one as a call for any batch."""
    inputs = tuple(0 if _is_open(spec) else None for spec in prepared.signature.input_leaves)
    outputs = tuple(0 if _is_open(spec) else None for spec in leaves(prepared.signature.outputs))

    def one(*rows: Any) -> tuple[Any, ...]:
        pairs = zip(rows, inputs, strict=True)
        found = call(*[row if axis is None else row[None] for row, axis in pairs])
        return tuple(y if axis is None else y[0] for y, axis in zip(found, outputs, strict=True))

    def batched(*arrays: Any) -> tuple[Any, ...]:
        with jax.enable_x64(True) if call.module.has_64_bits else nullcontext():
            return jax.vmap(one, in_axes=inputs, out_axes=outputs)(*arrays)

    return batched


def _difference(prepared: PreparedFunction, call: FlatCall, size: int) -> str | None:
    """Returns what differs from TensorFlow at a batch size, translating what JAX says to it."""
    jitted = jax.jit(call)

    def run(*inputs: Any) -> tuple[Any, ...]:
        with jax.enable_x64(True):
            return jitted(*inputs)

    try:
        return first_difference(prepared, run, size)
    except ObmError as e:
        raise NotLowerable(f"its compiled form cannot be run: {e}") from e
    except ValueError as e:
        if "out_axes" not in str(e):
            raise
        raise NotLowerable("an output without a batch depends on the rows") from e


def _converted(task: _Task, call: FlatCall, batch: int | str) -> ShloFunction:
    signature = task.prepared.signature
    args, kwargs = map_leaves(lambda spec: _with_batch(spec, batch), signature.inputs)
    try:
        form = task.convert(_with_trees(task.prepared, call), args, kwargs, name=task.name)
    except ObmError as e:
        raise NotLowerable(f"JAX cannot convert it: {e}") from e
    wanted = [spec.dtype for spec in leaves(signature.outputs)]
    if [spec.dtype for spec in leaves(form.signature.outputs)] != wanted:
        raise NotLowerable("its StableHLO form has other output types")
    supplementals = dict(form.supplementals)
    if has_gradient_rules(task.prepared):
        # The record says that derivative rules are marked, and the compiler has dropped these.
        del supplementals[layout.KEY_JAX_TREES]
    return replace(form, visibility=Visibility.PRIVATE, supplementals=supplementals)


def _with_trees(prepared: PreparedFunction, call: FlatCall) -> Callable[..., Tree]:
    """Returns a call that takes and gives the trees of the signature, under its names."""

    def function(*args: Any, **kwargs: Any) -> Tree:
        return unflatten(prepared.signature.outputs, call(*leaves((args, kwargs))))

    kinds = inspect.Parameter
    names = argument_names(prepared.signature, prepared.input_names)
    parameters = [
        kinds(name or f"input_{i}", kinds.POSITIONAL_ONLY) for i, name in enumerate(names)
    ]
    rest = [kinds("kwargs", kinds.VAR_KEYWORD)] if prepared.signature.kwargs else []
    setattr(function, "__signature__", inspect.Signature([*parameters, *rest]))  # noqa: B010
    return function


def _with_batch(spec: Spec, batch: int | str) -> Spec:
    dims = tuple(batch if dim is None else dim for dim in spec.shape or ())
    return Spec(shape=dims, dtype=spec.dtype)


def _is_open(spec: Any) -> bool:
    return bool(spec.shape) and spec.shape[0] is None
