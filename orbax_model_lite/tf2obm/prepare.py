"""From whatever an author calls a TensorFlow function to one that is traced, named and flat.

A prepared function is what `convert_function` describes and `save_tf_functions` writes. Making one
twice from the same callable gives the same names, so the two need not share it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import numpy as np
import tensorflow as tf

from orbax_model_lite.core.arguments import flatten_up_to
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, leaves, map_leaves
from orbax_model_lite.errors import InvalidModelError, SignatureMismatchError
from orbax_model_lite.tf2obm.arguments import to_tensor
from orbax_model_lite.tf2obm.names import input_names, joined_output_names
from orbax_model_lite.tf2obm.signature import to_spec
from orbax_model_lite.tf2obm.structures import Leaf, plain_structure

_NARROWER: Mapping[Any, Any] = {
    tf.float64: tf.float32,
    tf.int64: tf.int32,
    tf.uint64: tf.uint32,
    tf.complex128: tf.complex64,
}

TfCallable: TypeAlias = Any
"""A `tf.function`, a concrete function, a method of a `tf.Module`, or any callable that TensorFlow
can trace, with the signature to trace it for."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFunction:
    """A TensorFlow function for one signature.

    Attributes:
      concrete: The traced function.
      signature: What it takes and gives; arguments that are plain Python values are not in it.
      input_names: Names of the flat inputs in a SavedModel.
      output_names: Names of the flat outputs in a SavedModel.
      defaults: Values of inputs that a caller may leave out, by input name.
      narrows: Whether 64-bit outputs are cast to 32 bits.
      input_positions: For each flat input, its place in the flat structured input signature.
      output_positions: For each flat output, its place in the flat structured outputs.
    """

    concrete: Any
    signature: Signature
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    defaults: Mapping[str, np.ndarray] = field(default_factory=dict)
    narrows: bool = False
    input_positions: tuple[int, ...] = ()
    output_positions: tuple[int, ...] = ()

    @property
    def structured_input_signature(self) -> Any:
        """What the traced function takes, as TensorFlow says it: a pair of args and kwargs."""
        return self.concrete.structured_input_signature

    @property
    def structured_outputs(self) -> Any:
        """What the function gives, as nested `tf.TensorSpec`s in the author's own containers."""
        return tf.nest.map_structure(self._output_spec, self.concrete.structured_outputs)

    def __call__(self, *inputs: Any) -> list[Any]:
        """Runs the function on flat inputs and returns its flat outputs, as tensors."""
        structure = self.concrete.structured_input_signature
        flat = tf.nest.flatten(structure)
        for position, value in zip(self.input_positions, inputs, strict=True):
            flat[position] = value
        args, kwargs = tf.nest.pack_sequence_as(structure, flat)
        outputs = tf.nest.flatten(self.concrete(*args, **kwargs))
        return [self._narrowed(outputs[position]) for position in self.output_positions]

    def _narrowed(self, value: Any) -> Any:
        dtype = _NARROWER.get(value.dtype) if self.narrows else None
        return value if dtype is None else tf.cast(value, dtype)

    def _output_spec(self, value: Any) -> Any:
        if value is None:
            return None
        dtype = _NARROWER.get(value.dtype, value.dtype) if self.narrows else value.dtype
        return tf.TensorSpec(value.shape, dtype)


def prepare_function(
    fn: TfCallable,
    input_signature: Sequence[Any] | None = None,
    *,
    keyword_signature: Mapping[str, Any] | None = None,
    suppress_x64_outputs: bool = False,
    name: str | None = None,
) -> PreparedFunction:
    """Returns a function for one signature, as `convert_function` and `save_tf_functions` take it.

    Args:
      fn: A `tf.function`, a concrete function, a method of a `tf.Module`, or any callable; or what
        this function returned before.
      input_signature: Positional arguments to trace it for: nested `tf.TensorSpec`s, and Python
        values, which become part of the function and are no inputs any more. None takes the
        signature that `fn` already has.
      keyword_signature: The same for keyword arguments.
      suppress_x64_outputs: Cast float64, int64, uint64 and complex128 outputs to 32 bits.
      name: Of the function, for messages; None takes its own.

    Raises:
      InvalidModelError: If it has no signature, or takes or gives what a bundle cannot record.
    """
    name = name or getattr(fn, "__name__", None) or type(fn).__name__
    where = f"function {name!r}"
    is_traced_for = (tuple(input_signature or ()), dict(keyword_signature or {}))
    has_signature = input_signature is not None or keyword_signature is not None
    if isinstance(fn, PreparedFunction):
        if has_signature or suppress_x64_outputs > fn.narrows:
            raise InvalidModelError(
                f"{where}: expected no options for a function that is prepared already; found "
                "some; pass them to prepare_function only"
            )
        return fn
    fn = _called(fn)
    concrete = _traced(fn, is_traced_for if has_signature else None, where)
    return _described(concrete, _defaults(fn), where, narrows=suppress_x64_outputs)


def _called(fn: TfCallable) -> TfCallable:
    """Returns the `tf.function` behind an object that is called through one, or the callable."""
    call = getattr(fn, "__call__", None)  # noqa: B004 (the method itself is wanted)
    return call if isinstance(call, tf.types.experimental.PolymorphicFunction) else fn


