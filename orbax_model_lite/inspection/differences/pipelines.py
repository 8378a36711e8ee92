"""The pipelines of two bundles: their stages, and what callers of the whole see of them."""

from __future__ import annotations

from collections.abc import Iterator

from orbax_model_lite.core import layout
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.inspection.differences import traits
from orbax_model_lite.inspection.differences.nouns import Change, Kind
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.differences.signatures import Interface, signature_changes
from orbax_model_lite.orchestration import (
    BatchOptions,
    Orchestration,
    Pipeline,
    Role,
    Stage,
    from_data,
    stage_interfaces,
)

_ROLES = {Role.PREPROCESSOR: "pre", Role.MODEL: "model", Role.POSTPROCESSOR: "post"}


def orchestration(side: Side) -> Orchestration:
    """Returns the record of pipelines of a bundle; one without any where it has none.

    Raises:
      InvalidBundleError: If the record is damaged.
    """
    data = side.bundle.supplementals.get(layout.KEY_ORCHESTRATION)
    if data is None:
        return Orchestration(pipelines={})
    raw = side.read_bytes(data)
    with side.errors():
        return from_data(raw, data.mime_type)


def outer_functions(found: Orchestration) -> set[str]:
    """Returns the functions that pipelines begin and end with."""
    chains = [pipeline.stages for pipeline in found.pipelines.values() if pipeline.stages]
    return {stage.function for stages in chains for stage in (stages[0], stages[-1])}


def pipeline_changes(before: Side, after: Side) -> Iterator[Change]:
    """Gives what changed; stages that are the same and do something else are not looked into."""
    old, new = orchestration(before), orchestration(after)
    for name, pipeline in old.pipelines.items():
        where = f"pipeline {name!r}"
        if name not in new.pipelines:
            yield _change(where, "removed", (_chain(pipeline), ""), is_breaking=True)
            continue
        follower = new.pipelines[name]
        yield from _one(where, (before, pipeline), (after, follower))
    for name, pipeline in new.pipelines.items():
        if name not in old.pipelines:
            yield _change(f"pipeline {name!r}", "added", ("", _chain(pipeline)))
    if old.default_name != new.default_name:
        texts = old.default_name or "", new.default_name or ""
        kind: Kind = "changed" if all(texts) else "added" if texts[1] else "removed"
        # A new default does not matter to those who had none.
        yield _change("default pipeline", kind, texts, is_breaking=bool(texts[0]))


def _one(
    where: str, before: tuple[Side, Pipeline], after: tuple[Side, Pipeline]
) -> Iterator[Change]:
    old, new = before[1], after[1]
    if old.stages != new.stages:
        texts = _chain(old), _chain(new)
        try:
            changes = signature_changes(
                _interface(*before), _interface(*after), where, section="pipelines"
            )
        except InvalidModelError as e:
            reason = f"what it takes and gives is not known: {e}"
            yield _change(where, "changed", texts, is_breaking=True, reason=reason)
        else:
            yield _change(where, "changed", texts)
            yield from changes
    if old.batch_options != new.batch_options:
        texts = _options(old.batch_options), _options(new.batch_options)
        yield _change(f"{where}, batch options", "changed", texts)


def _interface(side: Side, pipeline: Pipeline) -> Interface:
    """Returns what callers of a whole pipeline see: the first inputs and the last outputs."""
    with side.errors():
        stages = stage_interfaces(pipeline, side.bundle.objects, side.bundle.read_bytes)
    if not stages:
        raise InvalidModelError("expected at least one stage; found none; name a model function")
    first, last = stages[0], stages[-1]
    with side.errors():
        constraints = _constraints(side, first.name)
    return Interface(
        args=first.args,
        kwargs=first.kwargs,
        outputs=last.outputs,
        names=first.parameter_names,
        optional=first.optional,
        constraints=constraints,
    )


def _constraints(side: Side, name: str) -> tuple[str, ...]:
    """Returns the constraints on sizes of a function; of the first variant, as wires have it."""
    function = traits.variants(side.bundle.functions[name])[0]
    return tuple(jax_trees_record(function, side.bundle.read_bytes).symbolic_constraints)


def _chain(pipeline: Pipeline) -> str:
    return " -> ".join(map(_stage, pipeline.stages))


def _stage(stage: Stage) -> str:
    weights = f" + {stage.weights}" if stage.weights else ""
    return f"{_ROLES.get(stage.role, 'stage')} {stage.function}{weights}"


def _options(options: BatchOptions | None) -> str:
    if options is None:
        return "none"
    sizes = ", ".join(map(str, options.allowed_batch_sizes)) or "any"
    return (
        f"{options.component.name.lower()}, at most {options.max_batch_size}, sizes {sizes}, "
        f"timeout {options.batch_timeout_micros} us, {options.num_batch_threads} threads, "
        f"{options.max_enqueued_batches} enqueued, {options.padding_policy.name.lower()}, "
        f"splitting {'off' if options.disable_large_batch_splitting else 'on'}"
    )


def _change(
    where: str,
    kind: Kind,
    texts: tuple[str, str],
    *,
    is_breaking: bool = False,
    reason: str = "",
) -> Change:
    return Change(
        section="pipelines",
        where=where,
        kind=kind,
        before=texts[0],
        after=texts[1],
        is_breaking=is_breaking,
        reason=reason,
    )
