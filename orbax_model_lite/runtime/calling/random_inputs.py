"""Inputs at random, made from what a target takes; strings come from its recorded calls.

Floats are normal, integers 0 or 1, since an integer may be an index into something small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Example, read_example, read_examples_record
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, flatten_with_path
from orbax_model_lite.errors import SignatureMismatchError, UnknownNameError
from orbax_model_lite.runtime.calling.matching import Call, assembled
from orbax_model_lite.runtime.calling.sizes import fixed_leaves, static_shape
from orbax_model_lite.runtime.calling.target import Form, Target


def random_call(
    bundle: Bundle, target: Target, *, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> Call:
    """Returns a call with arrays at random; the same seed and sizes give the same arrays.

    Args:
      bundle: Whose recorded calls give the strings.
      target: What is called; of several forms the first that takes the sizes.
      seed: Of the numbers.
      sizes: Of open dimensions by name; others are chosen small, as constraints allow.

    Raises:
      UnknownNameError: If no form has such a dimension.
      SignatureMismatchError: If no sizes are allowed, arrays of these sizes do not fit into
        memory, or strings are needed and no call with strings is recorded.
      InvalidBundleError: If a recorded call is damaged.
    """
    problem: Exception | None = None
    for form in target.forms:
        try:
            leaves = fixed_leaves(form, sizes or {})
        except (SignatureMismatchError, UnknownNameError) as e:
            problem = problem or e
            continue
        return _call(bundle, target, form, leaves, np.random.default_rng(seed))
    assert problem is not None, "a target has a form"
    raise problem


def array_at_random(spec: Spec, generator: np.random.Generator) -> np.ndarray:
    """Returns an array of a spec without open dimensions.

    Args:
      spec: Of numbers, booleans or the words of a PRNG key.
      generator: Gives the numbers.
    """
    shape, name = static_shape(spec), spec.dtype.value
    if spec.logical is not None:
        return generator.integers(0, 2**32, shape, np.uint32)
    if spec.dtype in (DType.BOOL, DType.FLOAT0):
        return generator.integers(0, 2, shape).astype(np.bool_)
    if name.startswith(("int", "uint")):
        return generator.integers(0, 2, shape).astype(spec.dtype.numpy)
    if spec.dtype is DType.UNSPECIFIED:
        return generator.standard_normal(shape).astype(np.float32)
    values = generator.standard_normal(shape)
    if name.startswith("complex"):
        return (values + 1j * generator.standard_normal(shape)).astype(spec.dtype.numpy)
    if spec.dtype is DType.FLOAT8_E8M0FNU:  # has neither sign nor zero
        values = np.abs(values) + 0.5
    return values.astype(spec.dtype.numpy)


def recorded_call(bundle: Bundle, target: Target) -> Example | None:
    """Returns the first recorded call of a target; None where there is none.

    Raises:
      InvalidBundleError: If the record or the file is damaged.
    """
    data = bundle.supplementals.get(layout.KEY_EXAMPLES)
    if data is None:
        return None
    for record in read_examples_record(bundle.read_bytes(data)):
        kind = "pipeline" if record.WhichOneof("target") == "pipeline_name" else "function"
        if (kind, getattr(record, f"{kind}_name")) == (target.kind, target.name):
            return read_example(
                bundle.read_bytes(Data(content=FileRange(path=record.path))), record
            )
    return None


def _call(
    bundle: Bundle,
    target: Target,
    form: Form,
    leaves: list[tuple[Path, Any]],
    generator: np.random.Generator,
) -> Call:
    strings = [(p, s) for p, s in leaves if isinstance(s, Spec) and s.dtype is DType.STRING]
    strings = [(path, spec) for path, spec in strings if not form.is_optional(path[0])]
    found: dict[Path, np.ndarray] = {}
    notes = []
    if strings:
        recorded = _recorded_strings(bundle, target, form, strings)
        found |= {path: _rows(spec, recorded[path], form.label(path)) for path, spec in strings}
        named = ", ".join(form.label(path) for path, _ in strings)
        notes.append(f"strings of a recorded call: {named}")
    for path, spec in leaves:
        if isinstance(spec, Spec) and spec.dtype is not DType.STRING:
            found[path] = _numbers(spec, generator, form.label(path))
    # In the order of the inputs again.
    found = {path: found[path] for path, _ in leaves if path in found}
    return assembled(form, found, notes)


def _numbers(spec: Spec, generator: np.random.Generator, label: str) -> np.ndarray:
    try:
        return array_at_random(spec, generator)
    except (MemoryError, OverflowError, ValueError) as e:  # NumPy's for sizes, and for the rank
        raise SignatureMismatchError(
            f"input {label!r}: expected {spec!s:.200} in memory; found no room for it "
            f"({e or 'out of memory'}); choose smaller sizes with --size NAME=N"
        ) from e


def _recorded_strings(
    bundle: Bundle, target: Target, form: Form, strings: list[tuple[Path, Any]]
) -> dict[Path, np.ndarray]:
    example = recorded_call(bundle, target)
    found: dict[Path, np.ndarray] = {}
    if example is not None:
        inputs = [*enumerate(example.args), *example.kwargs.items()]
        by_name = {form.name(root): root for root, _ in form.inputs}
        for key, tree in inputs:
            root = by_name.get(str(key), key) if isinstance(key, str) else key
            found |= dict(flatten_with_path(tree, prefix=(root,)))
    missing = [form.label(path) for path, _ in strings if path not in found]
    if missing:
        raise SignatureMismatchError(
            f"{target}, input {missing[0]!r}: expected strings that mean something, which cannot "
            "be made at random; found no recorded call with them; give them with --input or "
            "--value, or pack the bundle with examples=..."
        )
    return found


def _rows(spec: Spec, recorded: np.ndarray, label: str) -> np.ndarray:
    """Returns recorded strings, repeated or cut to a number of rows."""
    shape = static_shape(spec)
    if recorded.ndim != len(shape) or recorded.size == 0 or recorded.shape[1:] != shape[1:]:
        if recorded.shape == shape:
            return recorded
        raise SignatureMismatchError(
            f"input {label!r}: expected recorded strings {list(shape)}; found "
            f"{list(recorded.shape)}; give them with --input or --value"
        )
    return np.resize(recorded, shape)
