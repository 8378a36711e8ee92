"""From a bundle to callables: engines, gates, pipelines, replay.

Frameworks are reached through one table from MIME type to engine. They and the names of this room
are imported on first use, so that running a bundle does not import what verifying one takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.runtime.diagnosis.checks import Diagnosis
    from orbax_model_lite.runtime.diagnosis.diagnosing import diagnose
    from orbax_model_lite.runtime.loading import load
    from orbax_model_lite.runtime.model import Model
    from orbax_model_lite.runtime.pipeline import BoundPipeline
    from orbax_model_lite.runtime.trust import Trust
    from orbax_model_lite.runtime.verification import verify

_PLACES = {
    "BoundPipeline": "pipeline",
    "Diagnosis": "diagnosis.checks",
    "Model": "model",
    "Trust": "trust",
    "diagnose": "diagnosis.diagnosing",
    "load": "loading",
    "verify": "verification",
}

__all__ = ["BoundPipeline", "Diagnosis", "Model", "Trust", "diagnose", "load", "verify"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
