"""Running a pipeline: stages one after the other, wired as planned when the model was loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from orbax_model_lite.orchestration import Pipeline, Step


@final
class BoundPipeline:
    """A pipeline of a loaded model as a callable.

    Attributes:
      name: Of the pipeline.
      record: Its stages and batch options.
    """

    __slots__ = ("_rest", "_stages", "name", "record")

    def __init__(
        self,
        name: str,
        record: Pipeline,
        stages: Sequence[Callable[..., Any]],
        steps: Sequence[Step],
    ) -> None:
        """Joins the stages.

        Args:
          name: Of the pipeline.
          record: Its stages by name.
          stages: The stages as callables, weights bound.
          steps: How each stage but the first is called with what came before it.
        """
        self.name = name
        self.record = record
        self._stages = tuple(stages)
        self._rest = tuple(zip(steps, stages[1:], strict=True))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs all stages; takes what the first one takes, without weights."""
        output = self._stages[0](*args, **kwargs)
        carried: Mapping[str, Any] = {}
        for step, stage in self._rest:
            positional, keyword, carried = step.arguments(output, carried)
            output = stage(*positional, **keyword)
        return output

    def __repr__(self) -> str:
        """Returns for example "<pipeline 'serving_default': pre -> model -> post>"."""
        chain = " -> ".join(stage.function for stage in self.record.stages)
        return f"<pipeline {self.name!r}: {chain}>"
