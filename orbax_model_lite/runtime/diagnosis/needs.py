"""What a bundle needs to be loaded and called, told by its description alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import (
    ConcreteFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.core.metadata import Metadata
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.core.references import concrete_functions, elements
from orbax_model_lite.core.signature import Signature
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.value import ExternalValue, Object
from orbax_model_lite.errors import ObmError, unknown_name
from orbax_model_lite.orchestration import Orchestration
from orbax_model_lite.runtime.loading import read_orchestration

_WEIGHTS: Final = frozenset({layout.MIME_ORBAX_CHECKPOINT, layout.MIME_SAFETENSORS})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A StableHLO function that is to run.

    Attributes:
      name: Of its object.
      where: As messages begin: "function 'f', variant 0".
      function: As it was read.
      weights: The value that a pipeline binds to its first argument.
      axes: (name, size) of the mesh that it was made on, where that is recorded.
    """

    name: str
    where: str
    function: ShloFunction
    weights: str | None = None
    axes: tuple[tuple[str, int], ...] = ()

    @property
    def label(self) -> str:
        """For people: "f, variant 0"."""
        return self.where.removeprefix("function ").replace("'", "")

    @property
    def device_count(self) -> int:
        """How many devices it was made on."""
        return self.function.jax.device_count if self.function.jax else 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What has to be here.

    Attributes:
      programs: StableHLO functions, forms of TensorFlow functions among them.
      tensorflow: Names of functions that only TensorFlow runs.
      partly_tensorflow: Names of functions that only TensorFlow runs at some sizes.
      unknown_kinds: Name to MIME type of functions that nothing here runs.
      weights: By name, what the programs take.
      written_with: Package to version, as in use when it was written.
    """

    programs: tuple[Program, ...]
    tensorflow: tuple[str, ...]
    partly_tensorflow: tuple[str, ...]
    unknown_kinds: Mapping[str, str]
    weights: Mapping[str, ExternalValue]
    written_with: Mapping[str, str]

    @property
    def needs_jax(self) -> bool:
        """Whether JAX has to be installed."""
        return bool(self.programs or self.weights)

    @property
    def has_checkpoint(self) -> bool:
        """Whether weights are an Orbax checkpoint."""
        return any(
            layout.canonical_mime_type(value.data.mime_type) == layout.MIME_ORBAX_CHECKPOINT
            for value in self.weights.values()
        )


def needs_of(bundle: Bundle, function: str | None = None) -> Needs:
    """Returns what the functions of all pipelines need; without pipelines, all public functions.

    Args:
      bundle: The bundle.
      function: Look at this one alone.

    Raises:
      UnknownNameError: If there is no such function.
      InvalidBundleError: If a record is damaged.
    """
    if function is not None and function not in bundle.functions:
        raise unknown_name("function", function, bundle.functions)
    bound = dict(_stages(read_orchestration(bundle)))
    chosen = [function] if function is not None else [n for n in bound if n in bundle.functions]
    if not chosen:
        chosen = [name for name, found in bundle.functions.items() if _is_public(found)]
    programs, tensorflow, partly, unknown = [], [], [], {}
    for name in chosen:
        for where, found in concrete_functions(name, bundle.functions[name]):
            if isinstance(found, ShloFunction):
                axes = _axes(bundle, found, where)
                programs.append(
                    Program(
                        name=name, where=where, function=found, weights=bound.get(name), axes=axes
                    )
                )
            elif layout.canonical_mime_type(found.mime_type) != layout.MIME_TF_FUNCTION:
                unknown[name] = found.mime_type or "none"
            elif found.lowering is None or found.lowering.function is None:
                tensorflow.append(name)
            elif found.lowering.reason:
                partly.append(name)
    # Without pipelines, a caller takes values by their names.
    is_open = function is None and not bound
    values = list(bundle.values) if is_open else [bound.get(name) for name in chosen]
    return Needs(
        programs=tuple(programs),
        tensorflow=tuple(dict.fromkeys(tensorflow)),
        partly_tensorflow=tuple(dict.fromkeys(partly)),
        unknown_kinds=unknown,
        weights={n: v for name in values if name for n, v in _external(bundle, name)},
        written_with=_written_with(bundle),
    )


def recorded_facts(bundle: Bundle, program: Program) -> ModuleFacts:
    """Returns what the bundle records about a module; empty facts where it records nothing.

    Raises:
      InvalidBundleError: If the record is damaged.
    """
    found = program.function.supplementals.get(layout.KEY_MODULE_FACTS)
    if found is None:
        return ModuleFacts()
    return ModuleFacts.from_payload(bundle.read_bytes(found.data))


def wide_types(signature: Signature) -> tuple[str, ...]:
    """Returns the names of the 64-bit element types in a signature."""
    leaves = (*signature.input_leaves, *signature.output_leaves)
    specs = [leaf for leaf in leaves if isinstance(leaf, Spec)]
    return tuple(sorted({spec.dtype.value for spec in specs if spec.dtype.is_64_bit}))


def static_bytes(program: Program) -> int:
    """Returns the bytes of a program's first argument, symbolic sizes counted as one."""
    args = program.function.signature.args
    if not args:
        return 0
    first = Signature(inputs=((args[0],), {}), outputs=())
    total = 0
    for leaf in first.input_leaves:
        if isinstance(leaf, Spec):
            count = 1
            for dim in leaf.shape or ():
                count *= dim if isinstance(dim, int) else 1
            total += -(-count * leaf.dtype.size_bits // 8)
    return total


def _stages(orchestration: Orchestration) -> Iterator[tuple[str, str | None]]:
    for pipeline in orchestration.pipelines.values():
        for stage in pipeline.stages:
            yield stage.function, stage.weights


def _is_public(found: Object) -> bool:
    if isinstance(found, PolymorphicFunction):
        return any(map(_is_public, found.functions))
    assert isinstance(found, ConcreteFunction)
    return found.visibility is Visibility.PUBLIC


def _external(bundle: Bundle, name: str) -> Iterator[tuple[str, ExternalValue]]:
    """Gives the files that a value is made of, each once, however often tuples name it."""
    stack, seen = [name], {name}
    while stack:
        at = stack.pop()
        found = bundle.objects.get(at)
        if isinstance(found, ExternalValue):
            if layout.canonical_mime_type(found.data.mime_type) in _WEIGHTS:
                yield at, found
        elif found is not None:
            below = [part for part in dict.fromkeys(elements(found)) if part not in seen]
            seen.update(below)
            stack += reversed(below)


def _written_with(bundle: Bundle) -> Mapping[str, str]:
    data = bundle.supplementals.get(layout.KEY_METADATA)
    if data is None:
        return {}
    try:
        return Metadata.from_payload(bundle.read_bytes(data)).framework_versions
    except ObmError:
        return {}  # A load does not read it.


def _axes(bundle: Bundle, function: ShloFunction, where: str) -> tuple[tuple[str, int], ...]:
    trees = jax_trees_record(function, bundle.read_bytes, where)
    return tuple((axis.name, axis.size) for axis in trees.mesh_axes)
