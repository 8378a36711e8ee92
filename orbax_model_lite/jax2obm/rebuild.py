"""A stored function as a `jax.export.Exported` of the JAX at hand; nothing stored expires.

For one device it is made of its fields. Where they are not known, or there are shardings or sizes
that JAX has to solve for, a stub with the same inputs and outputs is exported by today's JAX, and
its public fields are replaced by what is stored. Typed keys are their words here and float0 is
bool, as in the module; `bound` converts.

The stub's derivative is not the function's: the result must not be differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
from jax.sharding import NamedSharding

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import JaxInfo, ShloFunction
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Leaf, Spec, dim_names
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError, UnsupportedError
from orbax_model_lite.jax2obm._jax_private import exported_of
from orbax_model_lite.jaxtypes.shapes import DimScope, to_struct

Shardings = Sequence[NamedSharding | None]


def rebuild(
    function: ShloFunction,
    module: bytes,
    *,
    where: str,
    constraints: Sequence[str] = (),
    shardings: tuple[Shardings, Shardings] | None = None,
) -> jax.export.Exported:
    """Returns a function of the flat physical leaves that the module takes (`kept_inputs`).

    Args:
      function: As it was read.
      module: Its portable artifact.
      where: The beginning of an error message.
      constraints: On symbolic dimensions, beyond those that the module itself asserts.
      shardings: Of all input and output leaves, over a concrete mesh; None for one device.

    Raises:
      InvalidBundleError: If signature and constraints contradict each other.
      UnsupportedError: If the function needs what this JAX or jax.export cannot do.
    """
    info = function.jax or _assumed_info(function)
    _require_callable(function, info, where)
    inputs, outputs = _structs(function.signature, tuple(constraints), where)
    count, kept = len(inputs), function.kept_inputs
    if list(kept) != sorted(set(kept)) or any(not 0 <= index < count for index in kept):
        raise InvalidBundleError(
            f"{where}: expected kept inputs among the {count} of the signature; "
            f"found {kept}; get an undamaged copy"
        )
    _require_known_symbols(function.signature, kept, where)
    taken = [inputs[i] for i in kept]
    facts = {
        "fun_name": _identifier(info.name),
        "nr_devices": info.device_count,
        "platforms": function.platforms,
        "ordered_effects": (),
        "unordered_effects": (),
        "disabled_safety_checks": _checks(info),
        "mlir_module_serialized": module,
        "calling_convention_version": function.calling_convention_version,
        "module_kept_var_idx": tuple(range(len(kept))),
        "uses_global_constants": info.uses_shape_polymorphism,
    }
    if shardings is None and _has_plain_sizes(function.signature, kept):
        made = exported_of(taken, outputs, **facts)
        if made is not None:
            return made
    placed = None if shardings is None else ([shardings[0][i] for i in kept], shardings[1])
    return dataclasses.replace(_stub(function.signature, taken, outputs, placed, where), **facts)


def _has_plain_sizes(signature: Signature, kept: Sequence[int]) -> bool:
    """Returns whether each size that is taken is a number or a name, so that JAX can solve it."""
    taken = [signature.input_leaves[i] for i in kept]
    shapes = [leaf.shape for leaf in taken if isinstance(leaf, Spec)]
    return all(shape is not None and all(map(_is_plain, shape)) for shape in shapes)


def _is_plain(dim: int | str | None) -> bool:
    return isinstance(dim, int) or (isinstance(dim, str) and dim.isidentifier())


def _stub(
    signature: Signature,
    inputs: Sequence[jax.ShapeDtypeStruct],
    outputs: Sequence[jax.ShapeDtypeStruct],
    shardings: tuple[Shardings, Shardings] | None,
    where: str,
) -> jax.export.Exported:
    wide = any(spec.dtype.is_64_bit for spec in _all_specs(signature))
    # The scalars of dimension computations have the width of the mode that they are traced in.
    with jax.enable_x64(True) if wide else nullcontext():
        try:
            return _export_stub(inputs, outputs, shardings)
        except (ValueError, TypeError, KeyError) as e:
            raise InvalidBundleError(
                f"{where}: expected a signature {signature} that JAX can export; "
                f"found {str(e).splitlines()[0] if str(e) else e!r}; get an undamaged copy"
            ) from e


def _assumed_info(function: ShloFunction) -> JaxInfo:
    is_refined = not function.signature.is_static or len(function.platforms) > 1
    return JaxInfo(uses_shape_polymorphism=is_refined)


def has_known_convention(function: ShloFunction) -> bool:
    """Returns whether today's JAX calls modules the way this one wants; lifting asks for none."""
    lowest = jax.export.minimum_supported_calling_convention_version
    highest = jax.export.maximum_supported_calling_convention_version
    return lowest <= function.calling_convention_version <= highest


