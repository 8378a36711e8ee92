"""From a model in memory to a bundle: functions, weights, processors, examples, metadata."""

from orbax_model_lite.packing.author import Example, PipelineSpec
from orbax_model_lite.packing.pack import Packed, pack

__all__ = ["Example", "Packed", "PipelineSpec", "pack"]
