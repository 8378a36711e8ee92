"""A loaded model with something changed: other weights, fixed sizes, one fused function; saved.

Each change gives a new model over the same folder; nothing is written before `save_changed`. What
happens to the objects of the bundle is in `rewriting`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.tree import Tree, map_leaves
from orbax_model_lite.errors import (
    InvalidModelError,
    SignatureMismatchError,
    no_default,
    unknown_name,
)
from orbax_model_lite.orchestration import to_data

if TYPE_CHECKING:
    from orbax_model_lite.core.examples import Example
    from orbax_model_lite.runtime.model import Model


def weights_name(model: Model, name: str | None) -> str:
    """Returns the value that weights replace: the one named, or the default pipeline's.

    Raises:
      UnknownNameError: If there is no such value, or no default one.
    """
    values = model.bundle.values
    if name is not None:
        if name not in values:
            raise unknown_name("value", name, values)
        return name
    default = model.orchestration.default_name
    stages = model.orchestration.pipelines[default].stages if default else ()
    named = [stage.weights for stage in stages if stage.weights is not None]
    if named:
        return named[0]
    if len(values) == 1:
        return next(iter(values))
    found = "several values and no default pipeline" if values else "a bundle without values"
    raise no_default("value", found, "name one", values)


def plain_weights(weights: Any) -> Tree:
    """Returns weights of any pytree kind as the plain tree that a bundle holds."""
    return _lazy.load("orbax_model_lite.jaxtypes:plain")(weights, "weights")[0]


def require_fit(model: Model, name: str) -> None:
    """Checks that the functions which take a value can take the model's.

    Raises:
      SignatureMismatchError: If paths are missing, superfluous or of another shape or dtype.
    """
    for pipeline in model.orchestration.pipelines.values():
        for stage in pipeline.stages:
            if stage.weights == name:
                model.bind_stage(stage)


def specialized_objects(bundle: Bundle, sizes: Mapping[str, int]) -> Bundle:
    """Returns a bundle whose StableHLO functions have these symbolic sizes fixed."""
    for symbol, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidModelError(
                f"size {symbol}: expected an integer of zero or more; found {size!r}; "
                "pass for example b=8"
            )
    specialized = _lazy.load("orbax_model_lite.rewriting:specialized", purpose="specializing")
    return replace(bundle, objects=specialized(bundle, sizes))


def fused_pipeline(model: Model, name: str | None) -> tuple[Bundle, Any]:
    """Returns a bundle with one function for a whole pipeline, and the orchestration that uses it.

    Raises:
      UnknownNameError: If there is no such pipeline, or no default one.
    """
    pipelines = model.orchestration.pipelines
    name = name or model.orchestration.default_name
    if name is None:
        found = "several pipelines and no default" if pipelines else "a bundle without pipelines"
        raise no_default("pipeline", found, "name one", pipelines)
    if name not in pipelines:
        raise unknown_name("pipeline", name, pipelines)
    fused = _lazy.load("orbax_model_lite.rewriting:fused", purpose="fusing a pipeline")
    objects, pipeline = fused(model.bundle, name, pipelines[name])
    orchestration = replace(model.orchestration, pipelines={**pipelines, name: pipeline})
    return replace(model.bundle, objects=objects), orchestration


def save_changed(
    model: Model,
    target: str | os.PathLike[str],
    original: Bundle,
    given: Mapping[str, Tree],
    *,
    overwrite: bool,
) -> Bundle:
    """Writes a changed model as a bundle.

    Args:
      model: The changed model.
      target: The new folder.
      original: The bundle as it was read.
      given: New weights by name of the value.
      overwrite: Whether a bundle at `target` is replaced.
    """
    write = _lazy.load("orbax_model_lite.rewriting:write", purpose="saving a model")
    supplementals = {}
    if model.orchestration.pipelines:
        supplementals[layout.KEY_ORCHESTRATION] = to_data(model.orchestration)
    is_changed = bool(given) or model.bundle is not original
    return write(
        target,
        model.bundle,
        original,
        supplementals=supplementals,
        weights=given,
        examples=_examples(model, outputs_change=bool(given)) if is_changed else None,
        overwrite=overwrite,
    )


def _examples(model: Model, *, outputs_change: bool) -> list[Example]:
    """Returns the recorded calls that the changed model takes; others (another batch) are left out.

    Args:
      model: The changed model.
      outputs_change: Whether its own outputs are recorded instead of the old ones.
    """
    # Running a model does not wait for this import.
    from orbax_model_lite.core.examples import read_example, read_examples_record

    data = model.bundle.supplementals.get(layout.KEY_EXAMPLES)
    kept = []
    for record in read_examples_record(model.bundle.read_bytes(data)) if data else []:
        payload = model.bundle.read_bytes(Data(content=FileRange(path=record.path)))
        example = read_example(payload, record)
        try:
            outputs = model.callable_of(example)(*example.args, **example.kwargs)
        except SignatureMismatchError:
            continue
        kept.append(replace(example, outputs=_host(outputs)) if outputs_change else example)
    return kept


def _host(tree: Tree) -> Tree:
    def host(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        return array.astype(object) if array.dtype.kind in "SU" else array

    return map_leaves(host, tree)