def _require_callable(function: ShloFunction, info: JaxInfo, where: str) -> None:
    if not has_known_convention(function):
        raise UnsupportedError(
            f"{where}: expected a calling convention that this JAX knows; "
            f"found {function.calling_convention_version}; use model.lift, or another JAX"
        )
    if info.ordered_effects:
        raise UnsupportedError(
            f"{where}: expected a function without ordered effects; found "
            f"{', '.join(info.ordered_effects)}; convert the function again without them"
        )


def _require_known_symbols(signature: Signature, kept: Sequence[int], where: str) -> None:
    """Checks that the sizes of all outputs follow from inputs that the module takes."""
    inputs = signature.input_leaves
    taken = [leaf for leaf in map(inputs.__getitem__, kept) if isinstance(leaf, Spec)]
    known = {name for leaf in taken for name in dim_names(leaf.shape)}
    for i, leaf in enumerate(signature.output_leaves):
        unknown = set(dim_names(leaf.shape)) - known if isinstance(leaf, Spec) else set()
        if unknown:
            raise InvalidBundleError(
                f"{where}, output leaf {i}: expected dimensions of the inputs; found {leaf}, of "
                f"which no input has {', '.join(sorted(unknown))}; get an undamaged copy"
            )


def _structs(
    signature: Signature, constraints: tuple[str, ...], where: str
) -> tuple[list[jax.ShapeDtypeStruct], list[jax.ShapeDtypeStruct]]:
    try:
        scope = DimScope(constraints)
        inputs = [
            _physical(leaf, scope, f"{where}, input leaf {i}")
            for i, leaf in enumerate(signature.input_leaves)
        ]
        outputs = [
            _physical(leaf, scope, f"{where}, output leaf {i}", is_output=True)
            for i, leaf in enumerate(signature.output_leaves)
        ]
    except InvalidModelError as e:
        raise InvalidBundleError(str(e)) from e
    return inputs, outputs


def _physical(
    leaf: Leaf, scope: DimScope, where: str, *, is_output: bool = False
) -> jax.ShapeDtypeStruct:
    if not isinstance(leaf, Spec):
        raise UnsupportedError(
            f"{where}: expected an array; found a token, which only the program that made it can "
            "pass; convert the function again without effects"
        )
    if is_output and leaf.shape is not None and None in leaf.shape:
        raise UnsupportedError(
            f"{where}: expected sizes that follow from the inputs; found {leaf}; "
            "convert the function again with named dimensions"
        )
    dtype = DType.BOOL if leaf.dtype is DType.FLOAT0 else leaf.dtype
    return to_struct(dataclasses.replace(leaf, dtype=dtype, logical=None), scope, where)


def _all_specs(signature: Signature) -> list[Spec]:
    found = [*signature.input_leaves, *signature.output_leaves]
    return [leaf for leaf in found if isinstance(leaf, Spec)]


def _export_stub(
    inputs: Sequence[jax.ShapeDtypeStruct],
    outputs: Sequence[jax.ShapeDtypeStruct],
    shardings: tuple[Shardings, Shardings] | None,
) -> jax.export.Exported:
    def stub(*_: Any) -> tuple[jax.Array, ...]:
        return tuple(jnp.zeros(struct.shape, struct.dtype) for struct in outputs)

    jitted: Callable[..., Any] = jax.jit(stub)
    if shardings is not None:
        placed, results = shardings
        inputs = [
            jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=sharding)
            for struct, sharding in zip(inputs, placed, strict=True)
        ]
        # JAX forgets the shardings of arguments that it drops.
        jitted = jax.jit(stub, keep_unused=True, out_shardings=tuple(results))
    platforms = (jax.export.default_export_platform(),)
    return jax.export.export(jitted, platforms=platforms)(*inputs)


def _checks(info: JaxInfo) -> tuple[jax.export.DisabledSafetyCheck, ...]:
    made = jax.export.DisabledSafetyCheck
    found = []
    for check in info.disabled_checks:
        kind, _, target = check.partition(":")
        if kind == "platform":
            found.append(made.platform())
        elif kind == "custom_call":
            found.append(made.custom_call(target))
    return tuple(found)


def _identifier(name: str) -> str:
    """Returns a name that can stand in a symbol of a module."""
    kept = "".join(char if char.isalnum() or char == "_" else "_" for char in name)
    return kept or "function"
