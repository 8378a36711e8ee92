"""How long calls of a bundle take and how much memory: measured in a process of their own.

Which calls they are is `plan`, the child's side is `child`; `measure` starts it and brings back
what it found.
"""

from __future__ import annotations

from orbax_model_lite.runtime.measuring.measurement import (
    BatchMeasurement,
    Measurement,
    Request,
)
from orbax_model_lite.runtime.measuring.process import measure

__all__ = ["BatchMeasurement", "Measurement", "Request", "measure"]
