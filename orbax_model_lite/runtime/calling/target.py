"""What is called, a pipeline or a function, and the forms in which it takes its inputs.

Found from records alone, so that a wrong name is told before a framework is imported; `bind` makes
a callable of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import (
    ConcreteFunction,
    PolymorphicFunction,
    Visibility,
)
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.core.signature import format_tree
from orbax_model_lite.core.tree import (
    Path,
    StringPairs,
    Tree,
    children,
    flatten_with_path,
    format_path,
)
from orbax_model_lite.errors import (
    InvalidBundleError,
    SignatureMismatchError,
    UnknownNameError,
    UnsupportedError,
    no_default,
    unknown_name,
)
from orbax_model_lite.orchestration import (
    Orchestration,
    Pipeline,
    Role,
    Stage,
    stage_interfaces,
)
from orbax_model_lite.runtime.model import Model


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to call a target, weights bound.

    Attributes:
      args: Plain trees of specs, without string pairs, one for each positional input.
      kwargs: The same by keyword.
      names: Of the positional inputs; None where one has none.
      optional: Names of inputs that may be left out.
      constraints: On symbolic dimensions, as JAX spells them.
    """

    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    names: tuple[str | None, ...] = ()
    optional: frozenset[str] = frozenset()
    constraints: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[tuple[str | int, Tree]]:
        """Position or keyword, and tree, of each input."""
        return [*enumerate(self.args), *self.kwargs.items()]

    def leaves(self) -> list[tuple[Path, Any]]:
        """Returns (path, spec) of each leaf; a path begins with the input's position or keyword."""
        return [
            leaf for root, tree in self.inputs for leaf in flatten_with_path(tree, prefix=(root,))
        ]

    def nodes(self) -> Iterator[tuple[Path, Tree]]:
        """Gives (path, tree) of each container and leaf."""
        stack: list[tuple[Path, Tree]] = [((root,), tree) for root, tree in self.inputs]
        while stack:
            path, node = stack.pop()
            yield path, node
            stack += [((*path, key), child) for key, child in children(node) or ()]

    def name(self, root: str | int) -> str:
        """Returns the name of an input, or its position where it has none."""
        if isinstance(root, int) and root < len(self.names):
            return self.names[root] or str(root)
        return str(root)

    def label(self, path: Path) -> str:
        """Returns a path as it is told in messages, beginning with the input's name."""
        return format_path((self.name(path[0]), *path[1:]))

    def is_optional(self, root: str | int) -> bool:
        """Whether an input may be left out."""
        return self.name(root) in self.optional

    def __str__(self) -> str:
        """Returns for example "(x: float32 [b, 4], ids: string [?])"."""
        parts = [f"{self.name(root)}: {format_tree(tree)}" for root, tree in self.inputs]
        return f"({', '.join(parts)})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A pipeline or a function to be called.

    Attributes:
      kind: Which of the two.
      name: Of it.
      forms: Ways to call it; a polymorphic function has several.
      stages: The functions that a call runs, in order, with the weights that are bound to them.
      batch_sizes: That the author's batch options allow; () where they say nothing.
    """

    kind: Literal["pipeline", "function"]
    name: str
    forms: tuple[Form, ...]
    stages: tuple[Stage, ...]
    batch_sizes: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Returns for example "pipeline 'serving_default'"."""
        return f"{self.kind} {self.name!r}"


def find_target(
    bundle: Bundle,
    orchestration: Orchestration,
    *,
    pipeline: str | None = None,
    function: str | None = None,
    weights: str | None = None,
) -> Target:
    """Returns what is to be called: a pipeline, a function, or by default the default pipeline.

    In a bundle without pipelines the default is its only public function. A function is called with
    the weights that a pipeline gives it.

    Args:
      bundle: The bundle.
      orchestration: Its pipelines.
      pipeline: Name of a pipeline.
      function: Name of a function instead.
      weights: Name of the value that is the function's first argument, where no pipeline says so.

    Raises:
      UnknownNameError: If there is no such pipeline, function or value, or no default.
      SignatureMismatchError: If pipelines give the function different weights.
    """
    if function is None and pipeline is None and not orchestration.pipelines:
        function = _only_function(bundle)
    if function is None:
        name = pipeline if pipeline is not None else orchestration.default_name
        if name is None or name not in orchestration.pipelines:
            raise _no_pipeline(name, orchestration)
        record = orchestration.pipelines[name]
        _require_stages(bundle, name, record)
        batch = record.batch_options
        return Target(
            kind="pipeline",
            name=name,
            forms=_forms(bundle, record.stages[0]),
            stages=record.stages,
            batch_sizes=batch.allowed_batch_sizes if batch else (),
        )
    if function not in bundle.functions:
        raise unknown_name("function", function, bundle.functions)
    stage = _stage(bundle, orchestration, function, weights)
    return Target(kind="function", name=function, forms=_forms(bundle, stage), stages=(stage,))


