"""Functions of a bundle: StableHLO, opaque (a body with a MIME type), polymorphic."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, final

from orbax_model_lite.core.data import Data, FunctionSupplemental
from orbax_model_lite.core.signature import Signature


class Visibility(enum.IntEnum):
    """Whether a function is for callers or only for other functions; the manifest's numbers."""

    PRIVATE = 0
    PUBLIC = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JaxInfo:
    """What JAX needs to call a module and the manifest does not hold (`jax_specific_info`).

    Symbolic dimensions and float0 are stored in the same record; here they are in the signature.

    Attributes:
      name: Name of the traced function.
      device_count: Devices that the module was lowered for.
      ordered_effects: Text forms of the ordered effects.
      unordered_effects: Text forms of the unordered effects.
      disabled_checks: "platform", "shape_assertions", "custom_call:<target>", or "unknown:<hex>"
        for one that this version does not know.
      uses_shape_polymorphism: Whether the module takes dimension variables as global constants.
      origin: The record it was read from; carries what this version does not know.
    """

    name: str = ""
    device_count: int = 1
    ordered_effects: tuple[str, ...] = ()
    unordered_effects: tuple[str, ...] = ()
    disabled_checks: tuple[str, ...] = ()
    uses_shape_polymorphism: bool = False
    origin: bytes = field(default=b"", compare=False, repr=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ShloFunction:
    """A StableHLO module with what is needed to call it.

    Attributes:
      signature: Inputs and outputs; symbolic dimensions are expressions.
      module: The portable artifact (StableHLO bytecode).
      calling_convention_version: Of `jax.export`.
      platforms: Lower-case names, in the order that the module's platform index counts.
      kept_inputs: Flat indices of the inputs that the module takes; others are dropped.
      jax: Further facts for calling it from JAX; None when the bundle has none.
      supplementals: Other records by name, for example "xla_compile_options".
      data_names: Dotted key paths of the weights it needs; empty means all.
      visibility: For callers, or only for other functions.
      gradient_function_name: The object that computes its VJP.
      vjp: In memory, the function that computes its VJP: it takes the flat inputs, then a cotangent
        for each flat output, and gives one for each flat input. Saving makes an object of it, and
        reading gives its name only.
      origin: The manifest entry it was read from; carries what this version does not know.
    """

    signature: Signature
    module: Data
    calling_convention_version: int
    platforms: tuple[str, ...]
    kept_inputs: tuple[int, ...]
    jax: JaxInfo | None = None
    supplementals: Mapping[str, FunctionSupplemental] = field(default_factory=dict)
    data_names: tuple[str, ...] = ()
    visibility: Visibility = Visibility.PUBLIC
    gradient_function_name: str | None = None
    vjp: ShloFunction | None = field(default=None, repr=False)
    origin: bytes = field(default=b"", compare=False, repr=False)

    @property
    def vjp_order(self) -> int:
        """How many VJPs it carries in memory, each of the one before."""
        return 0 if self.vjp is None else 1 + self.vjp.vjp_order

    @property
    def mime_type(self) -> str | None:
        """The MIME type of the body, by which the runtime chooses an engine."""
        return self.module.mime_type


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueFunction:
    """A function whose body only its MIME type explains, for example a TensorFlow function.

    Attributes:
      signature: Inputs and outputs.
      body: The payload.
      extension: As in `FunctionSupplemental`: extension of the body's file, None keeps it inline.
      data_names: See `ShloFunction`.
      visibility: See `ShloFunction`.
      gradient_function_name: See `ShloFunction`.
      lowering: Its StableHLO form, or why it has none; None where nobody tried.
      origin: See `ShloFunction`.
    """

    signature: Signature
    body: Data
    extension: str | None = None
    data_names: tuple[str, ...] = ()
    visibility: Visibility = Visibility.PUBLIC
    gradient_function_name: str | None = None
    lowering: Lowering | None = None
    origin: bytes = field(default=b"", compare=False, repr=False)

    @property
    def mime_type(self) -> str | None:
        """The MIME type of the body, by which the runtime chooses an engine."""
        return self.body.mime_type


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """What became of the attempt to say an opaque function in StableHLO.

    The form takes and gives what the opaque function does, with the same tree and names.

    Attributes:
      function: The form: a StableHLO function, or a polymorphic one that takes some sizes only;
        None if there is none.
      reason: Why there is none, or why it takes some sizes only; "" for a whole one.
      operation: The operation that stopped it, such as "DecodePng"; "" where it was none.
      object_name: Of the form in the manifest; "" takes the usual one.
    """

    function: ShloFunction | PolymorphicFunction | None = None
    reason: str = ""
    operation: str = ""
    object_name: str = field(default="", compare=False, repr=False)


ConcreteFunction: TypeAlias = ShloFunction | OpaqueFunction


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PolymorphicFunction:
    """Several functions under one name; the caller's arguments choose.

    Attributes:
      functions: In the author's order.
      origin: See `ShloFunction`.
    """

    functions: tuple[ConcreteFunction, ...]
    origin: bytes = field(default=b"", compare=False, repr=False)


Function: TypeAlias = ShloFunction | OpaqueFunction | PolymorphicFunction