def _traced(fn: TfCallable, wanted: tuple[tuple, dict] | None, where: str) -> Any:
    if isinstance(fn, tf.types.experimental.ConcreteFunction):
        if wanted is not None:
            raise InvalidModelError(
                f"{where}: expected no signature for a concrete function, which has its own; found "
                "one; leave it out, or pass the tf.function"
            )
        return fn
    if not callable(fn):
        raise InvalidModelError(
            f"{where}: expected a TensorFlow function; found {fn!r}; pass a tf.function or a "
            "callable with a signature"
        )
    is_polymorphic = isinstance(fn, tf.types.experimental.PolymorphicFunction)
    if not is_polymorphic:
        if wanted is None:
            raise InvalidModelError(
                f"{where}: expected a signature to trace the callable for; found none; pass "
                "input_signature=[tf.TensorSpec(...), ...], or decorate it with tf.function"
            )
        fn = tf.function(fn)
    elif wanted is None and _lacks_signature(fn):
        raise InvalidModelError(
            f"{where}: expected a tf.function with an input_signature; found one without; pass "
            "input_signature=[tf.TensorSpec(...), ...], or fn.get_concrete_function(...)"
        )
    args, kwargs = wanted or ((), {})
    return fn.get_concrete_function(*args, **kwargs)


def _lacks_signature(fn: Any) -> bool:
    return fn.input_signature is None and bool(inspect.signature(fn).parameters)


def _described(
    concrete: Any, defaults: Mapping[str, Any], where: str, *, narrows: bool
) -> PreparedFunction:
    args, kwargs = concrete.structured_input_signature
    given = plain_structure((tuple(args), dict(kwargs)), f"{where}, input")
    inputs = _without_values(given)
    outputs = plain_structure(concrete.structured_outputs, f"{where}, output")
    flat_inputs: list[Leaf] = leaves(inputs)
    flat_outputs: list[Leaf] = leaves(outputs)
    # TensorFlow names tensors in its own flat order, and leaves other values out.
    arguments = [argument.name for argument in concrete.function_def.signature.input_arg]
    in_order = sorted(leaf.position for leaf in flat_inputs)
    names = dict(zip(in_order, input_names(arguments[: len(in_order)]), strict=True))
    signature = Signature(
        inputs=map_leaves(lambda leaf: to_spec(leaf.value, f"{where}, input"), inputs),
        outputs=map_leaves(lambda leaf: _output_spec(leaf, where, narrows=narrows), outputs),
    )
    return PreparedFunction(
        concrete=concrete,
        signature=signature,
        input_names=tuple(names[leaf.position] for leaf in flat_inputs),
        output_names=joined_output_names([leaf.keys for leaf in flat_outputs]),
        defaults={
            names[leaf.position]: value
            for name, argument in _by_parameter(given, defaults)
            for leaf, value in _default_values(argument, defaults[name], f"{where}, input {name!r}")
        },
        narrows=narrows,
        input_positions=tuple(leaf.position for leaf in flat_inputs),
        output_positions=tuple(leaf.position for leaf in flat_outputs),
    )


def _without_values(given: tuple[tuple, dict]) -> tuple[tuple, dict]:
    """Returns the inputs without arguments that are Python values; deeper ones become None."""
    args, kwargs = given
    kept = tuple(_tensors(arg) for arg in args if not _is_value(arg))
    return kept, {key: _tensors(arg) for key, arg in kwargs.items() if not _is_value(arg)}


def _is_value(argument: Tree) -> bool:
    return isinstance(argument, Leaf) and not isinstance(argument.value, tf.TypeSpec)


def _tensors(node: Tree) -> Tree:
    if isinstance(node, Leaf):
        return None if _is_value(node) else node
    if isinstance(node, dict):
        return {key: _tensors(child) for key, child in node.items()}
    if isinstance(node, (tuple, list)):
        return type(node)([_tensors(child) for child in node])
    return node


def _output_spec(leaf: Leaf, where: str, *, narrows: bool) -> Spec:
    spec = to_spec(leaf.value, f"{where}, output {str(leaf) or 'of it'!r}")
    if not narrows:
        return spec
    narrower = _NARROWER.get(leaf.value.dtype, leaf.value.dtype)
    return Spec(shape=spec.shape, dtype=DType(narrower.name))


def _defaults(fn: TfCallable) -> dict[str, Any]:
    """Returns default values by parameter name, in order, with None for parameters without one."""
    if isinstance(fn, tf.types.experimental.ConcreteFunction):
        return {}  # it does not know them any more
    parameters = inspect.signature(fn).parameters.values()
    return {p.name: None if p.default is p.empty else p.default for p in parameters}


def _by_parameter(given: tuple[tuple, dict], defaults: Mapping[str, Any]) -> list[tuple[str, Tree]]:
    """Returns name and tree of each argument that has a default value."""
    args, kwargs = given
    by_name = dict(zip(defaults, args, strict=False)) | kwargs
    return [(name, by_name[name]) for name in by_name if defaults.get(name) is not None]


def _default_values(argument: Tree, default: Any, where: str) -> list[tuple[Leaf, np.ndarray]]:
    """Returns the default value of each tensor of an argument."""
    found: list[Any] = []
    try:
        flatten_up_to(argument, default, (), found)
        return [
            (leaf, np.asarray(to_tensor(value, to_spec(leaf.value, where))))
            for leaf, value in zip(leaves(argument), found, strict=True)
            if not _is_value(leaf)
        ]
    except SignatureMismatchError as e:
        raise InvalidModelError(
            f"{where}: expected a default value of the input's type; found {default!r:.60}; "
            "change one of the two"
        ) from e
