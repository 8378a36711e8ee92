"""The original's verb for one plain pipeline."""

from __future__ import annotations

from orbax_model_lite.core.data import Data
from orbax_model_lite.orchestration.records import DEFAULT_PIPELINE, Orchestration, Pipeline
from orbax_model_lite.orchestration.serialization import to_data


def orchestration(
    *,
    model_function_name: str,
    weights_name: str | None = None,
    pre_processor_name: str | None = None,
    post_processor_name: str | None = None,
) -> Data:
    """Returns the record of pre-processor -> model -> post-processor, ready for `core.save`.

    Args:
      model_function_name: The function in the middle.
      weights_name: The value it takes as first argument.
      pre_processor_name: The function before it.
      post_processor_name: The function after it.

    Example:
      >>> orchestration(model_function_name="f", weights_name="w").mime_type
      'simple_orchestration'
    """
    pipeline = Pipeline.of(
        model_function_name,
        weights_name,
        pre_processors=(pre_processor_name,) if pre_processor_name else (),
        post_processors=(post_processor_name,) if post_processor_name else (),
    )
    return to_data(Orchestration(pipelines={DEFAULT_PIPELINE: pipeline}))
