"""How far two arrays are apart, and how far they may be: for replays, and whatever is converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.examples import Tolerance

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
