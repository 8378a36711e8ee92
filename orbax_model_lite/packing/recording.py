"""Recording examples: the author's own callables are run once, inputs and outputs are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core import examples as core_examples
from orbax_model_lite.core.examples import Tolerance
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jaxtypes import plain
from orbax_model_lite.orchestration import Orchestration, StageInterface, plan
from orbax_model_lite.packing.author import Example, as_call, is_tensorflow


def as_examples(given: Any) -> tuple[Example, ...]:
    """Returns the calls to record; plain inputs are one call of the default pipeline."""
    if given is None:
        return ()
    if isinstance(given, Example):
        return (given,)
    if isinstance(given, Sequence) and given and all(isinstance(e, Example) for e in given):
        return tuple(given)
    return (Example(inputs=given),)


def record(
    examples: Sequence[Example],
    orchestration: Orchestration,
    interfaces: Mapping[str, Sequence[StageInterface]],
    callables: Mapping[str, Callable[..., Any]],
    weights: Any,
) -> list[core_examples.Example]:
    """Returns recorded calls: each pipeline as a whole, and each of its functions by itself.

    Args:
      examples: Inputs and the pipelines that take them.
      orchestration: The pipelines.
      interfaces: By pipeline name, what wiring knows of its stages.
      callables: The author's callables by object name.
      weights: The author's weights.

    Raises:
      UnknownNameError: If a pipeline does not exist.
      InvalidModelError: If inputs or outputs are not arrays of numbers or text.
    """
    recorded: list[core_examples.Example] = []
    for example in examples:
        name = example.pipeline or orchestration.default_name or ""
        if name not in orchestration.pipelines:
            raise InvalidModelError(
                f"example: expected a pipeline among {sorted(orchestration.pipelines)}; "
                f"found {name!r}; set Example.pipeline"
            )
        tolerances = {
            dtype: value if isinstance(value, Tolerance) else Tolerance(relative=value)
            for dtype, value in example.tolerances.items()
        }
        stages = orchestration.pipelines[name].stages
        steps = plan(interfaces[name]).steps
        args, kwargs = _host(as_call(example.inputs))
        first = (args, kwargs)
        output: Any = None
        call: core_examples.Example | None = None
        carried: Mapping[str, Any] = {}
        for i, stage in enumerate(stages):
            if i:
                args, kwargs, carried = steps[i - 1].arguments(output, carried)
            extra = () if stage.weights is None else (weights,)
            output = _run(callables[stage.function], (*extra, *args), kwargs)
            call = core_examples.Example(
                target=stage.function,
                is_pipeline=False,
                args=_host(args),
                kwargs=_host(kwargs),
                outputs=output,
                tolerances=tolerances,
            )
            recorded.append(call)
        assert call is not None
        whole = replace(call, target=name, is_pipeline=True, args=first[0], kwargs=first[1])
        recorded.append(whole)
    return recorded


def _run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tree:
    if is_tensorflow(function):
        call = _lazy.load("orbax_model_lite.tf2obm:call_original")
        return _host(call(function, args, kwargs))
    return _host(jax.jit(function)(*args, **kwargs))


def _host(tree: Any) -> Tree:
    return map_leaves(_array, plain(tree)[0])


def _array(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(object) if array.dtype.kind in "SU" else array
