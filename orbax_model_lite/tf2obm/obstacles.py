"""What keeps a TensorFlow function from being said in StableHLO, found before and while compiling.

Strings, tables, files, randomness and other state are seen in the graph; the rest is XLA's verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, final

import tensorflow as tf

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.tf2obm.prepare import PreparedFunction

_CHECKS: Final = frozenset({"Assert", "CheckNumerics", "CheckNumericsV2"})
_GRADIENT_RULES: Final = frozenset({"PreventGradient", "StopGradient"})
_ANY_VALUE: Final = frozenset(
    {"Const", "Identity", "IdentityN", "NoOp", "Placeholder", "PlaceholderWithDefault"}
)
_CALLS: Final = frozenset(
    {
        *("Case", "StatelessCase", "If", "StatelessIf", "While", "StatelessWhile"),
        *("PartitionedCall", "StatefulPartitionedCall"),
    }
)
_READS_VARIABLES: Final = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"}
)
_SIZED_BY_VALUES: Final = ("Where", "Unique", "UniqueV2", "UniqueWithCountsV2", "ListDiff")


@final
class NotLowerable(Exception):  # noqa: N818  # a verdict on one function, never seen by callers
    """Why a function has no StableHLO form."""

    def __init__(self, reason: str, operation: str = "") -> None:
        """Keeps the verdict.

        Args:
          reason: A clause that names the operation, if it was one.
          operation: TensorFlow's name of it; "" where it was none.
        """
        super().__init__(reason)
        self.reason = reason
        self.operation = operation


def require_lowerable(prepared: PreparedFunction, *, with_checks: bool) -> None:
    """Checks what can be seen without compiling.

    Args:
      prepared: The function.
      with_checks: Whether assertions count as obstacles: StableHLO has none, so they are left out.

    Raises:
      NotLowerable: If it works on strings, has a state or an effect, leaves sizes open that must be
        known, or may be called with fewer arguments.
    """
    _require_pure(prepared)
    for side, tree in (
        ("input", prepared.signature.inputs),
        ("output", prepared.signature.outputs),
    ):
        for path, spec in flatten_with_path(tree):
            _require_known(spec, f"{side} {format_path(path[1:] if side == 'input' else path)!r}")
    for name in prepared.defaults:
        raise NotLowerable(f"input {name!r} has a default value, which StableHLO cannot supply")
    checks = [node.op for node in _nodes(prepared) if node.op in _CHECKS]
    if checks and with_checks:
        raise NotLowerable(f"{checks[0]} is a check of values, which StableHLO has not", checks[0])


def has_gradient_rules(prepared: PreparedFunction) -> bool:
    """Whether a function's derivative is not that of its operations: StableHLO keeps only these."""
    return any(
        node.op in _GRADIENT_RULES or "_gradient_op_type" in node.attr for node in _nodes(prepared)
    )


def verdict_of_xla(error: Exception) -> NotLowerable:
    """Returns what an error of the compiler says about the function."""
    text = str(error)
    for pattern in (r"(\w+) \(No registered", r"with op (\w+)", r"\[Op:(\w+)\]"):
        for operation in re.findall(pattern, text):
            if not operation.startswith("_"):
                return NotLowerable(f"{operation} cannot be compiled by XLA", operation)
    line = text.strip().partition("\n")[0]
    return NotLowerable(f"XLA refused it: {line[:200]}")


def operation_at(prepared: PreparedFunction, scope: str) -> str:
    """Returns the operation of the node that a scope of a compiled module ends with.

    Args:
      prepared: The function.
      scope: Names of nodes, outermost first: "PartitionedCall/top/TopKV2".

    Returns:
      Such as "TopKV2"; the last name itself where no such node is known.
    """
    parts = scope.split("/")
    operations = {node.name: node.op for node in _nodes(prepared)}
    for start in range(len(parts)):
        found = operations.get("/".join(parts[start:]))
        if found is not None:
            return found
    return parts[-1]


def require_static(text: str, prepared: PreparedFunction) -> None:
    """Checks that a compiled module has no sizes that depend on values.

    Raises:
      NotLowerable: If it has; names the operation that is likely to give them.
    """
    if "#stablehlo.bounds<" not in text:
        return
    known = {node.op for node in _nodes(prepared)}
    for operation in _SIZED_BY_VALUES:
        if operation in known:
            raise NotLowerable(f"{operation} gives a size that depends on values", operation)
    raise NotLowerable("it has a size that depends on values")


def _require_pure(prepared: PreparedFunction) -> None:
    """Raises for the operation that tells most: of strings by nature, of state, of any type."""
    nodes = [node for node in _nodes(prepared) if node.op not in _ANY_VALUE | _CHECKS]
    definitions = {node.op: _definition(prepared, node.op) for node in nodes}
    for node in nodes:
        if _has_type(definitions[node.op], tf.string):
            raise NotLowerable(f"{node.op} works on strings", node.op)
    for node in nodes:
        definition = definitions[node.op]
        is_allowed = node.op in _CALLS | _READS_VARIABLES
        if not is_allowed and (definition.is_stateful or _has_type(definition, tf.resource)):
            reason = f"{node.op} has a state, or an effect beyond what it returns"
            raise NotLowerable(reason, node.op)
    for node in nodes:
        is_text = any(value.type == tf.string.as_datatype_enum for value in node.attr.values())
        if is_text and node.op not in _CALLS:
            raise NotLowerable(f"{node.op} works on strings", node.op)


def _require_known(spec: Spec, where: str) -> None:
    if spec.dtype is DType.STRING:
        raise NotLowerable(f"{where} is a string")
    if spec.shape is None:
        raise NotLowerable(f"{where} has an unknown rank; set it with tf.ensure_shape")
    if where.startswith("input") and None in spec.shape[1:]:
        reason = f"{where} has unknown sizes beside the batch: {spec}; resize before the function"
        raise NotLowerable(reason)


def _nodes(prepared: PreparedFunction) -> Iterator[Any]:
    """Gives the nodes of the function and of those that it calls, but not the calls themselves."""
    graph = prepared.concrete.graph.as_graph_def()
    own = {function.signature.name for function in graph.library.function}
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            if node.op not in own:
                yield node


def _definition(prepared: PreparedFunction, operation: str) -> Any:
    return prepared.concrete.graph.op_def_for_type(operation)


def _has_type(definition: Any, dtype: Any) -> bool:
    """Whether an operation takes or gives this type whatever its attributes are."""
    arguments = (*definition.input_arg, *definition.output_arg)
    return any(argument.type == dtype.as_datatype_enum for argument in arguments)
