"""Documents as the inputs of one call: each given part finds its leaf, each leaf its array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, unflatten
from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.runtime.calling import images, leaf_values
from orbax_model_lite.runtime.calling.arrays import StoredArray
from orbax_model_lite.runtime.calling.documents import JsonValue
from orbax_model_lite.runtime.calling.placing import Given, Placing, Source
from orbax_model_lite.runtime.calling.target import Form, Target


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The arguments of one call: plain trees of NumPy arrays.

    Attributes:
      args: Positional.
      kwargs: By keyword.
      form: That they fit.
      arrays: The same by path in the form.
      notes: What a reader should know of how they were made.
    """

    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    form: Form
    arrays: Mapping[Path, np.ndarray]
    notes: tuple[str, ...] = ()

    def leaves(self) -> list[tuple[str, np.ndarray, str | None]]:
        """Returns (name, array, logical type) of each input, as `Spec.logical` has it."""
        logical = {path: getattr(spec, "logical", None) for path, spec in self.form.leaves()}
        return [(self.form.label(path), x, logical[path]) for path, x in self.arrays.items()]


def call_from(target: Target, sources: Sequence[Source]) -> Call:
    """Returns the call that sources stand for, in the first form of the target that takes them.

    Args:
      target: What is called.
      sources: Files and values; several files for one input are the rows of a batch.

    Raises:
      SignatureMismatchError: If something is missing, superfluous, given twice, or does not fit.
      MissingDependencyError: If a picture is given and Pillow is not installed.
    """
    problems: list[SignatureMismatchError] = []
    for form in target.forms:
        try:
            return _call(form, sources)
        except SignatureMismatchError as e:
            problems.append(e)
    if len(problems) == 1:
        raise SignatureMismatchError(f"{target}, {problems[0]}") from problems[0]
    forms = "\n".join(f"  {form}" for form in target.forms)
    raise SignatureMismatchError(
        f"{target}: expected inputs for one of\n{forms}\nfound for the first: {problems[0]}"
    ) from problems[0]


def assembled(form: Form, found: Mapping[Path, np.ndarray], notes: Sequence[str] = ()) -> Call:
    """Returns arrays by path as a call; inputs that may be left out are, where nothing is given.

    Raises:
      SignatureMismatchError: If something is missing.
    """
    missing: list[str] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    is_gap = False
    for root, tree in form.inputs:
        leaves = flatten_with_path(tree, prefix=(root,))
        given = [path for path, _ in leaves if path in found]
        if leaves and not given and form.is_optional(root):
            is_gap = True
            continue
        missing += [f"{form.label(p)}: {spec}" for p, spec in leaves if p not in found]
        value = unflatten(tree, [found.get(path) for path, _ in leaves])
        # What comes after an input that is left out can only be passed by name.
        if isinstance(root, str) or is_gap:
            kwargs[form.name(root)] = value
        else:
            args.append(value)
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if missing[4:] else "")
        raise SignatureMismatchError(
            f"inputs: expected {form}; found nothing for {shown}; give it with --input NAME=FILE "
            "or --value NAME=JSON"
        )
    return Call(args=tuple(args), kwargs=kwargs, form=form, arrays=dict(found), notes=tuple(notes))


def _call(form: Form, sources: Sequence[Source]) -> Call:
    placing = Placing(form)
    for source in sources:
        placing.place(source)
    found: dict[Path, np.ndarray] = {}
    notes: list[str] = []
    sizes: dict[str, tuple[int, str]] = {}
    for path, spec in form.leaves():
        if path in placing.found:
            label = form.label(path)
            array = _value(spec, placing.found[path], f"input {label!r}", notes)
            _require_shape(spec, array, label, sizes)
            found[path] = array
    return assembled(form, found, notes)


def _value(spec: Any, given: Sequence[Given], where: str, notes: list[str]) -> np.ndarray:
    if not isinstance(spec, Spec):
        raise SignatureMismatchError(
            f"{where}: expected a {spec}; found something given for it; tokens cannot be passed"
        )
    value = given[0].value
    if isinstance(value, StoredArray):
        return leaf_values.from_array(spec, value, where)
    if isinstance(value, JsonValue):
        array = leaf_values.from_json(spec, value.value, where)
        return _as_rows(spec, array) if spec.dtype is DType.STRING else array
    if spec.dtype is DType.STRING:
        return _as_rows(spec, _files(given))
    rows = [_picture(spec, one, where, notes) for one in given]
    if len(rows) == 1:
        return rows[0]
    if len({row.shape for row in rows}) > 1:
        raise SignatureMismatchError(
            f"{where}: expected pictures of one size as the rows of a batch; found "
            f"{', '.join(str(list(row.shape)) for row in rows)}; resize them first"
        )
    return np.concatenate(rows) if rows[0].ndim == len(spec.shape or ()) else np.stack(rows)


def _files(given: Sequence[Given]) -> np.ndarray:
    made = np.empty(len(given), object)
    made[:] = [one.value for one in given]
    return made if len(given) > 1 else made.reshape(())


def _as_rows(spec: Spec, array: np.ndarray) -> np.ndarray:
    """Returns a lone string in as many dimensions of one as the input has."""
    rank = 0 if spec.shape is None else len(spec.shape)
    return array.reshape((1,) * rank) if array.ndim == 0 else array


def _picture(spec: Spec, given: Given, where: str, notes: list[str]) -> np.ndarray:
    assert isinstance(given.value, bytes)
    found = images.pixels(spec, given.value, where)
    largest = np.iinfo(found.dtype).max
    note = f"{where}: a picture, its pixels as they are, 0 to {largest}"
    # Pictures that are the rows of one batch share it.
    if note not in notes:
        notes.append(note)
    return leaf_values.from_array(spec, StoredArray(array=found), where)


def _require_shape(
    spec: Spec, array: np.ndarray, label: str, sizes: dict[str, tuple[int, str]]
) -> None:
    if spec.shape is None:
        return
    found = f"found {list(array.shape)}"
    if len(spec.shape) != array.ndim:
        raise SignatureMismatchError(
            f"input {label!r}: expected {spec}; {found}; give an array of that rank"
        )
    for dim, size in zip(spec.shape, array.shape, strict=True):
        if isinstance(dim, int) and dim != size:
            raise SignatureMismatchError(
                f"input {label!r}: expected {spec}; {found}; give an array of that shape"
            )
        if isinstance(dim, str) and dim.isidentifier():
            known, first = sizes.setdefault(dim, (size, label))
            if known != size:
                raise SignatureMismatchError(
                    f"input {label!r}: expected {spec} with {dim} = {known} as in {first!r}; "
                    f"{found}; give arrays of one size"
                )
