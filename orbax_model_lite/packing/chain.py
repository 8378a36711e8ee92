"""From an author's callables to functions of the format, each converted for what it will be given.

A pipeline is walked from its first function to its last; the outputs of one are the inputs of the
next by the rule of `orchestration.wiring`, so only the first JAX function needs `inputs`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from orbax_model_lite import _lazy
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import ConcreteFunction
from orbax_model_lite.core.object_names import free_name
from orbax_model_lite.core.spec import Shape, Spec
from orbax_model_lite.core.tree import Tree, leaves, map_leaves
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.orchestration import (
    Pipeline,
    Role,
    Stage,
    StageInterface,
    connect,
    optional_inputs,
    parameter_names,
)
from orbax_model_lite.packing.author import (
    PipelineSpec,
    as_call,
    as_sequence,
    is_tensorflow,
    name_of,
)

WEIGHTS = "weights"
"""The object name of the weights in a packed bundle."""


@final
@dataclass(slots=True, kw_only=True)
class Chain:
    """The functions of all pipelines of one bundle, as far as they are converted.

    Attributes:
      weights: The author's weights, or specs of them; None without weights.
      convert: Turns a JAX callable into a function of the format.
      tf_options: How TensorFlow functions become functions of the format.
      vjp_order: How many VJPs go with each model function.
      functions: Converted functions by object name.
      callables: The author's callables by object name.
      tensorflow: Object names of the TensorFlow functions.
      calls: What the JAX functions were converted for, by object name.
    """

    weights: Any
    convert: Callable[..., ConcreteFunction]
    tf_options: Mapping[str, Any] = field(default_factory=dict)
    vjp_order: int = 0
    functions: dict[str, ConcreteFunction] = field(default_factory=dict)
    callables: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tensorflow: list[str] = field(default_factory=list)
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)

    def add(self, name: str, spec: PipelineSpec) -> Pipeline:
        """Converts the functions of one pipeline and returns its record.

        Args:
          name: Of the pipeline; the model function takes it as object name.
          spec: The author's callables, `function` among them.

        Raises:
          InvalidModelError: If a function cannot be given what comes before it.
        """
        assert spec.function is not None
        walk = _Walk(chain=self, pipeline=name, inputs=spec.inputs)
        for function in as_sequence(spec.preprocess):
            walk.step(function, name_of(function, "preprocess"), Role.PREPROCESSOR)
        has_weights = spec.has_weights and self.weights is not None
        walk.step(spec.function, name, Role.MODEL, has_weights=has_weights)
        for function in as_sequence(spec.postprocess):
            walk.step(function, name_of(function, "postprocess"), Role.POSTPROCESSOR)
        return Pipeline(stages=tuple(walk.stages), batch_options=spec.batch_options)

    def free_name(self, wanted: str) -> str:
        """Returns `wanted`, or the first of `wanted_1`, `wanted_2`, ... that is not taken."""
        return free_name(wanted, {*self.functions, WEIGHTS})


@final
class _Walk:
    """One pass through a pipeline; knows what the functions before have given."""

    def __init__(self, *, chain: Chain, pipeline: str, inputs: Any) -> None:
        self.chain = chain
        self.pipeline = pipeline
        self.inputs = inputs
        self.stages: list[Stage] = []
        self.carried: dict[str, Tree] = {}
        self.output: Tree = None

    def step(
        self, function: Callable[..., Any], wanted: str, role: Role, *, has_weights: bool = False
    ) -> None:
        """Converts the next function, or finds it among those of other pipelines."""
        if is_tensorflow(function):
            name, converted = self.tensorflow(function, wanted, role)
        else:
            vjp_order = self.chain.vjp_order if role is Role.MODEL else 0
            name, converted = self.jax(
                function, wanted, has_weights=has_weights, vjp_order=vjp_order
            )
        interface = StageInterface.of(
            name,
            converted.signature,
            has_weights=has_weights,
            parameter_names=parameter_names(converted, in_memory),
            optional=optional_inputs(converted, in_memory),
        )
        if self.stages:
            kept = connect(self.output, interface, self.carried).kept
            self.carried |= {key: self.output[key] for key in kept}
        self.output = converted.signature.outputs
        weights = WEIGHTS if has_weights else None
        self.stages.append(Stage(function=name, role=role, weights=weights))

    def tensorflow(
        self, function: Callable[..., Any], wanted: str, role: Role
    ) -> tuple[str, ConcreteFunction]:
        if role is Role.MODEL:
            raise InvalidModelError(
                f"pipeline {self.pipeline!r}: expected a JAX function as the model; found a "
                "TensorFlow function; pass it as preprocess or postprocess"
            )
        for name in self.chain.tensorflow:
            if self.chain.callables[name] is function:
                return name, self.chain.functions[name]
        name = self.chain.free_name(wanted)
        convert = _lazy.load("orbax_model_lite.tf2obm:convert_function")
        converted = convert(name, function, **self.chain.tf_options)
        self.chain.tensorflow.append(name)
        self.chain.functions[name] = converted
        self.chain.callables[name] = function
        return name, converted

    def jax(
        self, function: Callable[..., Any], wanted: str, *, has_weights: bool, vjp_order: int
    ) -> tuple[str, ConcreteFunction]:
        if self.inputs is not None:
            args, kwargs = as_call(self.inputs)
            self.inputs = None
        elif self.stages:
            args, kwargs = self.given(function, has_weights=has_weights)
        else:
            raise InvalidModelError(
                f"pipeline {self.pipeline!r}: expected inputs for its first function {wanted!r}; "
                "found none; pass arrays, ShapeDtypeStructs or shorthand such as 'b, 28, 28, 1'"
            )
        if has_weights:
            args = (self.chain.weights, *args)
        name = self.chain.free_name(wanted)
        converted = self.chain.convert(function, args, kwargs, name=name, vjp_order=vjp_order)
        for known, before in self.chain.functions.items():
            is_same = self.chain.callables[known] is function
            if is_same and before.signature == converted.signature:
                return known, before
        self.chain.functions[name] = converted
        self.chain.callables[name] = function
        self.chain.calls[name] = (tuple(args), dict(kwargs))
        return name, converted

    def given(
        self, function: Callable[..., Any], *, has_weights: bool
    ) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
        """Returns the specs that a JAX function gets from the functions before it."""
        names, takes_any = _parameters(function, skip=1 if has_weights else 0)
        output = self.output
        available = {**self.carried, **(output if isinstance(output, dict) else {})}
        if isinstance(output, dict) and (takes_any or not _is_whole(names, output)):
            wanted = [key for key in available if key in names or (takes_any and key in output)]
            chosen = {key: available[key] for key in wanted if not _has_text(available[key])}
            return (), _named_dims(chosen)
        args = tuple(output) if isinstance(output, (tuple, list)) else (output,)
        rest = names[len(args) :]
        kwargs = {key: self.carried[key] for key in rest if key in self.carried}
        return _named_dims((args, kwargs))


def in_memory(data: Data) -> bytes:
    """Returns the bytes of a payload that is not yet in a file."""
    found = data.inline_bytes
    assert found is not None
    return found


def _is_whole(names: tuple[str, ...], output: Mapping[str, Tree]) -> bool:
    return len(names) == 1 and names[0] not in output


def _parameters(function: Callable[..., Any], skip: int) -> tuple[tuple[str, ...], bool]:
    """Returns the names that a callable's arguments have, and whether it takes any keyword."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (ValueError, TypeError):
        return (), True
    kinds = inspect.Parameter
    names = tuple(
        p.name for p in parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    )
    return names, any(p.kind is kinds.VAR_KEYWORD for p in parameters)


def _has_text(tree: Tree) -> bool:
    return any(isinstance(leaf, Spec) and leaf.dtype is DType.STRING for leaf in leaves(tree))


def _named_dims(tree: Tree) -> Tree:
    """Returns specs whose unknown dimensions have names: `b` where leading, else `d0`, `d1`, ..."""
    numbers = itertools.count()

    def named(leaf: Any) -> Any:
        if not isinstance(leaf, Spec) or leaf.shape is None or None not in leaf.shape:
            return leaf
        shape: Shape = tuple(
            dim if dim is not None else "b" if i == 0 else f"d{next(numbers)}"
            for i, dim in enumerate(leaf.shape)
        )
        return Spec(shape=shape, dtype=leaf.dtype, logical=leaf.logical)

    return map_leaves(named, tree)
