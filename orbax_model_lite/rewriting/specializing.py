"""Functions with symbolic sizes as functions with fixed ones: lifted, and converted again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import OpaqueFunction, PolymorphicFunction, ShloFunction
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, leaves, unflatten
from orbax_model_lite.core.value import Object
from orbax_model_lite.errors import UnsupportedError, unknown_name
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jaxtypes.fixing import fixed_spec, remaining
from orbax_model_lite.jaxtypes.jax_trees import (
    JaxTrees,
    Placements,
    in_memory,
    trees_of,
    with_trees,
)
from orbax_model_lite.jaxtypes.shapes import DimScope, to_struct
from orbax_model_lite.lift import lift_function
from orbax_model_lite.lift.functions import has_rules


def specialized(bundle: Bundle, sizes: Mapping[str, int]) -> dict[str, Object]:
    """Returns a bundle's objects with symbolic sizes fixed in every StableHLO function.

    Functions that have none of the symbols stay what they are, and so do TensorFlow functions,
    whose sizes are open in a way of their own; the sizes of their StableHLO forms are fixed.

    Args:
      bundle: Whose objects they are.
      sizes: By symbol.

    Raises:
      UnknownNameError: If no function has such a symbol.
      InvalidModelError: If the sizes break a function's constraints.
      UnsupportedError: If a function cannot be lifted.
    """
    functions = [f for o in bundle.objects.values() for f in _shlo_functions(o)]
    known = {symbol for function in functions for symbol in function.signature.symbols}
    for symbol in sizes:
        if symbol not in known:
            raise unknown_name("symbolic dimension", symbol, known)
    return {name: _object(name, found, bundle, sizes) for name, found in bundle.objects.items()}


def _shlo_functions(found: Object) -> list[ShloFunction]:
    if isinstance(found, PolymorphicFunction):
        return [f for f in found.functions if isinstance(f, ShloFunction)]
    if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
        return _shlo_functions(found.lowering.function)
    return [found] if isinstance(found, ShloFunction) else []


def _object(name: str, found: Object, bundle: Bundle, sizes: Mapping[str, int]) -> Object:
    def fixed(function: Any) -> Any:
        if isinstance(function, ShloFunction) and set(sizes) & set(function.signature.symbols):
            return specialize_function(function, sizes, name=name, read=bundle.read_bytes)
        return function

    if isinstance(found, PolymorphicFunction):
        return replace(found, functions=tuple(map(fixed, found.functions)))
    if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
        form = _object(name, found.lowering.function, bundle, sizes)
        assert isinstance(form, ShloFunction | PolymorphicFunction)
        return replace(found, lowering=replace(found.lowering, function=form))
    return fixed(found)


def specialize_function(
    function: ShloFunction, sizes: Mapping[str, int], *, name: str, read: Callable[..., bytes]
) -> ShloFunction:
    """Returns a function with some of its symbolic sizes fixed; everything else is kept.

    Args:
      function: With symbolic dimensions.
      sizes: By symbol; those that it does not have are ignored.
      name: For messages.
      read: Gives the bytes of its payloads.

    Raises:
      InvalidModelError: If the sizes break its constraints.
      UnsupportedError: If it cannot be lifted, or is split over more devices than there are.
    """
    trees = trees_of(function, f"function {name!r}", read)
    mesh = _mesh(function, trees, name)
    mode = "rules" if has_rules(function) else "program"
    lifted = lift_function(function, name=name, read=read, mesh=mesh, derivative=mode)
    constraints = remaining(trees.constraints, sizes, f"function {name!r}")
    scope = DimScope(constraints)
    structs = [
        _placed_struct(_struct(leaf, scope, sizes, f"function {name!r}, input {i}"), trees, i, mesh)
        for i, leaf in enumerate(function.signature.input_leaves)
    ]
    args, kwargs = unflatten(function.signature.inputs, structs)
    made = convert(
        _placed(lifted, trees.outputs, mesh) if mesh else lifted,
        args,
        kwargs,
        name=(function.jax and function.jax.name) or name,
        platforms=function.platforms,
        constraints=constraints,
        allow_large_constants=True,
        data_names=function.data_names,
        gradient_function_name=function.gradient_function_name,
    )
    record = trees_of(made, f"function {name!r}", in_memory)
    made = with_trees(
        made,
        replace(
            record,
            input_kinds=trees.input_kinds,
            output_kinds=trees.output_kinds,
            argument_names=trees.argument_names,
        ),
    )
    supplementals = {**function.supplementals, **made.supplementals}
    if not has_rules(function):
        # The record says that derivative rules are marked, and here nobody marked any.
        del supplementals[layout.KEY_JAX_TREES]
    return replace(made, visibility=function.visibility, supplementals=supplementals)


def _struct(
    leaf: Any, scope: DimScope, sizes: Mapping[str, int], where: str
) -> jax.ShapeDtypeStruct:
    if not isinstance(leaf, Spec):
        raise UnsupportedError(
            f"{where}: expected an array; found a token, which orders effects; "
            "a function with effects cannot be specialized"
        )
    return to_struct(fixed_spec(leaf, sizes), scope, where)


def _placed_struct(
    struct: jax.ShapeDtypeStruct, trees: JaxTrees, index: int, mesh: Mesh | None
) -> jax.ShapeDtypeStruct:
    if mesh is None or index not in trees.inputs:
        return struct
    sharding = NamedSharding(mesh, trees.inputs[index].spec)
    return jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=sharding)


def _mesh(function: ShloFunction, trees: JaxTrees, name: str) -> Mesh | None:
    count = function.jax.device_count if function.jax else 1
    if count == 1 or not trees.axes:
        return None
    if jax.device_count() < count:
        raise UnsupportedError(
            f"function {name!r}: expected {count} devices, over which it is split; found "
            f"{jax.device_count()}; specialize it on a machine that has them"
        )
    devices = np.array(jax.devices()[:count]).reshape([axis.size for axis in trees.axes])
    kinds = tuple(AxisType[axis.axis_type.capitalize()] for axis in trees.axes)
    return Mesh(devices, [axis.name for axis in trees.axes], axis_types=kinds)


def _placed(lifted: Callable[..., Any], placements: Placements, mesh: Mesh) -> Callable[..., Any]:
    """Returns a function whose outputs are split as the stored one's were."""

    def call(*args: Any, **kwargs: Any) -> Tree:
        outputs = lifted(*args, **kwargs)
        flat = [
            jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, placements[i].spec))
            if i in placements
            else leaf
            for i, leaf in enumerate(leaves(outputs))
        ]
        return unflatten(outputs, flat)

    return call
