"""One operation of a module, as the builders of the operation files see it.

A builder takes an `Operation`, reads its attributes once, and returns what runs it at every trace.
Which builder serves which operation is in `table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, final

from jax.sharding import Mesh
from jaxlib.mlir import ir

from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.program import Block, Program
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.stablehlo.locations import scope_of
from orbax_model_lite.stablehlo.module import string

Runner: TypeAlias = Callable[..., Any]
"""Takes the operands (and, as `regions`, the regions as callables); returns the result, or a tuple.
"""

Builder: TypeAlias = "Callable[[Operation], Runner | Program]"
"""Raises NotLiftable where the operation has no counterpart."""


@final
@dataclass(frozen=True, slots=True)
class Handler:
    """How an operation is lifted.

    Attributes:
      build: Returns what runs it; a Program stands for a plain call of it.
      keeps_known: Whether what runs it takes sizes and platforms as they are (see `values`), and
        not as arrays: shapes, and whatever only passes values on.
      also_reads: Returns values that what runs it takes after the operands.
    """

    build: Builder
    keeps_known: bool = False
    also_reads: Callable[[ir.Operation], Sequence[ir.Value]] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a module is lifted.

    Attributes:
      custom_calls: The caller's own handlers of custom calls, by target.
      derivative: "rules" differentiates by the rules that are marked in the module; "program" by
        the operations alone.
      mesh: On which sharding annotations become constraints; None drops them.
    """

    custom_calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    derivative: Literal["rules", "program"] = "rules"
    mesh: Mesh | None = None


class Surroundings(Protocol):
    """What a builder may ask about the module around its operation."""

    @property
    def options(self) -> Options:
        """How the module is lifted."""
        ...

    def program(self, symbol: str, *, is_called: bool = True) -> Program:
        """Returns the program of a function; its blocks are filled before anything runs.

        Args:
          symbol: Of the function.
          is_called: Whether it runs wherever the operation does; a derivative's function does not,
            and may so use the very function that it is the derivative of.
        """
        ...

    def function(self, symbol: str) -> ir.Operation:
        """Returns the function itself."""
        ...

    def resource(self, name: str) -> bytes | None:
        """Returns the bytes that a `dense_resource` attribute names; None if they are not there."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation with its types and regions; its attributes are read by name.

    Attributes:
      name: "stablehlo.dot_general".
      inner: MLIR's operation, for what the methods here do not read.
      operand_types: None for a token or a tuple.
      result_types: None for a token or a tuple.
      regions: Their blocks, in order.
      around: The module, for operations that call a function of it.
    """

    name: str
    inner: ir.Operation
    operand_types: Sequence[TensorType | None]
    result_types: Sequence[TensorType | None]
    regions: Sequence[Block]
    around: Surroundings

    @property
    def label(self) -> str:
        """The name for messages, which tells a custom call's target and a composite's name."""
        for name in ("call_target_name", "name"):
            if name in self.inner.attributes and self.name in _NAMED:
                return f"{self.name} @{self.text(name)}"
        return self.name

    @property
    def scope(self) -> str:
        """Where the author's function has it, "jit(f)/layer_1/dot_general"; "" if unknown."""
        return scope_of(self.inner.location)

    def operand_type(self, index: int = 0) -> TensorType:
        """Returns the type of an operand that is a tensor."""
        return _tensor(self.operand_types[index])

    def result_type(self, index: int = 0) -> TensorType:
        """Returns the type of a result that is a tensor."""
        return _tensor(self.result_types[index])

    def has(self, name: str) -> bool:
        """Returns whether an attribute is there."""
        return name in self.inner.attributes

    def attribute(self, name: str) -> ir.Attribute:
        """Returns an attribute; NotLiftable without it."""
        if name not in self.inner.attributes:
            raise NotLiftable(f"no attribute {name!r}")
        return self.inner.attributes[name]

    def integer(self, name: str, default: int | None = None) -> int:
        """Returns an integer attribute."""
        if default is not None and not self.has(name):
            return default
        return ir.IntegerAttr(self.attribute(name)).value

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Returns a list of integers: an i64 array or a dense attribute of rank 1."""
        if default is not None and not self.has(name):
            return tuple(default)
        found = self.attribute(name)
        if isinstance(found, ir.DenseI64ArrayAttr):
            return tuple(found)
        dense = ir.DenseIntElementsAttr(found)
        return tuple(dense[i] for i in range(len(dense)))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Returns a boolean attribute."""
        return ir.BoolAttr(self.attribute(name)).value if self.has(name) else default

    def flags(self, name: str, default: Sequence[bool] | None = None) -> tuple[bool, ...]:
        """Returns a list of booleans."""
        if default is not None and not self.has(name):
            return tuple(default)
        found = self.attribute(name)
        if isinstance(found, ir.DenseBoolArrayAttr):
            return tuple(found)
        dense = ir.DenseIntElementsAttr(found)
        return tuple(bool(dense[i]) for i in range(len(dense)))

    def number(self, name: str, default: float | None = None) -> float:
        """Returns a float attribute."""
        if default is not None and not self.has(name):
            return default
        return ir.FloatAttr(self.attribute(name)).value

    def text(self, name: str, default: str | None = None) -> str:
        """Returns a string attribute, or the name in a symbol reference."""
        if default is not None and not self.has(name):
            return default
        found = self.attribute(name)
        if isinstance(found, ir.FlatSymbolRefAttr):
            return found.value
        return string(found)

    def enum(self, name: str, default: str | None = None) -> str:
        """Returns the keyword of an enumeration of StableHLO or CHLO: "TOTALORDER"."""
        if default is not None and not self.has(name):
            return default
        return enum_keyword(self.attribute(name))


_NAMED = ("stablehlo.custom_call", "stablehlo.composite")


def enum_keyword(attribute: ir.Attribute) -> str:
    """Returns the keyword in an enumeration's attribute.

    They print as `#stablehlo<precision HIGHEST>`; the bindings have a class of its own for each.
    """
    return str(attribute).rstrip(">").rpartition(" ")[2]


def _tensor(found: TensorType | None) -> TensorType:
    if found is None:
        raise NotLiftable("a token or tuple where a tensor is expected")
    return found
