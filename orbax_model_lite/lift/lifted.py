"""Modules as JAX functions over flat arrays: the outside of the lift.

Functions of a bundle, with their trees and names, are in `functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxlib.mlir import ir

from orbax_model_lite.errors import SignatureMismatchError, unknown_name
from orbax_model_lite.lift.evaluation import evaluate
from orbax_model_lite.lift.operation import Options
from orbax_model_lite.lift.problems import Coverage, require_none, too_deep
from orbax_model_lite.lift.program import Program
from orbax_model_lite.lift.reading import ModuleReader
from orbax_model_lite.lift.types import TensorType
from orbax_model_lite.lift.values import PerPlatform, as_arrays
from orbax_model_lite.stablehlo.module import as_module, functions, operations, string


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class LiftedModule:
    """One function of a module as JAX code: call it with flat arrays, under any transformation.

    Attributes:
      name: The function's symbol.
      inputs: What it takes; None for a token.
      outputs: What it returns; None for a token.
      program: What runs.
      has_64_bits: Whether it computes with 64-bit types, so that it is traced in x64 mode.
      leading: Values of the arguments before `inputs`: the platform index, where it is known.
    """

    name: str
    inputs: Sequence[TensorType | None]
    outputs: Sequence[TensorType | None]
    program: Program
    has_64_bits: bool
    leading: tuple[Any, ...] = ()

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Returns the results for arrays of the types in `inputs`.

        Args:
          arrays: JAX or NumPy arrays or tracers; Python numbers and lists take the type of their
            input.

        Raises:
          SignatureMismatchError: If number, shape or dtype differ.
          UnsupportedError: If a shape is computed from data, which JAX cannot trace, or regions
            nest too deep.
        """
        if len(arrays) != len(self.inputs):
            raise SignatureMismatchError(
                f"function {self.name!r}: expected {len(self.inputs)} arguments; found "
                f"{len(arrays)}; pass one array for each argument of the module"
            )
        with jax.enable_x64(True) if self.has_64_bits else nullcontext():
            pairs = zip(self.inputs, arrays, strict=True)
            given = [self._checked(i, wanted, found) for i, (wanted, found) in enumerate(pairs)]
            try:
                found = evaluate(self.program, (*self.leading, *given))
            except RecursionError as e:
                raise too_deep(f"function {self.name!r}") from e
            return tuple(map(_as_jax, as_arrays(found)))

    def _checked(self, index: int, expected: TensorType | None, found: Any) -> Any:
        if expected is None:
            return found
        if not hasattr(found, "dtype"):
            found = np.asarray(found, expected.dtype)
        if not expected.fits(found):
            raise SignatureMismatchError(
                f"function {self.name!r}, argument {index}: expected {expected}; found "
                f"{found.dtype}{list(found.shape)}; cast or reshape it before the call"
            )
        # NumPy arrays of integers would count as known sizes, and fold away what jit should trace.
        return jnp.asarray(found) if isinstance(found, np.ndarray | np.generic) else found


def _as_jax(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, np.ndarray | np.generic) else value


def lift_module(
    source: bytes | str | ir.Module,
    *,
    entry: str = "main",
    custom_calls: Mapping[str, Callable[..., Any]] | None = None,
    derivative: Literal["rules", "program"] = "rules",
    mesh: Mesh | None = None,
    platforms: Sequence[str] = (),
    platform: str | None = None,
    where: str = "StableHLO module",
) -> LiftedModule:
    """Returns a function of a bare StableHLO module as JAX code over flat arrays.

    Args:
      source: A portable artifact (bytes), MLIR text, or a parsed module.
      entry: Symbol of the function; those that it calls come along.
      custom_calls: Handlers of custom calls that JAX does not guarantee, by target. A handler
        takes the operands in order and returns an array or a tuple of arrays.
      derivative: "rules" differentiates by the rules that `jax2obm.convert` marked; "program" by
        the operations alone, which is another function's derivative where the author gave a rule.
      mesh: Where sharding annotations with its axis names become constraints; None drops them.
      platforms: What the platform index counts, which a module for several platforms takes first;
        it is then no argument of the result.
      platform: The one of `platforms` whose variant is taken; by default JAX chooses when it
        lowers.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If it does not parse.
      UnknownNameError: If there is no such function or platform.
      UnsupportedError: If operations have no counterpart in JAX; names them all.

    Example:
      >>> text = '''func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      ...   %y = stablehlo.add %x, %x : tensor<2xf32>
      ...   return %y : tensor<2xf32>
      ... }'''
      >>> double = lift_module(text)
      >>> double([1.0, 2.0])
      (Array([2., 4.], dtype=float32),)
    """
    module = as_module(source, where=where)
    options = Options(custom_calls=dict(custom_calls or {}), derivative=derivative, mesh=mesh)
    reader = ModuleReader(module, options=options, where=where)
    program = reader.read(entry)
    require_none(reader.coverage().problems, where)
    leading = _platform_index(module, entry, platforms, platform)
    return LiftedModule(
        name=entry,
        inputs=tuple(program.body.parameter_types[len(leading) :]),
        outputs=tuple(program.result_types),
        program=program,
        has_64_bits=_has_64_bits(module),
        leading=leading,
    )


def _platform_index(
    module: ir.Module, entry: str, platforms: Sequence[str], platform: str | None
) -> tuple[Any, ...]:
    """Returns the value of the entry's platform index; nothing if it takes none."""
    if platform is not None and platform not in platforms:
        raise unknown_name("platform", platform, platforms)
    function = functions(module)[entry]
    if not platforms or "arg_attrs" not in function.attributes:
        return ()
    first = next(iter(ir.ArrayAttr(function.attributes["arg_attrs"])), None)
    constant = "jax.global_constant"
    if not isinstance(first, ir.DictAttr) or constant not in first:
        return ()
    if string(first[constant]) != "_platform_index":
        return ()
    if platform is not None:
        return (np.array(list(platforms).index(platform), np.int32),)
    indices = {name: i for i, name in enumerate(platforms)}
    return (PerPlatform(indices, np.dtype(np.int32)),)


def module_coverage(
    source: bytes | str | ir.Module,
    *,
    entry: str = "main",
    custom_calls: Mapping[str, Callable[..., Any]] | None = None,
    where: str = "StableHLO module",
) -> Coverage:
    """Returns which operations of a module can be lifted; takes what `lift_module` takes.

    Raises:
      InvalidBundleError: If it does not parse.
      UnknownNameError: If there is no such function.
    """
    module = as_module(source, where=where)
    options = Options(custom_calls=dict(custom_calls or {}))
    reader = ModuleReader(module, options=options, where=where)
    reader.read(entry)
    return reader.coverage()


_WIDE = ("i64", "ui64", "f64", "complex<f64>")


def _has_64_bits(module: ir.Module) -> bool:
    """Returns whether any value of a module has 64-bit elements."""
    seen: dict[ir.Type, bool] = {}
    for operation in operations(module):
        blocks = [block for region in operation.regions for block in region]
        values = [*operation.results, *(a for block in blocks for a in block.arguments)]
        for value in values:
            if value.type not in seen:
                seen[value.type] = _is_wide(value.type)
            if seen[value.type]:
                return True
    return False


def _is_wide(type_: ir.Type) -> bool:
    return isinstance(type_, ir.RankedTensorType) and str(type_.element_type) in _WIDE
