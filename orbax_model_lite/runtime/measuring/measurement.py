"""The nouns of a measurement: what is asked for, and what was found; each is JSON on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured.

    Attributes:
      path: The bundle's folder, absolute.
      pipeline: Name of a pipeline; None for the default one.
      function: Name of a function instead.
      weights: Name of the function's weights, where no pipeline says so.
      platform: To run on; None is JAX's choice.
      batch_sizes: Rows of a call; None takes the author's batch options, or 1, 8 and 32.
      repeats: Calls that are timed for each batch size; None times as many as `seconds` allows.
      seconds: Of timed calls for each batch size.
      seed: Of inputs at random.
      sizes: Of other open dimensions of inputs at random, by name.
      files: (text, name, path) of files of inputs; "-" is a file `stdin` beside the request.
      values: (text, name, JSON) of inputs.
      custom_calls: See `Trust`.
      tf_ops: See `Trust`.
    """

    path: str
    pipeline: str | None = None
    function: str | None = None
    weights: str | None = None
    platform: str | None = None
    batch_sizes: tuple[int, ...] | None = None
    repeats: int | None = None
    seconds: float = 2.0
    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    files: tuple[tuple[str, str | None, str], ...] = ()
    values: tuple[tuple[str, str | None, str], ...] = ()
    custom_calls: tuple[str, ...] = ()
    tf_ops: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMeasurement:
    """What calls of one batch size took.

    Attributes:
      batch_size: Rows; None where the inputs have no common leading size.
      first_call_s: The first call at this size, which traces and compiles.
      compile_s: What of it is more than a usual call.
      calls: How many were timed.
      mean_s: Of a call, until its outputs are there.
      p50_s: Half of the calls took no longer.
      p95_s: 95 of 100 took no longer.
      p99_s: 99 of 100 took no longer.
      examples_per_s: Rows (calls without a batch size) in a second, one call after the other.
      peak_bytes: The most memory of the process that was resident up to here.
    """

    batch_size: int | None
    first_call_s: float
    compile_s: float
    calls: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    examples_per_s: float
    peak_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the child process found.

    Attributes:
      kind: "pipeline" or "function".
      name: Of it.
      platform: That JAX ran on; "cpu" where only TensorFlow ran.
      device: Kind of the first device.
      cores: That the process may run on.
      versions: Of the frameworks that were imported.
      load_s: Reading the bundle, importing frameworks, binding functions and weights.
      loaded_bytes: Memory of the process that was resident then.
      peak_bytes: The most that was resident at a time.
      device_peak_bytes: By device, what its allocator says; empty where it has none.
      batches: By batch size, in the order in which they were measured.
      notes: What a reader should know of them.
    """

    kind: str
    name: str
    platform: str
    device: str
    cores: int
    versions: Mapping[str, str]
    load_s: float
    loaded_bytes: int
    peak_bytes: int
    device_peak_bytes: Mapping[str, int]
    batches: tuple[BatchMeasurement, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Measurement:
        """Returns what `dataclasses.asdict` and JSON made of one.

        Raises:
          TypeError: If it is something else.
          ValueError: If it is something else.
        """
        fields = dict(value)
        batches = tuple(BatchMeasurement(**batch) for batch in fields.pop("batches"))
        return cls(batches=batches, notes=tuple(fields.pop("notes")), **fields)
