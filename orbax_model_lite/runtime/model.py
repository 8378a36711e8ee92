"""A loaded bundle: its functions and pipelines as callables, its weights as arrays."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, final

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import (
    ConcreteFunction,
    Function,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.errors import InvalidBundleError, UnknownNameError, no_default, unknown_name
from orbax_model_lite.orchestration import (
    Orchestration,
    Stage,
    parameter_names,
    plan,
    stage_interfaces,
)
from orbax_model_lite.runtime import changes, lifting
from orbax_model_lite.runtime import trust as gates
from orbax_model_lite.runtime.engines import Engines
from orbax_model_lite.runtime.forms import LoweredCallable
from orbax_model_lite.runtime.named import Named
from orbax_model_lite.runtime.pipeline import BoundPipeline
from orbax_model_lite.runtime.polymorphic import PolymorphicCallable
from orbax_model_lite.runtime.splitting import weights_shardings
from orbax_model_lite.runtime.trust import Trust
from orbax_model_lite.runtime.weights import Weights

if TYPE_CHECKING:
    from orbax_model_lite.core.examples import Example

_MOST_SHOWN = 5


@final
class Model:
    """A bundle in memory, ready to be called; made by `load`.

    Calling the model runs its default pipeline. It is safe to use from several threads, and a
    context manager: leaving it (or `close`) releases weights and executables.

    Attributes:
      bundle: The description on disk.
      functions: Callables by name, StableHLO and TensorFlow functions alike. They take the
        arguments of their signature, weights included, as plain trees of arrays.
      pipelines: Callables by name, weights bound.
    """

    def __init__(
        self,
        bundle: Bundle,
        orchestration: Orchestration,
        *,
        trust: Trust,
        weights: Weights,
        engines: Engines,
    ) -> None:
        """Joins the parts; use `load` instead."""
        self.bundle = bundle
        self._original = bundle
        self.orchestration = orchestration
        self._trust = trust
        self._weights = weights
        self._engines = engines
        weights.split_like(functools.partial(weights_shardings, bundle, orchestration, engines))
        self._is_saved_model_checked = False
        self._is_closed = False
        self._matched: dict[Stage, Any] = {}
        self._bound_stages: dict[Stage, Callable[..., Any]] = {}
        functions = [n for n, o in bundle.objects.items() if isinstance(o, Function)]
        self.functions: Mapping[str, Any] = Named("function", functions, self._bind_function)
        self.pipelines: Mapping[str, BoundPipeline] = Named(
            "pipeline", list(orchestration.pipelines), self._bind_pipeline
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the default pipeline: pre-processors, model, post-processors.

        Args:
          *args: What its first function takes, without weights.
          **kwargs: The same, by name.

        Returns:
          What its last function returns.

        Raises:
          SignatureMismatchError: If the arguments do not fit.
          UnknownNameError: If the bundle has no pipeline, or several and no default.
        """
        return self._default(*args, **kwargs)

    @functools.cached_property
    def _default(self) -> BoundPipeline:
        name = self.orchestration.default_name
        if name is None:
            raise self._no_default()
        return self.pipelines[name]

    def _no_default(self) -> UnknownNameError:
        pipelines = self.orchestration.pipelines
        if not pipelines:
            choose = "call one of model.functions by its name"
            return no_default("function", "a model without pipelines", choose, self.functions)
        found = "several pipelines and no default"
        return no_default("pipeline", found, "choose one of model.pipelines", pipelines)

    @property
    def weights(self) -> Any:
        """The weights of the default pipeline's model function, as it takes them.

        In a bundle without pipelines: its only value. None when the bundle has no weights.

        Raises:
          UnknownNameError: If there are several values and no default pipeline; use `value`.
        """
        self._require_open()
        name = self.orchestration.default_name
        if name is not None:
            for stage in self.orchestration.pipelines[name].stages:
                if stage.weights is not None:
                    return self._bound_weights(stage)
        values = list(self.bundle.values)
        if len(values) > 1:
            found = "several values and no default pipeline"
            raise no_default("value", found, "choose one with model.value(name)", values)
        return self._weights.value(values[0]) if values else None

    def value(self, name: str) -> Any:
        """Returns the value of this name as a plain tree of arrays."""
        self._require_open()
        return self._weights.value(name)

    def lift(
        self,
        name: str,
        *,
        platform: str | None = None,
        custom_calls: Mapping[str, Callable[..., Any]] | None = None,
        derivative: Literal["rules", "program"] = "rules",
        mesh: Any = None,
    ) -> Callable[..., Any]:
        """Returns a StableHLO function as ordinary JAX code, with its own signature and names.

        What comes back can be differentiated, vmapped, scanned over, split over any devices and
        exported again. The weights are an argument, as in `functions`.

        Args:
          name: Of the function.
          platform: Whose variant is taken where the module has several; by default JAX chooses.
          custom_calls: Handlers of custom calls that JAX does not guarantee, by target: they take
            the operands in order and return an array or a tuple.
          derivative: "rules" differentiates by the rules that `jax2obm.convert` marked; "program"
            by the stored operations alone.
          mesh: A `jax.sharding.Mesh` where stored sharding annotations apply; None drops them.

        Raises:
          UnknownNameError: If there is no such function.
          UnsupportedError: If it is not StableHLO, or has operations without a counterpart in JAX;
            names them all.
        """
        self._require_open()
        if name not in self.functions:
            raise unknown_name("function", name, self.functions)
        return lifting.lifted(
            self.bundle,
            name,
            platform=platform,
            custom_calls=custom_calls,
            derivative=derivative,
            mesh=mesh,
        )

    def with_weights(self, new: Any, *, name: str | None = None) -> Model:
        """Returns a model that is this one with other weights; `save` writes it.

        Args:
          new: A pytree of arrays of any kind, with the key paths, shapes and dtypes of the old one.
          name: Of the value to replace; by default that of the default pipeline.

        Raises:
          SignatureMismatchError: If paths are missing, superfluous or of another shape or dtype.
          UnknownNameError: If there is no such value.
        """
        self._require_open()
        name = changes.weights_name(self, name)
        changed = self._changed(weights={name: changes.plain_weights(new)})
        changes.require_fit(changed, name)
        return changed

    def specialize(self, /, **sizes: int) -> Model:
        """Returns a model whose StableHLO functions have fixed sizes for symbolic dimensions.

        Args:
          **sizes: By symbol, such as `b=8`; other symbols stay symbolic.

        Raises:
          UnknownNameError: If no function has such a symbol.
          InvalidModelError: If the sizes break a constraint of a function.
          UnsupportedError: If a function cannot be lifted.
        """
        self._require_open()
        return self._changed(bundle=changes.specialized_objects(self.bundle, sizes))

    def fuse(self, pipeline: str | None = None) -> Model:
        """Returns a model whose pipeline is one StableHLO function; the stages stay in the bundle.

        Args:
          pipeline: By default the default one.

        Raises:
          UnknownNameError: If there is no such pipeline.
          UnsupportedError: If a stage is not StableHLO or cannot be lifted.
        """
        self._require_open()
        bundle, orchestration = changes.fused_pipeline(self, pipeline)
        return self._changed(bundle=bundle, orchestration=orchestration)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Bundle:
        """Writes the model as a bundle and returns its description.

        Processors, pipelines, metadata and unknown records are kept. Recorded examples are kept
        where they still fit, with the outputs of new weights where these were given.

        Args:
          path: The new folder, which appears when it is complete.
          overwrite: Whether a bundle at `path` is replaced.

        Raises:
          BundleExistsError: If something is there that may not be replaced.
          StorageError: If the file system refuses.
        """
        self._require_open()
        return changes.save_changed(
            self, path, self._original, self._weights.given, overwrite=overwrite
        )

    def _changed(
        self,
        *,
        bundle: Bundle | None = None,
        orchestration: Orchestration | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> Model:
        bundle = bundle or self.bundle
        changed = Model(
            bundle,
            orchestration or self.orchestration,
            trust=self._trust,
            weights=self._weights.over(bundle, weights or {}),
            engines=self._engines.over(bundle),
        )
        changed._original = self._original
        return changed

    def callable_of(self, example: Example) -> Callable[..., Any]:
        """Returns what a recorded call calls: a pipeline, or a function with its weights bound."""
        if example.is_pipeline:
            return self.pipelines[example.target]
        for pipeline in self.orchestration.pipelines.values():
            for stage in pipeline.stages:
                if stage.function == example.target and stage.weights is not None:
                    return self.bind_stage(stage)
        return self.functions[example.target]

    def close(self) -> None:
        """Releases weights and executables; the model cannot be called afterwards."""
        self._is_closed = True
        self.__dict__.pop("_default", None)
        for named in (self.functions, self.pipelines):
            assert isinstance(named, Named)
            named.clear()
        self._matched.clear()
        self._bound_stages.clear()
        self._weights.close()
        self._engines.close()

    def __enter__(self) -> Self:
        """Returns the model."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the model."""
        self.close()

    def __repr__(self) -> str:
        """Returns for example "<Model 'digits.obm': serving_default = decode -> net -> label>"."""
        pipelines = self.orchestration.pipelines
        lines = [
            f"{name} = {' -> '.join(stage.function for stage in pipelines[name].stages)}"
            for name in list(pipelines)[:_MOST_SHOWN]
        ] or [f"function {name}" for name in list(self.functions)[:_MOST_SHOWN]]
        count = len(pipelines) or len(self.functions)
        if count > len(lines):
            lines.append(f"and {count - len(lines)} more")
        state = " (closed)" if self._is_closed else ""
        gap = " " if len(lines) == 1 else "\n  "
        return f"<Model {self.bundle.path.name!r}{state}:{gap}{gap.join(lines)}>"

    def _repr_html_(self) -> str:
        """Returns pipelines, functions as trees and weights, for a notebook."""
        show = _lazy.load("orbax_model_lite.inspection.page.notebook:model_html")
        return show(self.bundle, self.orchestration)

    def _require_open(self) -> None:
        if self._is_closed:
            raise InvalidBundleError(
                f"model {self.bundle.path.name!r}: expected an open model; found a closed one; "
                "load it again"
            )

    def _bind_function(self, name: str) -> Callable[..., Any]:
        self._require_open()
        found = self.bundle.objects[name]
        if isinstance(found, PolymorphicFunction):
            concrete = functools.cache(lambda i: self._bind_concrete(name, found.functions[i]))
            return PolymorphicCallable(name, [f.signature for f in found.functions], concrete)
        assert isinstance(found, ConcreteFunction)
        if isinstance(found, OpaqueFunction) and found.lowering and found.lowering.function:
            names = parameter_names(found, self.bundle.read_bytes)
            bind = functools.partial(self._bind_concrete, name)
            return LoweredCallable(name, found, bind, names)
        return self._bind_concrete(name, found)

    def _bind_concrete(self, name: str, function: ConcreteFunction) -> Callable[..., Any]:
        if isinstance(function, ShloFunction):
            for where, program in self._with_derivatives(name, function):
                gates.require_module(where, self.bundle.read_bytes(program.module), self._trust)
        else:
            self._require_opaque(function)
        return self._engines.bind(name, function)

    def _with_derivatives(
        self, name: str, function: ShloFunction
    ) -> Iterator[tuple[str, ShloFunction]]:
        """Gives a function, and those that the engine runs when it is differentiated."""
        seen: set[str] = set()
        found: Any = function
        while isinstance(found, ShloFunction) and name not in seen:
            yield name, found
            seen.add(name)
            name = found.gradient_function_name or name
            found = self.bundle.objects.get(name)

    def _require_opaque(self, function: OpaqueFunction) -> None:
        is_tf = layout.canonical_mime_type(function.mime_type) == layout.MIME_TF_FUNCTION
        if is_tf and not self._is_saved_model_checked:
            folder = gates.saved_model_folder(self.bundle)
            gates.require_saved_model(self.bundle, folder, self._trust)
            self._is_saved_model_checked = True

    def _bind_pipeline(self, name: str) -> BoundPipeline:
        self._require_open()
        record = self.orchestration.pipelines[name]
        read = self.bundle.read_bytes
        wiring = plan(stage_interfaces(record, self.bundle.objects, read))
        if wiring.problems:
            raise InvalidBundleError(
                "\n".join(f"pipeline {name!r}: {problem}" for problem in wiring.problems)
            )
        values = [stage.weights for stage in record.stages if stage.weights is not None]
        with self._weights.reading_ahead(values):
            stages = [self.bind_stage(stage) for stage in record.stages]
        return BoundPipeline(name, record, stages, wiring.steps)

    def bind_stage(self, stage: Stage) -> Callable[..., Any]:
        """Returns the function of a pipeline's stage, its weights bound."""
        function = self.functions[stage.function]
        if stage.weights is None:
            return function
        if stage not in self._bound_stages:
            weights = self._bound_weights(stage)
            found = self.bundle.objects[stage.function]
            if isinstance(found, ConcreteFunction):
                bound = self._engines.bind_weights(stage.function, found, function, weights)
            else:
                bound = functools.partial(function, weights)
            self._bound_stages[stage] = bound
        return self._bound_stages[stage]

    def _bound_weights(self, stage: Stage) -> Any:
        if stage not in self._matched:
            assert stage.weights is not None
            self._matched[stage] = self._weights.for_function(stage.weights, stage.function)
        return self._matched[stage]
