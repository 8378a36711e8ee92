"""From a bundle to callables: engines, gates, pipelines, replay.

Frameworks are reached through one table from MIME type to engine and imported on first use.
"""

from orbax_model_lite.runtime.loading import load
from orbax_model_lite.runtime.model import Model
from orbax_model_lite.runtime.pipeline import BoundPipeline
from orbax_model_lite.runtime.trust import Trust
from orbax_model_lite.runtime.verification import verify

__all__ = ["BoundPipeline", "Model", "Trust", "load", "verify"]
