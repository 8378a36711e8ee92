"""What a stored function would take here, told by compiling it; no array of it is read or made.

Runs in a child process of the runtime, because MLIR and XLA see the module of a stranger. Sizes for
symbolic dimensions are the caller's, else the smallest that the function allows.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import jax
import jax.export
from jaxlib.mlir.dialects import stablehlo

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.errors import (
    InvalidModelError,
    ObmError,
    SignatureMismatchError,
    UnsupportedError,
)
from orbax_model_lite.jax2obm.call_errors import CALL_ERRORS, translated
from orbax_model_lite.jax2obm.engine import JaxEngine
from orbax_model_lite.jaxtypes.arguments import Parameters, callable_tree
from orbax_model_lite.jaxtypes.fixing import fixed_spec, remaining
from orbax_model_lite.jaxtypes.jax_trees import trees_of
from orbax_model_lite.jaxtypes.shapes import DimScope, to_struct

_LARGEST_SIZE: Final = 1024
_MOST_TRIES: Final = 8192
_STATED: Final = re.compile(r"symbolic shape constraint (.+?)\. Expected")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One device as JAX has it; its memory in bytes, None where JAX does not tell."""

    kind: str
    memory_bytes: int | None = None
    memory_in_use_bytes: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JaxFacts:
    """The JAX of this process.

    Attributes:
      version: Of jax.
      platform: What it compiles for by default: "cpu", "cuda", "rocm", "tpu".
      devices: Those of that platform, of all processes.
      conventions: Oldest and newest calling convention of `jax.export` that it calls.
      stablehlo_version: The newest that it reads.
    """

    version: str
    platform: str
    devices: tuple[DeviceFacts, ...]
    conventions: tuple[int, int]
    stablehlo_version: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What XLA says of a compiled function; all bytes are of one device.

    Attributes:
      device_count: Devices that it was compiled for.
      sizes: Of symbolic dimensions, by name.
      argument_bytes: Of all arguments, weights included.
      weights_bytes: Of the first argument.
      output_bytes: Of its results.
      temporary_bytes: What it needs while it runs.
      code_bytes: Of the compiled program, constants included.
      shared_bytes: Of results that lie where arguments were.
    """

    device_count: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    argument_bytes: int
    weights_bytes: int
    output_bytes: int
    temporary_bytes: int
    code_bytes: int
    shared_bytes: int


def jax_facts() -> JaxFacts:
    """Returns what the JAX of this process is and runs on; starts its default platform.

    Raises:
      RuntimeError: If the platform cannot be started; JAX's own words.
    """
    return JaxFacts(
        version=jax.__version__,
        platform=jax.export.default_export_platform(),
        devices=tuple(map(_device, jax.devices())),
        conventions=(
            jax.export.minimum_supported_calling_convention_version,
            jax.export.maximum_supported_calling_convention_version,
        ),
        stablehlo_version=stablehlo.get_current_version(),
    )


def estimate(
    bundle: Bundle, function: ShloFunction, sizes: Mapping[str, int], *, name: str
) -> Estimate:
    """Returns what a function takes on the devices that `load` would choose, by compiling it.

    Args:
      bundle: That it is from.
      function: Of the bundle; the caller has checked what it may call.
      sizes: Of symbolic dimensions; others get the smallest size that the constraints allow.
      name: For messages.

    Raises:
      SignatureMismatchError: If the given sizes break a constraint of the function.
      InvalidModelError: If no sizes meet its constraints.
      InvalidBundleError: If it is damaged.
      UnsupportedError: If it cannot run on the platform or the devices at hand, or XLA refuses it.
    """
    engine = JaxEngine(bundle)
    compiled, sizes, weights = _compiled(engine, bundle, function, sizes, name)
    found: Any = compiled.memory_analysis()
    if found is None:
        raise UnsupportedError(
            f"function {name!r}: expected XLA to tell what the program takes; found nothing, as "
            "this platform has no such analysis; try it with small sizes"
        )
    return Estimate(
        device_count=_device_count(compiled),
        sizes=sizes,
        argument_bytes=found.argument_size_in_bytes,
        weights_bytes=_per_device(weights, compiled.input_shardings[0][:1]),
        output_bytes=found.output_size_in_bytes,
        temporary_bytes=found.temp_size_in_bytes,
        # XLA for CPUs tells nothing of its code, which holds the constants of the module.
        code_bytes=max(found.generated_code_size_in_bytes, len(bundle.read_bytes(function.module))),
        shared_bytes=found.alias_size_in_bytes,
    )


def _compiled(
    engine: JaxEngine, bundle: Bundle, function: ShloFunction, given: Mapping[str, int], name: str
) -> tuple[Any, dict[str, int], Tree]:
    """Returns the compiled program, the sizes that it was compiled for, and its first argument."""
    where = f"function {name!r}"
    call = engine.bind(function, name=name)
    constraints = list(trees_of(function, where, bundle.read_bytes).constraints)
    DimScope(constraints)
    while True:
        sizes = smallest_sizes(function, given, constraints, where)
        with jax.enable_x64(True):
            args, kwargs = _structs(function, sizes, where)
            shardings = engine.weights_shardings(function, name=name)
            if shardings is not None:
                args = (jax.tree.map(_split, args[0], shardings), *args[1:])
            try:
                return jax.jit(call).lower(*args, **kwargs).compile(), sizes, args[:1]
            except CALL_ERRORS as e:
                # A foreign bundle records no constraints; its module names one that was broken.
                stated = _stated_constraint(e)
                if stated and stated not in constraints and not set(sizes) <= set(given):
                    constraints.append(stated)
                    continue
                error = e
        parameters = Parameters(function_name=name, signature=function.signature)
        found = translated(error, parameters, args, kwargs)
        raise (found if isinstance(found, ObmError) else _refused(found, where)) from error


def _stated_constraint(error: BaseException | None) -> str:
    while error is not None:
        found = _STATED.search(str(error))
        if found:
            return found[1]
        error = error.__cause__
    return ""


def _refused(error: BaseException, where: str) -> UnsupportedError:
    text = str(error).strip()
    line = text.splitlines()[0][:200] if text else type(error).__name__
    return UnsupportedError(
        f"{where}: expected a program that XLA compiles here; found that it says: {line}; convert "
        "the function again for this platform"
    )


def smallest_sizes(
    function: ShloFunction, given: Mapping[str, int], constraints: Sequence[str], where: str
) -> dict[str, int]:
    """Returns a size for each symbolic dimension of a function: the one given, else the smallest.

    Args:
      function: Whose dimensions they are.
      given: By symbol; those that the function does not have are ignored.
      constraints: As JAX spells them: "b >= 1", "mod(t, 8) == 0".
      where: The function, as the beginning of a message.

    Raises:
      SignatureMismatchError: If the given sizes break a constraint.
      InvalidModelError: If no sizes up to 1024 meet all.
    """
    symbols = function.signature.symbols
    sizes = {symbol: size for symbol, size in given.items() if symbol in symbols}
    try:
        left = remaining([*constraints, *_implied(function)], sizes, where)
    except InvalidModelError as e:
        if not sizes:
            raise
        raise SignatureMismatchError(str(e)) from e
    free = [symbol for symbol in symbols if symbol not in sizes]
    tries = itertools.islice(_choices(free, sizes, left, where), _MOST_TRIES)
    found = next((choice for choice in tries if choice is not None), None)
    if found is not None:
        return found
    raise InvalidModelError(
        f"{where}: expected sizes that meet {', '.join(map(repr, constraints))}; found none up to "
        f"{_LARGEST_SIZE}; give sizes for {', '.join(free)}"
    )


def _choices(
    free: Sequence[str], sizes: dict[str, int], constraints: Sequence[str], where: str
) -> Iterator[dict[str, int] | None]:
    """Yields sizes that meet all constraints, smallest first; None for each try that does not."""
    if not free:
        yield sizes
        return
    for size in range(1, _LARGEST_SIZE + 1):
        tried = {**sizes, free[0]: size}
        try:
            left = remaining(constraints, tried, where)
        except InvalidModelError:
            yield None
            continue
        yield from _choices(free[1:], tried, left, where)


def _implied(function: ShloFunction) -> list[str]:
    """Returns that no dimension may become negative, as constraints."""
    specs = [leaf for leaf in function.signature.input_leaves if isinstance(leaf, Spec)]
    dims = {dim for spec in specs for dim in spec.shape or () if isinstance(dim, str)}
    return [f"{dim} >= 0" for dim in sorted(dims) if not dim.isidentifier()]


def _structs(
    function: ShloFunction, sizes: Mapping[str, int], where: str
) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
    scope = DimScope()

    def struct(leaf: Any) -> jax.ShapeDtypeStruct:
        if not isinstance(leaf, Spec):
            raise UnsupportedError(f"{where}: expected arrays; found a token; it cannot be called")
        fixed = fixed_spec(leaf, sizes)
        # A dimension that has no name has no constraint either.
        shape = None if fixed.shape is None else [1 if dim is None else dim for dim in fixed.shape]
        plain = Spec(
            shape=None if shape is None else tuple(shape), dtype=leaf.dtype, logical=leaf.logical
        )
        return to_struct(plain, scope, where)

    given = (function.signature.args, function.signature.kwargs)
    args, kwargs = map_leaves(struct, callable_tree(given))
    return args, kwargs


def _split(struct: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=sharding)


def _per_device(structs: Tree, shardings: Any) -> int:
    """Returns the bytes of arrays on one device."""
    pairs = zip(jax.tree.leaves(structs), jax.tree.leaves(shardings), strict=False)
    return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)


def _device_count(compiled: Any) -> int:
    found = jax.tree.leaves((compiled.input_shardings, compiled.output_shardings))
    return max((sharding.num_devices for sharding in found), default=1)


def _device(device: Any) -> DeviceFacts:
    stats = device.memory_stats() if device.process_index == jax.process_index() else None
    stats = stats or {}
    return DeviceFacts(
        kind=device.device_kind,
        memory_bytes=stats.get("bytes_limit"),
        memory_in_use_bytes=stats.get("bytes_in_use"),
    )
