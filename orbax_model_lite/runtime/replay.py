"""Replaying recorded calls: the same inputs again, the outputs compared with the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import numpy as np

from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Example, Tolerance, read_example, read_examples_record
from orbax_model_lite.core.report import Finding
from orbax_model_lite.core.tree import flatten_with_path, format_path, structure_differences
from orbax_model_lite.errors import ObmError
from orbax_model_lite.runtime.model import Model

Tolerances: TypeAlias = Mapping[str, Tolerance | float]
"""By dtype name; a number is a relative tolerance."""

DEFAULT_TOLERANCES: Final[Mapping[str, Tolerance]] = {
    "float64": Tolerance(relative=1e-12),
    "complex128": Tolerance(relative=1e-12),
    "float32": Tolerance(relative=1e-5),
    "complex64": Tolerance(relative=1e-5),
    "bfloat16": Tolerance(relative=1e-2),
    "float16": Tolerance(relative=1e-2),
    # One unit in the last place of a float8 is a quarter to a sixteenth.
    "float8_e3m4": Tolerance(relative=2**-4),
    "float8_e4m3": Tolerance(relative=2**-3),
    "float8_e4m3b11fnuz": Tolerance(relative=2**-3),
    "float8_e4m3fn": Tolerance(relative=2**-3),
    "float8_e4m3fnuz": Tolerance(relative=2**-3),
    "float8_e5m2": Tolerance(relative=2**-2),
    "float8_e5m2fnuz": Tolerance(relative=2**-2),
}
"""Other types (integers, booleans, strings) must be equal."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one replayed output is from the recorded one.

    Attributes:
      absolute: Largest absolute difference of an element.
      relative: The same over the largest magnitude in the recorded output.
      is_within: Whether that is within the tolerance.
    """

    absolute: float
    relative: float
    is_within: bool


def replay(model: Model, tolerances: Tolerances | None = None) -> list[Finding]:
    """Returns one finding for each output of each recorded call; an error where it differs.

    Args:
      model: A loaded bundle with recorded examples.
      tolerances: Override those of the examples, which override `DEFAULT_TOLERANCES`.

    Raises:
      InvalidBundleError: If an example file is damaged.
    """
    data = model.bundle.supplementals.get(layout.KEY_EXAMPLES)
    records = read_examples_record(model.bundle.read_bytes(data)) if data else []
    if not records:
        message = "no recorded examples, so nothing was replayed; pack with examples=..."
        return [Finding(severity="inconclusive", where="examples", message=message)]
    findings: list[Finding] = []
    for record in records:
        payload = model.bundle.read_bytes(Data(content=FileRange(path=record.path)))
        example = read_example(payload, record)
        findings += _replay_one(model, record.path, example, _chosen(example, tolerances))
    return findings


def difference(recorded: Any, replayed: Any, tolerance: Tolerance) -> Difference:
    """Returns how far two arrays of one shape are apart; NaN equals NaN, inf equals inf.

    Args:
      recorded: The original's output.
      replayed: The new output, same shape and dtype.
      tolerance: What is allowed; relative to the largest finite magnitude in `recorded`.
    """
    old, new = np.asarray(recorded), np.asarray(replayed)
    if old.size == 0 or not _is_inexact(DType.from_numpy(old.dtype)):
        is_equal = bool(np.array_equal(old, new))
        return Difference(absolute=0.0 if is_equal else 1.0, relative=0.0, is_within=is_equal)
    wide = np.complex128 if old.dtype.kind == "c" else np.float64
    old, new = old.astype(wide), new.astype(wide)
    both_finite = np.isfinite(old) & np.isfinite(new)
    same_special = (old == new) | (np.isnan(old) & np.isnan(new))
    if not np.all(both_finite | same_special):
        return Difference(absolute=np.inf, relative=np.inf, is_within=False)
    old, new = old[both_finite], new[both_finite]
    absolute = float(np.max(np.abs(old - new), initial=0.0))
    scale = float(np.max(np.abs(old), initial=0.0))
    relative = absolute / scale if scale else (np.inf if absolute else 0.0)
    allowed = tolerance.absolute + tolerance.relative * scale
    return Difference(absolute=absolute, relative=relative, is_within=absolute <= allowed)


def _is_inexact(dtype: DType) -> bool:
    return dtype.value.startswith(("float", "bfloat", "complex")) and dtype is not DType.FLOAT0


def _chosen(example: Example, tolerances: Tolerances | None) -> dict[str, Tolerance]:
    given = {
        name: value if isinstance(value, Tolerance) else Tolerance(relative=value)
        for name, value in (tolerances or {}).items()
    }
    unknown = sorted(set(given) - {dtype.value for dtype in DType})
    if unknown:
        raise ValueError(f"tolerances: expected dtype names; found {', '.join(unknown)}")
    return {**DEFAULT_TOLERANCES, **example.tolerances, **given}


def _replay_one(
    model: Model, path: str, example: Example, tolerances: Mapping[str, Tolerance]
) -> list[Finding]:
    kind = "pipeline" if example.is_pipeline else "function"
    where = f"{kind} {example.target!r}, example {path!r}"
    try:
        outputs = model.callable_of(example)(*example.args, **example.kwargs)
    except ObmError as e:
        return [Finding(severity="error", where=where, message=f"could not be replayed: {e}")]
    return _compare(where, example.outputs, outputs, tolerances)


def _compare(
    where: str, recorded: Any, replayed: Any, tolerances: Mapping[str, Tolerance]
) -> list[Finding]:
    trees = structure_differences(recorded, replayed)
    if trees:
        message = f"the tree of outputs changed: {'; '.join(trees)}"
        return [Finding(severity="error", where=where, message=message)]
    pairs = zip(flatten_with_path(recorded), flatten_with_path(replayed), strict=True)
    return [
        _compare_leaf(f"{where}, output {format_path(key)!r}", old, np.asarray(new), tolerances)
        for (key, old), (_, new) in pairs
    ]


def _compare_leaf(
    where: str, old: np.ndarray, new: np.ndarray, tolerances: Mapping[str, Tolerance]
) -> Finding:
    old_type, new_type = DType.from_numpy(old.dtype), DType.from_numpy(new.dtype)
    if old.shape != new.shape or old_type is not new_type:
        message = (
            f"expected {old_type.value} {list(old.shape)}, found {new_type.value} {list(new.shape)}"
        )
        return Finding(severity="error", where=where, message=message)
    tolerance = tolerances.get(old_type.value, Tolerance())
    found = difference(old, new, tolerance)
    message = (
        f"largest difference {found.absolute:.3g} absolute, {found.relative:.3g} relative; "
        f"allowed {tolerance.absolute:.3g} + {tolerance.relative:.3g} relative"
    )
    return Finding(severity="info" if found.is_within else "error", where=where, message=message)
