"""What is wrong with an orchestration record: names that do not exist, wires that do not fit."""

from __future__ import annotations

from collections.abc import Mapping

from orbax_model_lite.core.function import Function
from orbax_model_lite.core.value import Object, Value
from orbax_model_lite.errors import InvalidModelError, unknown_name
from orbax_model_lite.orchestration.interfaces import ReadBytes, stage_interfaces
from orbax_model_lite.orchestration.records import Orchestration, Pipeline, Role
from orbax_model_lite.orchestration.wiring import plan


def check_orchestration(
    orchestration: Orchestration, objects: Mapping[str, Object], read: ReadBytes
) -> list[str]:
    """Returns everything that is wrong, one line each; empty when all pipelines can run.

    Args:
      orchestration: The record.
      objects: The bundle's objects.
      read: Gives the bytes of a payload.
    """
    problems = []
    for name, pipeline in orchestration.pipelines.items():
        found = _check_names(pipeline, objects)
        if not found:
            found += plan(stage_interfaces(pipeline, objects, read)).problems
        problems += [f"pipeline {name!r}: {problem}" for problem in found]
    return problems


def require_orchestration(
    orchestration: Orchestration, objects: Mapping[str, Object], read: ReadBytes
) -> None:
    """Checks the record before it is written.

    Raises:
      InvalidModelError: If anything is wrong; the message has every problem.
    """
    problems = check_orchestration(orchestration, objects, read)
    if problems:
        raise InvalidModelError("\n".join(problems))


def _check_names(pipeline: Pipeline, objects: Mapping[str, Object]) -> list[str]:
    functions = [name for name, found in objects.items() if isinstance(found, Function)]
    values = [name for name, found in objects.items() if isinstance(found, Value)]
    problems = []
    if not pipeline.stages:
        problems.append("expected at least one stage; found none; name a model function")
    for stage in pipeline.stages:
        if stage.function not in functions:
            problems.append(str(unknown_name("function", stage.function, functions)))
        if stage.weights is not None and stage.weights not in values:
            problems.append(str(unknown_name("weights", stage.weights, values)))
        if stage.weights is not None and stage.role not in (Role.MODEL, Role.UNSPECIFIED):
            problems.append(
                f"stage {stage.function!r}: expected weights only for a model function; found "
                f"{stage.weights!r} for a {stage.role.name.lower()}; drop them"
            )
    return problems
