"""`convert`: a JAX function becomes a function of the bundle format.

The steps stand in files of their own: `plain_call` (trees and specs), `lowering` (jax.export),
`portable` (the module as it is written), `constants` and `facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.export

from orbax_model_lite._proto.manifest_pb2 import CompileOptionsProtoMap
from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data, FunctionSupplemental
from orbax_model_lite.core.function import JaxInfo, ShloFunction
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import unflatten
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm import layouts
from orbax_model_lite.jax2obm.constants import check_constants
from orbax_model_lite.jax2obm.lowering import lower
from orbax_model_lite.jax2obm.plain_call import PlainCall, plain_call
from orbax_model_lite.jax2obm.vjps import vjp_of
from orbax_model_lite.jaxtypes import shapes, shardings
from orbax_model_lite.jaxtypes.jax_trees import JaxTrees, kinds_by_text, placements, shared_axes
from orbax_model_lite.stablehlo.facts import facts


def convert(
    fn: Callable[..., Any],
    args_spec: Sequence[Any],
    kwargs_spec: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    platforms: Sequence[str] | None = None,
    constraints: Sequence[str] = (),
    static_argnames: str | Sequence[str] = (),
    disabled_checks: Sequence[str | jax.export.DisabledSafetyCheck] = (),
    allow_large_constants: bool = False,
    model_inputs_layout: Sequence[Any] | None = None,
    data_names: Sequence[str] = (),
    gradient_function_name: str | None = None,
    vjp_order: int = 0,
    xla_compile_options: Mapping[str, bytes] | None = None,
) -> ShloFunction:
    """Returns a JAX function as a function of the bundle format.

    The function is traced with plain trees (tuples, lists, string-keyed dicts) in place of other
    pytree nodes and gets its own objects back, so the order of leaves on disk is that of the
    module's arguments. The same function and specs give the same bytes, whatever was traced before
    and wherever the source lies.

    Args:
      fn: Plain or jitted. Shardings given to `jax.jit` are kept, donation has no effect.
      args_spec: One entry per positional argument: a pytree whose leaves are arrays, Python scalars
        (traced as weakly typed), ShapeDtypeStructs, Specs or shorthand such as "b, 28, 28, 1" and
        "int32[b, t]"; or the value of a static argument.
      kwargs_spec: The same by keyword.
      name: For messages and the module; by default the function's own.
      platforms: To lower for; None is cpu, cuda and tpu, and the one at hand. One that does not
        lower is left out with a warning, except the one at hand.
      constraints: On symbolic dimensions, as JAX spells them: "b >= 1", "mod(t, 8) == 0".
      static_argnames: Arguments whose value is fixed now; those of a jitted function are known.
      disabled_checks: Of jax.export, such as "custom_call:my_target" and "platform".
      allow_large_constants: Whether constants of more than 64 MB in the graph are accepted.
      model_inputs_layout: A `jax.experimental.layout.Layout` or None for each input leaf.
      data_names: Dotted key paths of the weights that the function needs; empty means all.
      gradient_function_name: The object that computes this function's VJP.
      vjp_order: How often a caller can differentiate the loaded function in reverse: so many VJPs
        are converted too, each of the one before. The function carries the first in `vjp`; saving
        makes private objects of them, called like the function with "_vjp" after it.
      xla_compile_options: Serialized CompileOptionsProto by platform, kept as they are.

    Raises:
      InvalidModelError: If specs, constraints or options do not fit the function, a symbolic
        dimension is not known well enough (the message names a constraint that settles it), the
        function has effects or no VJP, or the graph holds too large constants.
      UnsupportedError: If the function does not lower for the platform at hand, or has a type
        that the format cannot name.

    Example:
      >>> import jax.numpy as jnp
      >>> str(convert(lambda x: x.sum(axis=1), ("b, 4",), platforms=["cpu"]).signature)
      '(float32 [b, 4]) -> float32 [b]'
    """
    if vjp_order < 0:
        raise ValueError(f"vjp_order: expected 0 or more; found {vjp_order}; 0 stores no VJP")
    call = plain_call(
        fn,
        args_spec,
        kwargs_spec,
        name=name,
        static_argnames=static_argnames,
        constraints=constraints,
    )
    checks = tuple(map(_as_check, disabled_checks))
    lowered = lower(call, platforms=platforms, disabled_checks=checks)
    exported = lowered.exported
    signature = _signature(exported, call)
    if model_inputs_layout is not None:
        placed = layouts.with_layouts(signature.input_leaves, list(model_inputs_layout), call.where)
        signature = replace(signature, inputs=unflatten(signature.inputs, placed))
    found = facts(lowered.module, where=call.where)
    check_constants(found, allow_large=allow_large_constants, where=call.where)
    supplementals = {
        layout.KEY_JAX_TREES: _supplemental(_jax_trees(exported, call).to_data()),
        layout.KEY_MODULE_FACTS: _supplemental(found.to_data()),
    }
    if xla_compile_options:
        options = _compile_options(xla_compile_options, exported.platforms, call.where)
        supplementals[layout.KEY_COMPILE_OPTIONS] = FunctionSupplemental(data=options)
    vjp = None
    if vjp_order:
        wanted = vjp_of(call, exported, _in_shardings(exported), _out_shardings(exported))
        vjp = convert(
            wanted.function,
            wanted.specs,
            name=f"{call.name}_vjp",
            platforms=exported.platforms,
            disabled_checks=checks,
            allow_large_constants=allow_large_constants,
            vjp_order=vjp_order - 1,
        )
    return ShloFunction(
        signature=signature,
        module=Data(
            content=lowered.module,
            mime_type=layout.MIME_STABLEHLO,
            version=layout.STABLEHLO_VERSION,
        ),
        calling_convention_version=exported.calling_convention_version,
        platforms=tuple(exported.platforms),
        kept_inputs=tuple(exported.module_kept_var_idx),
        jax=_jax_info(exported, call),
        supplementals=supplementals,
        data_names=tuple(data_names),
        gradient_function_name=gradient_function_name,
        vjp=vjp,
    )


def _signature(exported: jax.export.Exported, call: PlainCall) -> Signature:
    inputs = _specs(exported.in_avals, _in_shardings(exported), f"{call.where}, input")
    outputs = _specs(exported.out_avals, _out_shardings(exported), f"{call.where}, output")
    return Signature(
        inputs=unflatten((call.args, call.kwargs), inputs),
        outputs=jax.tree.unflatten(exported.out_tree, outputs),
    )


def _specs(avals: Sequence[Any], placed: Sequence[Any], where: str) -> list[Spec]:
    specs = [shapes.from_aval(aval, f"{where} {i}") for i, aval in enumerate(avals)]
    return [
        spec if s is None else replace(spec, sharding=shardings.to_bytes(s, len(spec.shape or ())))
        for spec, s in zip(specs, placed, strict=True)
    ]


def _in_shardings(exported: jax.export.Exported) -> list[Any]:
    return [_over_mesh(s) for s in exported.in_shardings_jax(None)]  # pyright: ignore[reportArgumentType]


def _out_shardings(exported: jax.export.Exported) -> list[Any]:
    return [_over_mesh(s) for s in exported.out_shardings_jax(None)]  # pyright: ignore[reportArgumentType]


def _over_mesh(sharding: Any) -> Any:
    return None if sharding is None or sharding.mesh.empty else sharding


def _jax_trees(exported: jax.export.Exported, call: PlainCall) -> JaxTrees:
    inputs, outputs = _in_shardings(exported), _out_shardings(exported)
    symbolic = any(not isinstance(dim, int) for aval in exported.in_avals for dim in aval.shape)
    return JaxTrees(
        axes=shared_axes([*inputs, *outputs], call.where),
        inputs=placements(inputs),
        outputs=placements(outputs),
        input_kinds=kinds_by_text(call.input_kinds),
        output_kinds=kinds_by_text(call.output_kinds),
        constraints=call.scope.constraints if symbolic else (),
        argument_names=call.argument_names,
    )


def _jax_info(exported: jax.export.Exported, call: PlainCall) -> JaxInfo:
    return JaxInfo(
        name=call.name,
        device_count=exported.nr_devices,
        ordered_effects=(),
        unordered_effects=tuple(str(type(effect)) for effect in exported.unordered_effects),
        disabled_checks=tuple(str(check) for check in exported.disabled_safety_checks),
        uses_shape_polymorphism=exported.uses_global_constants,
    )


def _supplemental(data: Data) -> FunctionSupplemental:
    return FunctionSupplemental(data=data, extension=layout.PROTO_EXTENSION)


def _as_check(check: str | jax.export.DisabledSafetyCheck) -> jax.export.DisabledSafetyCheck:
    if isinstance(check, jax.export.DisabledSafetyCheck):
        return check
    kind, _, target = check.partition(":")
    if check == "platform":
        return jax.export.DisabledSafetyCheck.platform()
    if kind == "custom_call" and target:
        return jax.export.DisabledSafetyCheck.custom_call(target)
    raise InvalidModelError(
        f"disabled check {check!r}: expected 'platform' or 'custom_call:<target>'; "
        "found neither; correct the name"
    )


def _compile_options(options: Mapping[str, bytes], platforms: Sequence[str], where: str) -> Data:
    unknown = sorted(set(options) - set(platforms))
    if unknown:
        raise InvalidModelError(
            f"{where}, xla_compile_options: expected platforms among {', '.join(platforms)}; "
            f"found {unknown[0]!r}; lower the function for it too, or drop it"
        )
    record = CompileOptionsProtoMap(map={name: bytes(value) for name, value in options.items()})
    return Data(
        content=record.SerializeToString(deterministic=True),
        mime_type=layout.MIME_COMPILE_OPTIONS,
    )
