"""One call from a model in memory to a bundle on disk."""

from __future__ import annotations

import functools
import os
import platform as machine
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata as installed
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import jax

from orbax_model_lite import __version__, _lazy
from orbax_model_lite.core import examples as core_examples
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, GlobalSupplemental
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.examples import MAX_EXAMPLE_BYTES, require_size
from orbax_model_lite.core.function import Function
from orbax_model_lite.core.metadata import Metadata
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.saving import SaveOptions, save
from orbax_model_lite.core.staging import staged
from orbax_model_lite.core.value import Object
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jax2obm.assignment import assignment_of
from orbax_model_lite.orchestration import (
    DEFAULT_PIPELINE,
    BatchOptions,
    Orchestration,
    require_orchestration,
    stage_interfaces,
    to_data,
)
from orbax_model_lite.packing.author import Example, PipelineSpec, Processors
from orbax_model_lite.packing.chain import WEIGHTS, Chain, in_memory
from orbax_model_lite.packing.recording import as_examples, record
from orbax_model_lite.packing.variants import with_variants
from orbax_model_lite.packing.weights import WeightsFormat, WeightsSource

_FRAMEWORKS = ("jax", "jaxlib", "orbax-checkpoint", "safetensors", "numpy", "protobuf")


Lower: TypeAlias = Literal["auto", "always", "never"]
"""Whether TensorFlow processors are stored as StableHLO too; see `pack`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What `pack` wrote.

    Attributes:
      bundle: The bundle, as `read` gives it.
      assets: Files that the TensorFlow processors brought with them (vocabularies and the like),
        relative to the bundle.
    """

    bundle: Bundle
    assets: tuple[str, ...]


def pack(
    target: str | os.PathLike[str],
    apply_fn: Callable[..., Any],
    params: Any = None,
    inputs: Any = None,
    *,
    name: str = DEFAULT_PIPELINE,
    preprocess: Processors = None,
    postprocess: Processors = None,
    batch_options: BatchOptions | None = None,
    pipelines: Mapping[str, PipelineSpec] | None = None,
    platforms: Sequence[str] | None = None,
    constraints: Sequence[str] = (),
    specializations: Sequence[Mapping[str, int]] = (),
    vjp_order: int = 0,
    lower_tf: Lower = "auto",
    weights_format: WeightsFormat | None = None,
    trackable_resources: Any = None,
    examples: Any = None,
    max_example_bytes: int = MAX_EXAMPLE_BYTES,
    metadata: Metadata | Mapping[str, Any] | None = None,
    allow_large_constants: bool = False,
    overwrite: bool = False,
) -> Packed:
    """Writes a JAX function, its weights and its processors as one bundle; returns what it wrote.

    The bundle appears under `target` only when it is complete.

    Args:
      target: The bundle's folder; it must not exist unless `overwrite` is set.
      apply_fn: The model function, called as `apply_fn(params, ...)`, or `apply_fn(...)` when
        there are no weights.
      params: The weights: a pytree of arrays, or the path of an existing checkpoint (Orbax, or a
        `.safetensors` file), which is copied. None: the function takes no weights.
      inputs: What the first JAX function of the pipeline takes, without weights: arrays,
        `jax.ShapeDtypeStruct`s or shorthand such as "b, 28, 28, 1" or "int32[b, t]". A tuple or
        list gives positional arguments, a dict keyword arguments. May be left out when a
        TensorFlow pre-processor comes first: its outputs tell.
      name: Of the pipeline and of its model function.
      preprocess: TensorFlow or JAX functions run before the model, in order.
      postprocess: TensorFlow or JAX functions run after it, in order.
      batch_options: Advice to a server about this pipeline.
      pipelines: More pipelines by name. The one above stays the default.
      platforms: Lower-case names; None is cpu, cuda and tpu.
      constraints: On symbolic dimensions, as JAX spells them: "b >= 2", "mod(t, 8) == 0".
      specializations: Sizes by symbol, such as `[{"b": 1}, {"b": 8}]`: for each, the functions that
        have the symbol are also written with that size fixed. A call takes the most precise one.
      vjp_order: How often the loaded model functions can be differentiated in reverse without lift;
        so many VJPs are stored with each, as private functions.
      lower_tf: Whether TensorFlow processors are stored as StableHLO too, so that the bundle runs
        without TensorFlow. "auto": those that compile, stay the same at three batch sizes and add
        little; the bundle says of the others why not. "always" raises for these. "never".
      weights_format: "orbax", or "safetensors", which is faster and gives the same bytes for the
        same weights. None keeps the format of a checkpoint, and is "orbax" for a pytree.
      trackable_resources: A `tf.Module` (or any trackable) that holds the variables, tables and
        assets of the TensorFlow functions; None collects them from the functions.
      examples: Inputs to record together with the original's outputs: one call's inputs in the
        form of `inputs`, an `Example`, or a sequence of `Example`.
      max_example_bytes: Limit for all recorded arrays together, in bytes.
      metadata: Facts for people; keys that are not fields of `Metadata` become free keys.
      allow_large_constants: Whether a function may hold more than 64 MB of constants.
      overwrite: Whether a bundle at `target` is replaced; anything else there is never touched.

    Raises:
      InvalidModelError: If functions, weights and wires do not fit together.
      UnsupportedError: If `lower_tf="always"` and a processor has no StableHLO form; names the
        operation that stopped it.
      BundleExistsError: If `target` exists and may not be replaced.
      StorageError: If the file system refuses.

    Example:
      >>> import jax.numpy as jnp
      >>> packed = pack(
      ...     "double.obm", lambda w, x: w * x, jnp.float32(2), "b", platforms=["cpu"]
      ... )
      >>> sorted(packed.bundle.functions)
      ['serving_default']
    """
    source = WeightsSource.of(params, weights_format)
    chain = Chain(
        weights=source.specs() if source else None,
        convert=functools.partial(
            convert,
            platforms=platforms,
            constraints=constraints,
            allow_large_constants=allow_large_constants,
        ),
        tf_options={"lower": lower_tf, "platforms": platforms},
        vjp_order=vjp_order,
    )
    own = PipelineSpec(
        function=apply_fn,
        inputs=inputs,
        preprocess=preprocess,
        postprocess=postprocess,
        batch_options=batch_options,
    )
    orchestration = _convert_all(chain, name, own, pipelines or {})
    draft = _Draft(
        chain=chain,
        functions=with_variants(chain, specializations, constraints),
        source=source,
        orchestration=orchestration,
        metadata=_with_versions(Metadata.of(metadata), has_tensorflow=bool(chain.tensorflow)),
        resources=trackable_resources,
        devices=assignment_of((params, inputs)),
    )
    require_orchestration(orchestration, draft.objects, in_memory)
    recorded = _recorded(draft, as_examples(examples))
    require_size(recorded, max_example_bytes)
    with staged(target, overwrite=overwrite) as folder:
        assets = _write(draft, recorded, folder)
    return Packed(bundle=read(target), assets=assets)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Everything that goes into a bundle, before anything is written."""

    chain: Chain
    functions: Mapping[str, Function]
    source: WeightsSource | None
    orchestration: Orchestration
    metadata: Metadata
    resources: Any
    devices: tuple[Device, ...] | None

    @property
    def objects(self) -> dict[str, Object]:
        objects: dict[str, Object] = dict(self.functions)
        if self.source:
            objects[WEIGHTS] = self.source.value
        return objects


def _recorded(draft: _Draft, examples: Sequence[Example]) -> list[core_examples.Example]:
    if not examples:
        return []
    interfaces = {
        pipeline: stage_interfaces(stages, draft.objects, in_memory)
        for pipeline, stages in draft.orchestration.pipelines.items()
    }
    weights = draft.source.arrays() if draft.source else None
    return record(examples, draft.orchestration, interfaces, draft.chain.callables, weights)


def _write(
    draft: _Draft, recorded: Sequence[core_examples.Example], folder: Path
) -> tuple[str, ...]:
    """Writes a bundle's files; returns the assets that TensorFlow functions brought."""
    supplementals = {
        layout.KEY_ORCHESTRATION: GlobalSupplemental(
            to_data(draft.orchestration), layout.ORCHESTRATION_FILE
        ),
        layout.KEY_METADATA: GlobalSupplemental(draft.metadata.to_data()),
    }
    assets: tuple[str, ...] = ()
    digests = draft.source.write(folder) if draft.source else {}
    if draft.chain.tensorflow:
        assets, data = _write_tensorflow(folder, draft)
        supplementals[layout.KEY_SAVED_MODEL] = GlobalSupplemental(data)
    if recorded:
        supplementals[layout.KEY_EXAMPLES] = GlobalSupplemental(
            core_examples.write_examples(folder, recorded, jax.default_backend())
        )
    options = SaveOptions(
        version=2,
        supplemental_info=supplementals,
        device_assignment_by_coords=draft.devices,
        digests=digests,
    )
    save(draft.objects, folder, options)
    return assets


