"""Which calls are measured: batch sizes that a target takes, and inputs of so many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling.matching import Call, assembled
from orbax_model_lite.runtime.calling.random_inputs import random_call
from orbax_model_lite.runtime.calling.sizes import (
    fixed_leaves,
    named_leaves,
    static_shape,
)
from orbax_model_lite.runtime.calling.target import Form, Target

DEFAULT_SIZES: Final = (1, 8, 32)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBatch:
    """Calls of one size.

    Attributes:
      size: Rows; None where inputs have no common leading size.
      form: That takes them.
    """

    size: int | None
    form: Form


def batch_symbol(form: Form) -> str | None:
    """Returns the name of the dimension that is the batch: the first open leading one."""
    for _, spec in named_leaves(form):
        if isinstance(spec, Spec) and spec.shape and isinstance(spec.shape[0], str):
            return spec.shape[0] if spec.shape[0].isidentifier() else None
    return None


def fixed_size(form: Form) -> int | None:
    """Returns the leading size that all inputs have; None where they differ or have none."""
    specs = [spec for _, spec in form.leaves() if isinstance(spec, Spec)]
    sizes = {spec.shape[0] if spec.shape else None for spec in specs}
    (size, *others) = sizes or {None}
    return size if not others and isinstance(size, int) else None


def plan(
    target: Target, asked: Sequence[int] | None, sizes: Mapping[str, int]
) -> tuple[list[PlannedBatch], list[str]]:
    """Returns the batches to measure, and what a reader should know of the choice.

    Args:
      target: What is called; of several forms the first that takes a size.
      asked: Batch sizes; None takes those of the author's batch options, else `DEFAULT_SIZES`.
      sizes: Of other open dimensions.

    Raises:
      SignatureMismatchError: If constraints forbid a size that was asked for.
    """
    open_forms = [form for form in target.forms if batch_symbol(form) is not None]
    by_size = {fixed_size(form): form for form in reversed(target.forms) if form not in open_forms}
    if not open_forms:
        return _fixed_batches(by_size, asked)
    found, left_out = [], []
    for size in asked or target.batch_sizes or DEFAULT_SIZES:
        form = by_size.get(size)
        if form is None:
            form = _open_form(open_forms, size, sizes, is_asked=asked is not None)
        if form is None:
            left_out.append(str(size))
        else:
            found.append(PlannedBatch(size=size, form=form))
    notes = [f"constraints forbid batches of {', '.join(left_out)}"] if left_out else []
    if not found:
        form = open_forms[0]
        found.append(PlannedBatch(size=_smallest(form, sizes), form=form))
    return found, notes


def inputs_at_random(
    bundle: Bundle, target: Target, batch: PlannedBatch, *, seed: int, sizes: Mapping[str, int]
) -> Call:
    """Returns a call of so many rows with numbers at random; see `random_call`."""
    symbol = batch_symbol(batch.form)
    wanted = dict(sizes)
    if symbol is not None and batch.size is not None:
        wanted[symbol] = batch.size
    return random_call(bundle, replace(target, forms=(batch.form,)), seed=seed, sizes=wanted)


def repeated(call: Call, size: int | None) -> Call:
    """Returns a call with so many rows, those that are given over and over again.

    Args:
      call: With inputs that were given.
      size: Rows; None leaves the call as it is.

    Raises:
      SignatureMismatchError: If there is no row.
    """
    symbol = batch_symbol(call.form)
    if symbol is None or size is None:
        return call
    found = dict(call.arrays)
    for path, spec in named_leaves(call.form):
        if path in found and isinstance(spec, Spec) and spec.shape and spec.shape[0] == symbol:
            array = found[path]
            if array.ndim == 0 or len(array) == 0:
                raise SignatureMismatchError(
                    f"input {call.form.label(path)!r}: expected at least one row; found "
                    f"{list(array.shape)}; give one"
                )
            found[path] = array[np.arange(size) % len(array)]
    return assembled(call.form, found, call.notes)


def _smallest(form: Form, sizes: Mapping[str, int]) -> int | None:
    """Returns the smallest batch size that the search for sizes comes to."""
    fixed = dict(fixed_leaves(form, sizes))
    for path, spec in named_leaves(form):
        if isinstance(spec, Spec) and spec.shape and spec.shape[0] == batch_symbol(form):
            return static_shape(fixed[path])[0]
    return None


def _fixed_batches(
    by_size: Mapping[int | None, Form], asked: Sequence[int] | None
) -> tuple[list[PlannedBatch], list[str]]:
    chosen = [size for size in asked or () if size in by_size] or list(by_size)
    found = [PlannedBatch(size=size, form=by_size[size]) for size in chosen]
    sizes = ", ".join(str(size) for size in sorted(size for size in by_size if size is not None))
    left_out = [str(size) for size in asked or () if size not in by_size]
    notes = [f"its batch size is fixed: {sizes}"] if sizes else ["its inputs have no batch size"]
    if left_out:
        notes.append(f"not measured, since it does not take them: batches of {', '.join(left_out)}")
    return found, notes


def _open_form(
    forms: Sequence[Form], size: int, sizes: Mapping[str, int], *, is_asked: bool
) -> Form | None:
    """Returns the first form that takes so many rows; None where constraints forbid them."""
    problem: SignatureMismatchError | None = None
    for form in forms:
        try:
            fixed_leaves(form, {**sizes, str(batch_symbol(form)): size})
        except SignatureMismatchError as e:
            problem = problem or e
        else:
            return form
    if is_asked and problem is not None:
        raise problem
    return None
