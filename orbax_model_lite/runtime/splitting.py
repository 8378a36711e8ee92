"""How the weights of a bundle are split over devices: as the function wants its argument.

So each device reads its own part of a file, and a call moves nothing.
"""

from __future__ import annotations

from typing import Any

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import PolymorphicFunction, ShloFunction
from orbax_model_lite.orchestration import Orchestration
from orbax_model_lite.runtime.engines import Engines


def weights_shardings(
    bundle: Bundle, orchestration: Orchestration, engines: Engines, value: str
) -> Any:
    """Returns the sharding of each array of a value, as a plain tree; None where nothing splits it.

    Of several functions that take the value, the first one of the pipelines decides.

    Args:
      bundle: Of the model.
      orchestration: Tells which functions take the value.
      engines: Know on which devices functions run.
      value: Its name.

    Raises:
      InvalidBundleError: If the records of the function contradict each other.
      UnsupportedError: If the function cannot run on the devices that were asked for.
    """
    for pipeline in orchestration.pipelines.values():
        for stage in pipeline.stages:
            if stage.weights == value:
                function = bundle.objects.get(stage.function)
                if isinstance(function, PolymorphicFunction):
                    function = function.functions[0]
                if isinstance(function, ShloFunction):
                    return engines.weights_shardings(stage.function, function)
    return None
