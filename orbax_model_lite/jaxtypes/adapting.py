"""Python numbers, and lists of them, as arrays of the types that a signature asks for.

Only where no value is lost: an array is never cast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, children


def adapted(expected: Tree, call: Tree) -> tuple[tuple[tuple[Tree, ...], dict[str, Tree]], bool]:
    """Returns a call with Python numbers and lists of them as arrays, and whether any was there.

    Only what keeps its value is converted: a Python float becomes any floating type (rounded as
    NumPy rounds it), an int any type that holds it exactly. Arrays are never cast.

    Args:
      expected: The signature's tree `(args, kwargs)`.
      call: The given one, plain.
    """
    changed = False

    def walk(want: Tree, have: Tree) -> Tree:
        nonlocal changed
        if isinstance(want, Spec):
            made = _converted(want, have)
            changed |= made is not have
            return made
        below = children(want)
        if below is None or type(have) is not type(want):
            return have
        if isinstance(have, dict):
            return {k: walk(want[k], v) if k in want else v for k, v in have.items()}
        if len(have) != len(want):
            return have
        return type(have)(map(walk, want, have))

    return walk(expected, call), changed


_ALLOWED = {"b": "b", "i": "iufc", "f": "fc", "c": "c"}


def _converted(spec: Spec, value: Any) -> Any:
    is_sequence = isinstance(value, (list, tuple))
    is_number = isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)
    if not is_number and not (is_sequence and _is_numbers(value)):
        return value
    if spec.logical or spec.dtype in (DType.FLOAT0, DType.STRING, DType.UNSPECIFIED):
        return value
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return value
    kind = _kind(spec.dtype)
    if array.dtype.kind not in _ALLOWED or kind not in _ALLOWED[array.dtype.kind]:
        return value if array.size else np.zeros(array.shape, spec.dtype.numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(spec.dtype.numpy)
    return made if _is_kept(array, made) else value


def _is_numbers(value: Any) -> bool:
    """Returns whether a nested list holds Python numbers only; anything else may be a tree."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack.extend(item)
        elif not isinstance(item, (bool, int, float, complex)) or isinstance(item, np.generic):
            return False
    return True


def _kind(dtype: DType) -> str:
    for prefix, kind in (("bool", "b"), ("uint", "u"), ("int", "i"), ("complex", "c")):
        if dtype.value.startswith(prefix):
            return kind
    return "f"


def _is_kept(array: np.ndarray, made: np.ndarray) -> bool:
    """Returns whether integers are equal after the cast, and no finite number became infinite."""
    if array.dtype.kind in "bi":
        return all(int(a) == complex(b) for a, b in zip(array.flat, made.flat, strict=True))
    return all(
        not math.isfinite(abs(complex(a))) or math.isfinite(abs(complex(b)))
        for a, b in zip(array.flat, made.flat, strict=True)
    )
