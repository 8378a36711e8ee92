"""Custom calls: the caller's handlers first, then the targets that JAX guarantees.

Which of them there are is in `stablehlo.custom_calls`; each family has its builders in a file of
its own, and `TARGETS` collects them. Operands that only repeat the shape of a result are left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, final

import numpy as np
from jaxlib.mlir import ir

from orbax_model_lite.errors import SignatureMismatchError
from orbax_model_lite.lift.operation import Handler, Operation, Runner
from orbax_model_lite.lift.operations import lapack, linalg, topk, windows
from orbax_model_lite.lift.operations.sharding import sharding_call
from orbax_model_lite.lift.problems import NotLiftable
from orbax_model_lite.lift.types import TensorType, tensor_type
from orbax_model_lite.lift.values import as_arrays, is_concrete
from orbax_model_lite.stablehlo.module import string


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CustomCall:
    """What a caller's handler may ask about the call, through a keyword-only parameter `call`.

    Attributes:
      target: Its name.
      backend_config: The attributes of a typed call, by name, or the text of an older one.
      result_types: Of its results, in order; None for a token.
    """

    target: str
    backend_config: Mapping[str, Any] | str
    result_types: Sequence[TensorType | None]


def _custom_call(operation: Operation) -> Runner:
    types = [result.type for result in operation.inner.results]
    if len(types) != 1 or not isinstance(types[0], ir.TupleType):
        return _flat_call(operation)
    # JAX before 2023 wrote several results as one tuple.
    whole = types[0]
    parts = [tensor_type(whole.get_type(i)) for i in range(whole.num_types)]
    run = _flat_call(replace(operation, result_types=parts))

    def run_for_tuple(*operands: Any) -> tuple[tuple[Any, ...]]:
        found = run(*operands)
        return (found if isinstance(found, tuple) else (found,),)

    return run_for_tuple


def _flat_call(operation: Operation) -> Runner:
    target = operation.text("call_target_name")
    given = operation.around.options.custom_calls.get(target)
    if given is not None:
        return _by_caller(operation, target, given)
    if target not in TARGETS:
        raise NotLiftable(
            f"a custom call that JAX does not guarantee; custom_calls={{{target!r}: ...}} takes a "
            "function that computes it"
        )
    handler = TARGETS[target]
    run = handler.build(operation)
    assert callable(run)
    if handler.keeps_known:
        return run
    return _on_arrays(_guarded(target, run), _shape_operands(operation))


def _guarded(target: str, run: Callable[..., Any]) -> Runner:
    """Returns a runner that refuses operands which no writer of the target gives it.

    MLIR checks the types of every operation but of custom calls.
    """

    def guarded(*operands: Any, **regions: Any) -> Any:
        try:
            return run(*operands, **regions)
        except (TypeError, ValueError) as e:
            found = ", ".join(f"{x.dtype}{list(x.shape)}" for x in operands)
            raise NotLiftable(f"operands ({found}) that custom call {target!r} is not for") from e

    return guarded


def _shape_operands(operation: Operation) -> frozenset[int]:
    """Returns which operands are the shapes of results."""
    return frozenset(operation.integers("indices_of_shape_operands", ()))


def _on_arrays(run: Callable[..., Any], dropped: frozenset[int]) -> Runner:
    def on_arrays(*operands: Any, **regions: Any) -> Any:
        kept = [x for i, x in enumerate(operands) if i not in dropped]
        return run(*as_arrays(kept), **regions)

    return on_arrays


def _by_caller(operation: Operation, target: str, given: Callable[..., Any]) -> Runner:
    call = CustomCall(
        target=target,
        backend_config=_backend_config(operation),
        result_types=tuple(operation.result_types),
    )
    keywords = {"call": call} if _asks_for_call(given) else {}

    def run(*operands: Any) -> Any:
        found = given(*operands, **keywords)
        if found is None:
            found = ()
        results = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(results) != len(call.result_types):
            raise ValueError(
                f"handler of custom call {target!r}: expected {len(call.result_types)} results; "
                f"found {len(results)}; return an array, or a tuple of arrays"
            )
        return results

    return _on_arrays(run, _shape_operands(operation))


def _asks_for_call(given: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(given).parameters
    except (TypeError, ValueError):
        return False  # A function without a signature: one that is written in C.
    return "call" in parameters and parameters["call"].kind is inspect.Parameter.KEYWORD_ONLY


def _backend_config(operation: Operation) -> Mapping[str, Any] | str:
    for name in ("mhlo.backend_config", "backend_config"):
        if operation.has(name):
            found = _plain(operation.attribute(name))
            return MappingProxyType(found) if isinstance(found, dict) else str(found)
    return ""


def _plain(attribute: ir.Attribute) -> Any:
    """Returns an attribute as Python has it; as text where Python has nothing like it."""
    if isinstance(attribute, ir.DictAttr):
        return {item.name: _plain(item.attr) for item in attribute}
    if isinstance(attribute, ir.ArrayAttr):
        return tuple(map(_plain, attribute))
    if isinstance(attribute, ir.StringAttr):
        return string(attribute)
    if isinstance(attribute, (ir.BoolAttr, ir.IntegerAttr, ir.FloatAttr)):
        return attribute.value
    return str(attribute)


def _shape_assertion(operation: Operation) -> Runner:
    message = operation.text("error_message", "a shape that the module refuses")
    message = message.partition(" Please see")[0].rstrip(" ,.")

    def run(condition: Any, *values: Any) -> tuple[()]:
        # A condition that JAX cannot decide for symbolic sizes is checked when they are known.
        is_decided = isinstance(condition, np.ndarray) or is_concrete(condition)
        if is_decided and not condition.all():
            sizes = [str(value) for value in values]
            text = re.sub(r"\{(\d+)\}", lambda found: _numbered(sizes, int(found[1])), message)
            raise SignatureMismatchError(
                f"arguments: expected shapes that meet the conditions of the module; found this: "
                f"{text}; pass arrays of other sizes"
            )
        return ()

    return run


def _numbered(sizes: Sequence[str], index: int) -> str:
    return sizes[index] if index < len(sizes) else "?"


def _identity(operation: Operation) -> Runner:
    return lambda x: x


def _nothing(operation: Operation) -> Runner:
    count = len(operation.result_types)
    return lambda *operands: operands[:count]


def _allocate(operation: Operation) -> Runner:
    expected = operation.result_type()
    return lambda: np.zeros(expected.static_shape, expected.dtype)


_COMPILER: Final[dict[str, Handler]] = {
    "AllocateBuffer": Handler(_allocate),
    "Sharding": Handler(sharding_call),
    "annotate_device_placement": Handler(_identity),
    "shape_assertion": Handler(_shape_assertion, keeps_known=True),
    "xla.sdy.FuncResultSharding": Handler(_identity, keeps_known=True),
    "xla.sdy.PropagationBarrier": Handler(_identity, keeps_known=True),
    "xla.sdy.ShardingGroup": Handler(_nothing, keeps_known=True),
}

_FILES: Final = (lapack, linalg, topk, windows)

TARGETS: Final[Mapping[str, Handler]] = MappingProxyType(
    _COMPILER | {name: found for file in _FILES for name, found in file.CUSTOM_CALLS.items()}
)

OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.custom_call": Handler(_custom_call, keeps_known=True),
}
