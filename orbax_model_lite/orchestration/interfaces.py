"""Stage interfaces of a bundle's functions: signatures joined with the names of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orbax_model_lite._proto import tf_handle_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import (
    ConcreteFunction,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.core.tree import flatten_with_path
from orbax_model_lite.core.value import Object
from orbax_model_lite.errors import InvalidModelError, unknown_name
from orbax_model_lite.orchestration.records import Pipeline, Stage
from orbax_model_lite.orchestration.wiring import StageInterface

ReadBytes = Callable[[Data], bytes]

_NAMES = "names of inputs"


def stage_interfaces(
    pipeline: Pipeline, objects: Mapping[str, Object], read: ReadBytes
) -> list[StageInterface]:
    """Returns what wiring needs to know of each stage.

    Args:
      pipeline: The stages, by function name.
      objects: The bundle's objects.
      read: Gives the bytes of a payload (`Bundle.read_bytes`, or of payloads in memory).

    Raises:
      UnknownNameError: If a stage names a function that does not exist.
      InvalidModelError: If it names something that is not a function.
    """
    return [_interface(stage, objects, read) for stage in pipeline.stages]


def _interface(stage: Stage, objects: Mapping[str, Object], read: ReadBytes) -> StageInterface:
    function = objects.get(stage.function)
    if function is None:
        raise unknown_name("function", stage.function, objects)
    if isinstance(function, PolymorphicFunction) and function.functions:
        # The variants of one function take the same names; which one runs, the values decide.
        function = function.functions[0]
    if not isinstance(function, ConcreteFunction):
        raise InvalidModelError(
            f"pipeline stage {stage.function!r}: expected a function; "
            f"found a {type(function).__name__}; name a function of this bundle"
        )
    names = parameter_names(function, read)
    if not any(names) and stage.parameter_names:
        names = _by_argument(stage.parameter_names, function)
    return StageInterface.of(
        stage.function,
        function.signature,
        has_weights=stage.weights is not None,
        parameter_names=names,
        optional=optional_inputs(function, read),
    )


def parameter_names(function: ConcreteFunction, read: ReadBytes) -> tuple[str | None, ...]:
    """Returns the names of a function's positional inputs, weights included; None where unknown.

    Raises:
      InvalidBundleError: If the record that has them does not parse.
    """
    if isinstance(function, ShloFunction):
        return tuple(name or None for name in jax_trees_record(function, read).argument_names)
    handle = _tf_handle(function, read)
    return () if handle is None else _by_argument(tuple(handle.input_names), function)


def optional_inputs(function: ConcreteFunction, read: ReadBytes) -> frozenset[str]:
    """Returns the names of inputs that may be left out, because every part of them has a default.

    Only TensorFlow functions have defaults.

    Raises:
      InvalidBundleError: If the record that has them does not parse.
    """
    handle = None if isinstance(function, ShloFunction) else _tf_handle(function, read)
    if handle is None or not handle.optional_input_names:
        return frozenset()
    optional = set(handle.optional_input_names)
    parts: dict[str | None, list[str]] = {}
    named = dict(enumerate(_by_argument(tuple(handle.input_names), function)))
    paths = [path for path, _ in flatten_with_path(function.signature.inputs)]
    for (kind, key, *_), name in zip(paths, handle.input_names, strict=False):
        argument = named[key] if kind == 0 and isinstance(key, int) else str(key)
        parts.setdefault(argument, []).append(name)
    return frozenset(
        argument for argument, names in parts.items() if argument and optional.issuperset(names)
    )


def _tf_handle(
    function: ConcreteFunction, read: ReadBytes
) -> tf_handle_pb2.TfConcreteFunctionHandle | None:
    if layout.canonical_mime_type(function.mime_type) != layout.MIME_TF_FUNCTION:
        return None
    assert isinstance(function, OpaqueFunction)
    return records.parsed(tf_handle_pb2.TfConcreteFunctionHandle(), read(function.body), _NAMES)


def _by_argument(flat_names: tuple[str, ...], function: ConcreteFunction) -> tuple[str | None, ...]:
    """Returns one name an argument, from names of flat leaves; nested arguments have none."""
    names: list[str | None] = []
    position = 0
    for argument in function.signature.args:
        leaves = flatten_with_path(argument)
        is_leaf = len(leaves) == 1 and leaves[0][0] == ()
        names.append(flat_names[position] if is_leaf and position < len(flat_names) else None)
        position += len(leaves)
    return tuple(names)
