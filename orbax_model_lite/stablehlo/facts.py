"""Facts about a StableHLO module, counted by walking all of it: called or not, nested or not.

What is recorded of them in a bundle is in `core.module_facts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from jax.extend.mlir import ir

from orbax_model_lite.core.module_facts import ConstantFact, MeshFact, ModuleFacts
from orbax_model_lite.stablehlo.custom_calls import (
    GUARANTEED_CUSTOM_CALLS,
    KERNEL_CUSTOM_CALLS,
    custom_calls,
    targets_of,
)
from orbax_model_lite.stablehlo.locations import scope_of
from orbax_model_lite.stablehlo.module import (
    as_module,
    mesh_axes,
    meshes,
    operations,
    version_of,
)
from orbax_model_lite.stablehlo.rule_marks import marked_rules

__all__ = ["GUARANTEED_CUSTOM_CALLS", "KERNEL_CUSTOM_CALLS", "custom_calls", "facts"]

_MANUAL = {"sdy.manual_computation"}
_MANUAL_TARGETS = {"SPMDFullToShardShape", "xla.sdy.GlobalToLocalShape"}
_LARGEST = 5
_WORTH_NAMING_BYTES = 1024


def facts(source: bytes | str | ir.Module, *, where: str = "StableHLO module") -> ModuleFacts:
    """Returns what is recorded about a module.

    Operations in regions, decompositions of composites and private functions are counted, called
    or not.

    Args:
      source: A portable artifact, MLIR text or a parsed module.
      where: First words of an error message.

    Raises:
      InvalidBundleError: If bytes or text do not parse.
      UnsupportedError: If the module is written at a newer version than this jaxlib knows.
    """
    module = as_module(source, where=where)
    names, targets = Counter[str](), Counter[str]()
    found: list[ConstantFact] = []
    for operation in operations(module):
        names[operation.name] += 1
        targets.update(targets_of(operation))
        found.extend(_constants(operation))
    rules = Counter[str]()
    for rule in marked_rules(module):
        rules[str(rule)] += rule.places
    declared = [
        MeshFact(name=name, axes=tuple(mesh_axes(mesh))) for name, mesh in meshes(module).items()
    ]
    large = [constant for constant in found if constant.size_bytes >= _WORTH_NAMING_BYTES]
    largest = sorted(large, key=lambda c: (-c.size_bytes, c.dtype, c.shape, c.scope))
    return ModuleFacts(
        stablehlo_version=version_of(source) if isinstance(source, bytes) else "",
        custom_calls=dict(targets),
        operations=dict(names),
        constant_bytes=sum(constant.size_bytes for constant in found),
        largest_constants=tuple(largest[:_LARGEST]),
        derivative_rules=dict(rules),
        meshes=tuple(sorted(declared, key=lambda mesh: mesh.name)),
        has_manual_computations=bool(_MANUAL & names.keys() or _MANUAL_TARGETS & targets.keys()),
    )


def _constants(operation: ir.Operation) -> Iterator[ConstantFact]:
    if operation.name.rpartition(".")[2] != "constant" or "value" not in operation.attributes:
        return
    try:
        value = operation.attributes["value"]
    except TypeError:
        # MLIR's bindings cannot give complex elements; the text tells whether there is one value.
        is_splat = "dense<(" in str(operation.get_asm(large_elements_limit=1))
    else:
        if not isinstance(value, (ir.DenseElementsAttr, ir.DenseResourceElementsAttr)):
            return
        is_splat = isinstance(value, ir.DenseElementsAttr) and value.is_splat
    tensor = ir.ShapedType(operation.results[0].type)
    count = 1
    for size in tensor.shape:
        count *= size
    bits = _bits(tensor.element_type) * (min(count, 1) if is_splat else count)
    yield ConstantFact(
        shape=tuple(tensor.shape),
        dtype=str(tensor.element_type),
        size_bytes=-(-bits // 8),
        scope=_scope(operation),
    )


def _bits(element: ir.Type) -> int:
    if isinstance(element, ir.ComplexType):
        return 2 * _bits(element.element_type)
    if isinstance(element, (ir.IntegerType, ir.FloatType)):
        return element.width
    return 64


def _scope(operation: ir.Operation) -> str:
    """Returns the scope of a constant: its own, else that of the first operation that uses it."""
    own = scope_of(operation.location)
    users = (use.owner for use in operation.results[0].uses)
    return own or next((scope_of(user.operation.location) for user in users), "")
