"""How the functions of a bundle are chained: pipelines, their stages, batch options.

Nouns only. Their form on disk is in `serialization`, their consistency in `wiring`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite.errors import InvalidModelError, unknown_name

DEFAULT_PIPELINE: Final = "serving_default"
"""The name of a pipeline whose author gave it none."""


class Role(enum.IntEnum):
    """What a stage is for; the numbers of the record."""

    UNSPECIFIED = 0
    PREPROCESSOR = 1
    MODEL = 2
    POSTPROCESSOR = 3


class BatchComponent(enum.IntEnum):
    """Which part of a pipeline a server runs in batches; the numbers of the record."""

    UNSPECIFIED = 0
    NO_BATCHING = 1
    MODEL_FUNCTION = 2
    WHOLE_PIPELINE = 3
    PRE_PROCESSOR_AND_MODEL_FUNCTION = 4
    MODEL_FUNCTION_AND_POST_PROCESSOR = 5


class BatchPaddingPolicy(enum.IntEnum):
    """What a server does with a batch between two allowed sizes; the numbers of the record."""

    UNSPECIFIED = 0
    PAD_UP = 1
    BATCH_DOWN = 2
    MINIMIZE_TPU_COST_PER_REQUEST = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Advice to a server about batching one pipeline.

    Attributes:
      component: The part that runs in batches.
      max_batch_size: Rows; None is the largest allowed size.
      batch_timeout_micros: Microseconds to wait for a batch to fill.
      allowed_batch_sizes: Ascending; empty means any size.
      disable_large_batch_splitting: Whether a request beyond the maximum is refused, not split.
      num_batch_threads: Batches in flight at once.
      max_enqueued_batches: Batches waiting before a request is turned away.
      padding_policy: What happens to a batch between two allowed sizes.
      origin: The record it was read from, with what this version does not know.
    """

    component: BatchComponent
    max_batch_size: int | None = None
    batch_timeout_micros: int = 0
    allowed_batch_sizes: tuple[int, ...] = ()
    disable_large_batch_splitting: bool = False
    num_batch_threads: int = 1
    max_enqueued_batches: int = 250
    padding_policy: BatchPaddingPolicy = BatchPaddingPolicy.PAD_UP
    origin: bytes = field(default=b"", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks sizes against each other and fills in `max_batch_size`."""
        sizes = self.allowed_batch_sizes
        if any(size <= 0 for size in sizes) or list(sizes) != sorted(set(sizes)):
            raise InvalidModelError(
                f"batch options, allowed_batch_sizes: expected positive sizes in ascending order; "
                f"found {sizes!r}; sort them and drop repeats"
            )
        if self.max_batch_size is None and sizes:
            object.__setattr__(self, "max_batch_size", sizes[-1])
        self._check_maximum()
        for name in ("num_batch_threads", "max_enqueued_batches"):
            if getattr(self, name) < 1:
                raise InvalidModelError(
                    f"batch options, {name}: expected 1 or more; found {getattr(self, name)!r}"
                )
        if self.batch_timeout_micros < 0:
            raise InvalidModelError(
                "batch options, batch_timeout_micros: expected 0 or more microseconds; "
                f"found {self.batch_timeout_micros!r}"
            )

    def _check_maximum(self) -> None:
        maximum, sizes = self.max_batch_size, self.allowed_batch_sizes
        if maximum is None:
            return
        if maximum < 1:
            raise InvalidModelError(
                f"batch options, max_batch_size: expected 1 or more; found {maximum!r}"
            )
        if not sizes:
            return
        if self.disable_large_batch_splitting and maximum != sizes[-1]:
            expected = f"exactly the largest allowed size {sizes[-1]} when splitting is disabled"
        elif maximum < sizes[-1]:
            expected = f"at least the largest allowed size {sizes[-1]}"
        else:
            return
        raise InvalidModelError(
            f"batch options, max_batch_size: expected {expected}; found {maximum!r}; "
            "leave it out to take the largest allowed size"
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One function in a pipeline.

    Attributes:
      function: Name of the object in the bundle.
      role: What it is for.
      weights: Name of the value that is passed to it as first argument; None for none.
      parameter_names: Names of its flat inputs after the weights, where the record has them.
    """

    function: str
    role: Role
    weights: str | None = None
    parameter_names: tuple[str, ...] = field(default=(), compare=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Functions that are run one after the other.

    Attributes:
      stages: In the order in which they run.
      batch_options: Advice to a server.
      origin: The record it was read from.
    """

    stages: tuple[Stage, ...]
    batch_options: BatchOptions | None = None
    origin: bytes = field(default=b"", compare=False, repr=False)

    @classmethod
    def of(
        cls,
        model: str | None,
        weights: str | None = None,
        *,
        pre_processors: tuple[str, ...] = (),
        post_processors: tuple[str, ...] = (),
        batch_options: BatchOptions | None = None,
    ) -> Pipeline:
        """Returns the usual chain: pre-processors, one model function, post-processors."""
        stages = [Stage(function=name, role=Role.PREPROCESSOR) for name in pre_processors]
        if model is not None:
            stages.append(Stage(function=model, role=Role.MODEL, weights=weights))
        stages += [Stage(function=name, role=Role.POSTPROCESSOR) for name in post_processors]
        return cls(stages=tuple(stages), batch_options=batch_options)

    def names(self, role: Role) -> tuple[str, ...]:
        """Returns the function names of the stages with this role, in order."""
        return tuple(stage.function for stage in self.stages if stage.role is role)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestration:
    """All pipelines of a bundle.

    Attributes:
      pipelines: By name.
      default: The pipeline to run when none is named; None leaves it to `default_name`.
      origin: The record it was read from.
    """

    pipelines: Mapping[str, Pipeline]
    default: str | None = None
    origin: bytes = field(default=b"", compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks that the default exists."""
        if self.default is not None and self.default not in self.pipelines:
            raise unknown_name("pipeline", self.default, self.pipelines)

    @property
    def default_name(self) -> str | None:
        """The author's default, else the only pipeline, else "serving_default" if it exists."""
        if self.default is not None:
            return self.default
        if len(self.pipelines) == 1:
            return next(iter(self.pipelines))
        return DEFAULT_PIPELINE if DEFAULT_PIPELINE in self.pipelines else None