def bind(model: Model, target: Target) -> Callable[..., Any]:
    """Returns the callable of a target, its weights read and bound.

    Raises:
      InvalidBundleError: If weights and functions do not fit together.
      UntrustedError: If a program wants what was not granted.
      UnsupportedError: If it cannot run here.
    """
    try:
        for stage in target.stages:
            prepare = getattr(model.bind_stage(stage), "prepare", None)
            if prepare is not None:
                prepare()
        if target.kind == "pipeline":
            return model.pipelines[target.name]
        return model.bind_stage(target.stages[0])
    except SignatureMismatchError as e:
        raise InvalidBundleError(f"{target}: its parts do not fit together: {e}") from e


def _require_stages(bundle: Bundle, name: str, pipeline: Pipeline) -> None:
    missing = [
        stage.function for stage in pipeline.stages if stage.function not in bundle.functions
    ]
    missing += [str(s.weights) for s in pipeline.stages if s.weights not in (None, *bundle.values)]
    if missing or not pipeline.stages:
        found = f"no {', no '.join(map(repr, missing))}" if missing else "no stage at all"
        raise InvalidBundleError(
            f"pipeline {name!r}: expected stages whose functions and weights are in the bundle; "
            f"found {found}; save it again"
        )


def _only_function(bundle: Bundle) -> str:
    public = [
        name
        for name, found in bundle.functions.items()
        if getattr(found, "visibility", Visibility.PUBLIC) is Visibility.PUBLIC
    ]
    if len(public) == 1:
        return public[0]
    found = "several functions" if public else "no public function"
    names = public or bundle.functions
    raise no_default("function", f"{found} and no pipeline", "choose one with --function", names)


def _no_pipeline(name: str | None, orchestration: Orchestration) -> UnknownNameError:
    if name is not None:
        return unknown_name("pipeline", name, orchestration.pipelines)
    found = "several pipelines and no default"
    return no_default("pipeline", found, "choose one with --pipeline", orchestration.pipelines)


def _stage(
    bundle: Bundle, orchestration: Orchestration, function: str, weights: str | None
) -> Stage:
    if weights is not None:
        if weights not in bundle.values:
            raise unknown_name("value", weights, bundle.values)
        return Stage(function=function, role=Role.MODEL, weights=weights)
    found = [
        stage
        for pipeline in orchestration.pipelines.values()
        for stage in pipeline.stages
        if stage.function == function and stage.weights is not None
    ]
    names = sorted({str(stage.weights) for stage in found})
    if len(names) > 1:
        raise SignatureMismatchError(
            f"function {function!r}: expected pipelines that give it one and the same weights; "
            f"found {', '.join(names)}; choose one with --use-weights"
        )
    return found[0] if found else Stage(function=function, role=Role.UNSPECIFIED)


def _forms(bundle: Bundle, stage: Stage) -> tuple[Form, ...]:
    function = bundle.functions[stage.function]
    is_several = isinstance(function, PolymorphicFunction)
    variants = function.functions if is_several else (function,)
    return tuple(_form(bundle, stage, variant) for variant in variants)


def _form(bundle: Bundle, stage: Stage, function: ConcreteFunction) -> Form:
    # The rules for names and weights are those of a pipeline's first stage.
    pipeline = Pipeline(stages=(replace(stage, role=Role.MODEL),))
    objects = {**bundle.objects, stage.function: function}
    (interface,) = stage_interfaces(pipeline, objects, bundle.read_bytes)
    return Form(
        args=tuple(map(_without_pairs, interface.args)),
        kwargs={name: _without_pairs(tree) for name, tree in interface.kwargs.items()},
        names=interface.parameter_names,
        optional=interface.optional,
        constraints=tuple(jax_trees_record(function, bundle.read_bytes).symbolic_constraints),
    )


def _without_pairs(tree: Tree) -> Tree:
    """Returns a tree with string pairs as dicts, which is how a caller gives them."""
    if isinstance(tree, StringPairs):
        found = dict(tree.pairs)
        if len(found) < len(tree.pairs):
            raise UnsupportedError(
                f"signature: expected string pairs with keys of their own; found "
                f"{[name for name, _ in tree.pairs]}; call the function from Python"
            )
        tree = found
    if isinstance(tree, dict):
        return {name: _without_pairs(child) for name, child in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(map(_without_pairs, tree))
    return tree
