"""Whether stored weights are what the functions of a bundle take, by their headers alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.function import ConcreteFunction, PolymorphicFunction
from orbax_model_lite.core.references import MOST_PARTS, unfolded_counts
from orbax_model_lite.core.report import Finding, severity_of
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, flatten_with_path, map_leaves
from orbax_model_lite.core.value import ExternalValue, NamedTupleValue, TupleValue
from orbax_model_lite.errors import InvalidBundleError, ObmError
from orbax_model_lite.orchestration import Orchestration

_FORMATS = (layout.MIME_SAFETENSORS, layout.MIME_ORBAX_CHECKPOINT)
_ANY = Spec(shape=None, dtype=DType.UNSPECIFIED)


def check_stored_weights(bundle: Bundle, orchestration: Orchestration) -> list[Finding]:
    """Returns what is wrong with weights before any is read; imports no framework.

    Headers are damaged, or name other arrays, shapes or element types than a function of a pipeline
    takes. Weights of formats that no reader knows are left out.

    Args:
      bundle: Whose files are there.
      orchestration: Says which function takes which weights.
    """
    trees: dict[str, Tree] = {}
    findings = []
    for name, value in bundle.values.items():
        if isinstance(value, ExternalValue) and _is_known(value):
            try:
                path = bundle.resolve(value.data)
            except ObmError:  # a matter of references, which are checked before
                continue
            try:
                trees[name] = _stored(path, value.data.mime_type)
            except ObmError as e:
                where = f"weights {name!r}"
                findings.append(Finding(severity=severity_of(e), where=where, message=str(e)))
    counts = unfolded_counts(bundle.objects)
    match = _lazy.load("orbax_model_lite.jax2obm.weights.matching:match")
    for weights, function_name, taken, is_part in _uses(bundle, orchestration):
        if counts.get(weights, 1) > MOST_PARTS:  # a matter of references too
            continue
        found, wanted = _whole(bundle, weights, trees), taken
        if found is None:
            continue
        if any(leaf == _ANY for _, leaf in flatten_with_path(found)):
            # Names are compared where only arrays tell the rest.
            found, wanted = (map_leaves(lambda _: _ANY, tree) for tree in (found, wanted))
        where = f"weights {weights!r} of function {function_name!r}"
        try:
            match(found, wanted, "headers", allow_extra=is_part, error=InvalidBundleError)
        except ObmError as e:
            findings.append(Finding(severity="error", where=where, message=str(e)))
    return findings


def _is_known(value: ExternalValue) -> bool:
    mime_type = layout.canonical_mime_type(value.data.mime_type)
    return mime_type in _FORMATS and value.data.file is not None


def _stored(path: Path, mime_type: str | None) -> Tree:
    stored_tree = _lazy.load("orbax_model_lite.jax2obm.weights.headers:stored_tree")
    tree = stored_tree(path, mime_type, "header")
    return map_leaves(lambda array: array.spec or _ANY, tree)


def _uses(bundle: Bundle, orchestration: Orchestration) -> Iterator[tuple[str, str, Tree, bool]]:
    """Gives weights, function, what it takes of them, and whether it says which those are."""
    stages = {
        (stage.weights, stage.function)
        for pipeline in orchestration.pipelines.values()
        for stage in pipeline.stages
        if stage.weights is not None
    }
    for weights, name in sorted(stages):
        function = bundle.functions.get(name)
        if isinstance(function, PolymorphicFunction):
            function = function.functions[0]
        if isinstance(function, ConcreteFunction) and function.signature.args:
            yield weights, name, function.signature.args[0], bool(function.data_names)


def _whole(bundle: Bundle, name: str, trees: dict[str, Tree]) -> Tree:
    """Returns the tree of a value without circles; None where a part is unknown or missing."""
    value = bundle.objects.get(name)
    if name in trees:
        return trees[name]
    if isinstance(value, TupleValue):
        parts = [_whole(bundle, part, trees) for part in value.elements]
        return None if any(part is None for part in parts) else tuple(parts)
    if isinstance(value, NamedTupleValue):
        named = {key: _whole(bundle, part, trees) for key, part in value.elements}
        return None if any(part is None for part in named.values()) else named
    return None
