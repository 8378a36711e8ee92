"""Replaying recorded calls: the same inputs again, the outputs compared with the original's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from orbax_model_lite.core import layout
from orbax_model_lite.core.comparison import DEFAULT_TOLERANCES, difference
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Example, Tolerance, read_example, read_examples_record
from orbax_model_lite.core.report import Finding, Report, severity_of
from orbax_model_lite.core.tree import flatten_with_path, format_path, structure_differences
from orbax_model_lite.errors import ObmError
from orbax_model_lite.runtime.model import Model

Tolerances: TypeAlias = Mapping[str, Tolerance | float]
"""By dtype name; a number is a relative tolerance."""

_DIFFERENCE: Final = "largest difference"


def count_replayed(report: Report) -> int:
    """Returns how many outputs of recorded calls were computed again and are as recorded."""
    return sum(f.severity == "info" and f.message.startswith(_DIFFERENCE) for f in report.findings)


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
        message = f"could not be replayed: {e}"
        return [Finding(severity=severity_of(e), where=where, message=message)]
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
        _compare_leaf(
            f"{where}, output {format_path(key) or '.'!r}", old, np.asarray(new), tolerances
        )
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
        f"{_DIFFERENCE} {found.absolute:.3g} absolute, {found.relative:.3g} relative; "
        f"allowed {tolerance.absolute:.3g} + {tolerance.relative:.3g} relative"
    )
    return Finding(severity="info" if found.is_within else "error", where=where, message=message)
