"""What an author hands to `pack`: pipelines of callables, recorded calls; as nouns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

from orbax_model_lite.core.examples import Tolerance
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.orchestration import BatchOptions

Processors: TypeAlias = Callable[..., Any] | Sequence[Callable[..., Any]] | None
"""A TensorFlow or JAX function, several to be run in sequence, or none."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """One more pipeline of a bundle, beside the one that `pack` takes directly.

    Attributes:
      function: The model function; None takes the one that was given to `pack`.
      inputs: As in `pack`; None takes those that were given to `pack` if the function is the same,
        else the outputs of the pre-processor.
      preprocess: Run before the model function.
      postprocess: Run after it.
      has_weights: Whether the weights are passed to the function as first argument.
      batch_options: Advice to a server.
    """

    function: Callable[..., Any] | None = None
    inputs: Any = None
    preprocess: Processors = None
    postprocess: Processors = None
    has_weights: bool = True
    batch_options: BatchOptions | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A call to record: inputs, and by which pipeline.

    Attributes:
      inputs: What the pipeline takes: one array, or a tuple or list of positional arguments, or a
        dict of keyword arguments.
      pipeline: Its name; None is the default pipeline.
      tolerances: By dtype name, for the replay: a relative tolerance or a `Tolerance`.
    """

    inputs: Any
    pipeline: str | None = None
    tolerances: Mapping[str, Tolerance | float] = field(default_factory=dict)


def as_sequence(processors: Processors) -> tuple[Callable[..., Any], ...]:
    """Returns processors in order.

    Raises:
      InvalidModelError: If one cannot be called.
    """
    if processors is None:
        return ()
    given: Any = (processors,) if isinstance(processors, str) else processors
    found = (given,) if callable(given) else tuple(given)
    for processor in found:
        if not callable(processor):
            raise InvalidModelError(
                f"processor: expected a TensorFlow or JAX function; found {processor!r}; "
                "pass the function itself"
            )
    return found


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns inputs as (args, kwargs): a tuple or list is positional, a dict is by keyword."""
    if isinstance(inputs, dict):
        return (), dict(inputs)
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return tuple(inputs), {}
    return (inputs,), {}


def is_tensorflow(function: Callable[..., Any]) -> bool:
    """Whether a callable is TensorFlow's or prepared by `tf2obm`; imports nothing."""
    kinds = inspect.getmro(type(function))
    rooms = ("tensorflow.", "orbax_model_lite.tf2obm.")
    return any(kind.__module__.startswith(rooms) for kind in kinds)


def name_of(function: Callable[..., Any], otherwise: str) -> str:
    """Returns the name that a callable gives itself, or `otherwise` for a lambda or an object."""
    name = getattr(function, "__name__", "") or ""
    return name if name.isidentifier() else otherwise
