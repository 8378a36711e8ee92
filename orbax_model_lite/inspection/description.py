"""The nouns of a description: plain values that a table, JSON or a page is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDescription:
    """One function, as recorded.

    Attributes:
      name: Of the object, with ", variant i" for a function of a polymorphic one.
      kind: "StableHLO", "TensorFlow", or the MIME type of another body.
      signature: One line; a large argument is a count of its arrays.
      platforms: That it was lowered for; empty where that does not apply.
      size_bytes: Of its program; None where it lies in no file of its own.
      is_public: Whether it is for callers.
      has_stablehlo_form: For another kind: whether a StableHLO form is stored too.
      form_note: Why there is none, or why it takes some sizes only.
      stablehlo_version: What the module is written at; "" where nothing is recorded.
      custom_calls: Target to the number of calls.
      operation_count: Operations of the module; 0 where nothing is recorded.
      constant_bytes: Of all constants inside the module.
      data_names: Key paths of the weights it needs; empty means all.
    """

    name: str
    kind: str
    signature: str
    platforms: tuple[str, ...] = ()
    size_bytes: int | None = None
    is_public: bool = True
    has_stablehlo_form: bool = False
    form_note: str = ""
    stablehlo_version: str = ""
    custom_calls: Mapping[str, int] = field(default_factory=dict)
    operation_count: int = 0
    constant_bytes: int = 0
    data_names: tuple[str, ...] = ()

    @property
    def needs_tensorflow(self) -> bool:
        """Whether calling it imports TensorFlow."""
        return self.kind == "TensorFlow" and not self.has_stablehlo_form


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsDescription:
    """One set of weights, as its headers tell.

    Attributes:
      name: Of the object.
      format: "Orbax checkpoint", "SafeTensors", or the MIME type of another one.
      path: Relative to the bundle.
      array_count: Arrays; None where they cannot be listed.
      size_bytes: Of the arrays whose shape and type are known.
      unknown_count: Arrays whose shape and type only the arrays themselves tell.
      dtypes: Name of an element type to the bytes of its arrays, largest first.
      disk_bytes: Of the file or folder.
      problem: Why they cannot be listed; "" if they can.
    """

    name: str
    format: str
    path: str
    array_count: int | None = None
    size_bytes: int = 0
    unknown_count: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    disk_bytes: int = 0
    problem: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StageDescription:
    """One stage of a pipeline: its role ("pre", "model", "post", "stage"), function and weights."""

    role: str
    function: str
    weights: str | None = None
    kind: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDescription:
    """One pipeline: its stages in the order in which they run."""

    name: str
    is_default: bool
    stages: tuple[StageDescription, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a bundle says of itself.

    Attributes:
      path: As it was given.
      layout: When bundles of its form on disk were first written.
      size_bytes: Of all files.
      file_count: Of all files.
      content_hash: See `Bundle.content_hash`.
      metadata: What its author says, by field; empty fields are left out.
      versions: Package name to version, as in use when it was written.
      pipelines: By name, the default first.
      functions: By name.
      weights: By name.
      other_objects: Name to kind of what is neither function nor weights.
      supplementals: Name to MIME type of the records of the whole bundle.
      example_count: Recorded calls.
      device_count: Devices of the recorded assignment; None without one.
      problems: Records that do not parse, as messages.
    """

    path: str
    layout: str
    size_bytes: int
    file_count: int
    content_hash: str | None
    metadata: Mapping[str, str]
    versions: Mapping[str, str]
    pipelines: tuple[PipelineDescription, ...]
    functions: tuple[FunctionDescription, ...]
    weights: tuple[WeightsDescription, ...]
    other_objects: Mapping[str, str]
    supplementals: Mapping[str, str]
    example_count: int
    device_count: int | None
    problems: tuple[str, ...]

    @property
    def is_damaged(self) -> bool:
        """Whether something could not be read that the bundle says it has."""
        return bool(self.problems) or any(weights.problem for weights in self.weights)

    @property
    def needs_tensorflow(self) -> tuple[str, ...]:
        """Names of the functions whose call imports TensorFlow."""
        return tuple(f.name for f in self.functions if f.needs_tensorflow)
