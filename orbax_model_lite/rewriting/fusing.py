"""A pipeline of StableHLO functions as one function: lifted, chained, and converted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import OpaqueFunction, PolymorphicFunction, ShloFunction
from orbax_model_lite.core.object_names import free_name
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.core.value import Object
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jaxtypes.jax_trees import in_memory, trees_of, with_trees
from orbax_model_lite.lift import lift_function
from orbax_model_lite.lift.functions import has_rules
from orbax_model_lite.orchestration import Pipeline, Role, Stage, Step, plan, stage_interfaces


def fused(bundle: Bundle, name: str, pipeline: Pipeline) -> tuple[dict[str, Object], Pipeline]:
    """Returns a bundle's objects with one function more, and the pipeline that is this function.

    The function takes the weights, if any stage does, then what the first stage takes, and returns
    what the last one returns. The stages themselves stay in the bundle.

    Args:
      bundle: Whose objects they are.
      name: Of the pipeline; the function is called `<name>_fused`.
      pipeline: Its record.

    Raises:
      UnsupportedError: If a stage is not StableHLO, or has operations without a counterpart in
        JAX, or stages take different weights.
      InvalidBundleError: If the stages do not fit together.
    """
    where = f"pipeline {name!r}"
    functions = [
        _function(bundle.objects[stage.function], stage, where) for stage in pipeline.stages
    ]
    weights = _weights_name(pipeline, where)
    wiring = plan(stage_interfaces(pipeline, bundle.objects, bundle.read_bytes))
    if wiring.problems:
        raise InvalidBundleError("\n".join(f"{where}: {problem}" for problem in wiring.problems))
    chain = _chain(bundle, pipeline, functions, wiring.steps)
    args, kwargs, constraints = _inputs(bundle, pipeline, functions, weights)
    own_name = free_name(f"{name}_fused", bundle.objects)
    made = convert(
        chain if weights else lambda *a, **k: chain(None, *a, **k),
        args,
        kwargs,
        name=own_name,
        platforms=_shared_platforms(functions, where),
        constraints=constraints,
        allow_large_constants=True,
    )
    made = _with_names(made, bundle, functions[0], bool(weights), pipeline)
    if not constraints and not all(map(has_rules, functions)):
        # The record says that derivative rules are marked, and nobody marked those of a stage.
        others = {k: s for k, s in made.supplementals.items() if k != layout.KEY_JAX_TREES}
        made = replace(made, supplementals=others)
    stage = Stage(function=own_name, role=Role.MODEL, weights=weights)
    return {**bundle.objects, own_name: made}, replace(pipeline, stages=(stage,))


def _function(found: Object, stage: Stage, where: str) -> ShloFunction:
    if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
        found = found.lowering.function
    if isinstance(found, ShloFunction):
        return found
    is_choice = isinstance(found, PolymorphicFunction)
    raise UnsupportedError(
        f"{where}, stage {stage.function!r}: expected a StableHLO function; found a "
        f"{'polymorphic' if is_choice else 'TensorFlow or opaque'} one; "
        + ("specialize the model first" if is_choice else "pack its processors with lower_tf")
    )


def _weights_name(pipeline: Pipeline, where: str) -> str | None:
    names = sorted({stage.weights for stage in pipeline.stages if stage.weights})
    if len(names) > 1:
        raise UnsupportedError(
            f"{where}: expected stages that share one value as weights; found "
            f"{', '.join(names)}; fuse a pipeline with one model"
        )
    return names[0] if names else None


def _chain(
    bundle: Bundle, pipeline: Pipeline, functions: Sequence[ShloFunction], steps: Sequence[Step]
) -> Callable[..., Any]:
    lifted = [
        lift_function(
            function,
            name=stage.function,
            read=bundle.read_bytes,
            derivative="rules" if has_rules(function) else "program",
        )
        for function, stage in zip(functions, pipeline.stages, strict=True)
    ]

    def run(weights: Any, *args: Any, **kwargs: Any) -> Any:
        carried: Any = {}
        output: Any = None
        for i, (stage, function) in enumerate(zip(pipeline.stages, lifted, strict=True)):
            if i:
                args, kwargs, carried = steps[i - 1].arguments(output, carried)
            own = () if stage.weights is None else (weights,)
            output = function(*own, *args, **kwargs)
        return output

    return run


def _inputs(
    bundle: Bundle,
    pipeline: Pipeline,
    functions: Sequence[ShloFunction],
    weights: str | None,
) -> tuple[tuple[Tree, ...], dict[str, Tree], tuple[str, ...]]:
    """Returns what the fused function takes, and the constraints on its symbols."""
    first = functions[0].signature
    args = first.args[1:] if pipeline.stages[0].weights else first.args
    if weights:
        pairs = zip(pipeline.stages, functions, strict=True)
        of_weights = next(f.signature.args[0] for stage, f in pairs if stage.weights)
        args = (of_weights, *args)
    constraints = trees_of(functions[0], "first stage", bundle.read_bytes).constraints
    plain = map_leaves(_without_placement, (args, dict(first.kwargs)))
    return *plain, constraints


def _without_placement(leaf: Any) -> Any:
    return replace(leaf, sharding=None, layout=None) if isinstance(leaf, Spec) else leaf


def _with_names(
    made: ShloFunction,
    bundle: Bundle,
    first: ShloFunction,
    has_weights: bool,
    pipeline: Pipeline,
) -> ShloFunction:
    """Returns the function with the argument names of the first stage."""
    names = trees_of(first, "first stage", bundle.read_bytes).argument_names
    if has_weights and not pipeline.stages[0].weights:
        names = ("weights", *names)
    record = trees_of(made, "fused function", in_memory)
    return with_trees(made, replace(record, argument_names=names))


def _shared_platforms(functions: Sequence[ShloFunction], where: str) -> tuple[str, ...]:
    first, *others = functions
    shared = [p for p in first.platforms if all(p in other.platforms for other in others)]
    if not shared:
        found = " and ".join(", ".join(f.platforms) for f in functions)
        raise UnsupportedError(
            f"{where}: expected stages that share a platform; found {found}; pack them again"
        )
    return tuple(shared)
