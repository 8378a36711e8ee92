"""The largest elements: exact top-k in its three forms, and the approximate one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax.numpy as jnp
from jax import lax
from jaxlib.mlir import ir

from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations.bodies import expressions, is_iota
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.values import as_arrays, shape_of


def top_k(k: Any, operation: Operation) -> Runner:
    """Returns what gives the k largest elements of rows and their places.

    Args:
      k: How many.
      operation: Whose second result tells the dtype of the places.
    """
    places = operation.result_type(1).dtype

    def run(operand: Any) -> tuple[Any, Any]:
        values, indices = lax.top_k(operand, k)
        return values, lax.convert_element_type(indices, places)

    return run


def _dynamic_top_k(operation: Operation) -> Runner:
    def run(operand: Any, k: Any, *shapes: Any) -> tuple[Any, Any]:
        (size,) = shape_of(k)
        return top_k(size, operation)(*as_arrays([operand]))

    return run


def _approx_top_k(operation: Operation) -> Runner:
    settings = _settings(operation)
    has_known_k = "top_k" in settings
    select = lax.approx_max_k if _is_largest(operation) else lax.approx_min_k
    places = operation.result_type(1).dtype
    are_places = is_iota(operation.inner.operands[1], settings["reduction_dim"])
    shapes = set(operation.integers("indices_of_shape_operands", ()))

    def run(*operands: Any) -> tuple[Any, Any]:
        given = [x for i, x in enumerate(operands) if i not in shapes]
        k = settings["top_k"] if has_known_k else shape_of(given.pop())[0]
        operand, numbers, *_ = as_arrays(given)
        axis = settings["reduction_dim"]
        values, indices = select(
            operand,
            k,
            reduction_dimension=axis,
            recall_target=settings["recall_target"],
            reduction_input_size_override=settings["reduction_input_size_override"],
            aggregate_to_topk=settings["aggregate_to_topk"],
        )
        if not are_places:
            indices = jnp.take_along_axis(numbers, indices, axis, mode="clip")
        return values, lax.convert_element_type(indices, places)

    return run


def _settings(operation: Operation) -> dict[str, Any]:
    config = operation.attribute("mhlo.backend_config")
    if not isinstance(config, ir.DictAttr):
        raise NotLiftable("an approximate top-k without its settings")
    found = {item.name: _value(item.attr) for item in config}
    return {"reduction_input_size_override": -1, "aggregate_to_topk": True, **found}


def _value(attribute: ir.Attribute) -> Any:
    known = isinstance(attribute, (ir.BoolAttr, ir.IntegerAttr, ir.FloatAttr))
    return attribute.value if known else str(attribute)


def _is_largest(operation: Operation) -> bool:
    """Returns whether the largest elements are wanted, as the comparator tells."""
    symbols = ir.ArrayAttr(operation.attribute("called_computations"))
    comparator = operation.around.function(ir.FlatSymbolRefAttr(symbols[0]).value)
    (found,) = expressions(comparator.regions[0].blocks[0]) or [""]
    for direction, is_largest in (("GT", True), ("LT", False)):
        if found.startswith(f"compare.{direction}.") and found.endswith("($0, $1)"):
            return is_largest
    raise NotLiftable("an approximate top-k by a comparison that is neither less nor greater")


CUSTOM_CALLS: Final[Mapping[str, Handler]] = {
    "ApproxTopK": Handler(_approx_top_k, keeps_known=True),
    "stablehlo.dynamic_approx_top_k": Handler(_approx_top_k, keeps_known=True),
    "stablehlo.dynamic_top_k": Handler(_dynamic_top_k, keeps_known=True),
}