def _convert_all(
    chain: Chain, name: str, own: PipelineSpec, others: Mapping[str, PipelineSpec]
) -> Orchestration:
    found = {name: chain.add(name, own)}
    for other, spec in others.items():
        found[other] = chain.add(other, _completed(spec, own))
    return Orchestration(pipelines=found, default=name if others else None)


def _completed(spec: PipelineSpec, own: PipelineSpec) -> PipelineSpec:
    is_same = spec.function is None or spec.function is own.function
    inputs = spec.inputs
    if inputs is None and is_same and not spec.preprocess:
        inputs = own.inputs
    return PipelineSpec(
        function=spec.function or own.function,
        inputs=inputs,
        preprocess=spec.preprocess,
        postprocess=spec.postprocess,
        has_weights=spec.has_weights,
        batch_options=spec.batch_options,
    )


def _with_versions(metadata: Metadata, *, has_tensorflow: bool) -> Metadata:
    """Returns the author's metadata with the versions in use, where the author gave none."""
    versions = {"python": machine.python_version(), "orbax_model_lite": __version__}
    for package in (*_FRAMEWORKS, "tensorflow") if has_tensorflow else _FRAMEWORKS:
        # A distribution for CPUs only, or a nightly one, has another name than its module.
        for distribution in (package, f"{package}-cpu"):
            try:
                versions[package] = installed.version(distribution)
                break
            except installed.PackageNotFoundError:
                continue
    return replace(metadata, framework_versions={**versions, **metadata.framework_versions})


def _write_tensorflow(folder: Path, draft: _Draft) -> tuple[tuple[str, ...], Data]:
    write = _lazy.load("orbax_model_lite.tf2obm:save_tf_functions")
    describe = _lazy.load("orbax_model_lite.tf2obm:tf_saved_model_as_obm_supplemental")
    functions = {name: draft.chain.callables[name] for name in draft.chain.tensorflow}
    saved = write(str(folder), functions, draft.resources, subfolder=layout.SAVED_MODEL_FOLDER)
    return tuple(saved.assets), describe(layout.SAVED_MODEL_FOLDER)
