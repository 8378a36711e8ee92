"""From a folder to its description; see `description` for what is in it.

A record that does not parse becomes a problem of the description: the rest is shown all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import (
    ConcreteFunction,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.metadata import Metadata
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.value import ExternalValue, Object, UnknownObject
from orbax_model_lite.errors import InvalidBundleError, ObmError
from orbax_model_lite.inspection.description import (
    Description,
    FunctionDescription,
    PipelineDescription,
    StageDescription,
)
from orbax_model_lite.inspection.signatures import brief
from orbax_model_lite.inspection.weights import describe_weights
from orbax_model_lite.orchestration import Orchestration, Role, from_data

_KINDS = {layout.MIME_STABLEHLO: "StableHLO", layout.MIME_TF_FUNCTION: "TensorFlow"}
_ROLES = {Role.PREPROCESSOR: "pre", Role.MODEL: "model", Role.POSTPROCESSOR: "post"}

_T = TypeVar("_T")


def describe(
    bundle: Bundle | str | os.PathLike[str], *, orchestration: Orchestration | None = None
) -> Description:
    """Returns what a bundle says of itself; imports no framework and runs nothing.

    Args:
      bundle: A folder, or what was read from it.
      orchestration: Pipelines to describe in place of the recorded ones.

    Raises:
      InvalidBundleError: If it is no bundle, unfinished, or its manifest is damaged.
      UnsupportedError: If it is of a version that this reader does not know.
      StorageError: If the file system refuses.
    """
    found = bundle if isinstance(bundle, Bundle) else read(bundle)
    return _Describer(found, orchestration).description()


def kind_of(function: ConcreteFunction | PolymorphicFunction) -> str:
    """Returns "StableHLO", "TensorFlow", or the MIME type of another body."""
    if isinstance(function, PolymorphicFunction):
        return ", ".join(sorted({kind_of(variant) for variant in function.functions}))
    mime_type = layout.canonical_mime_type(function.mime_type)
    return _KINDS.get(mime_type, mime_type or "unknown")


class _Describer:
    """One walk through a bundle, which collects problems on the way."""

    def __init__(self, bundle: Bundle, orchestration: Orchestration | None) -> None:
        self._bundle = bundle
        self._given = orchestration
        self._problems: list[str] = []

    def description(self) -> Description:
        bundle = self._bundle
        metadata = self._tried(self._metadata, Metadata())
        sizes = [file.lstat().st_size for file in _files(bundle.path)]
        return Description(
            path=os.fspath(bundle.path),
            layout=bundle.layout,
            size_bytes=sum(sizes),
            file_count=len(sizes),
            content_hash=self._tried(lambda: bundle.content_hash, None),
            metadata=_told(metadata),
            versions=dict(sorted(metadata.framework_versions.items())),
            pipelines=tuple(self._pipelines()),
            functions=tuple(self._functions()),
            weights=tuple(
                describe_weights(bundle, name, value)
                for name, value in bundle.values.items()
                if isinstance(value, ExternalValue)
            ),
            other_objects={n: _kind(o) for n, o in bundle.objects.items() if _kind(o)},
            supplementals={key: data.mime_type or "" for key, data in bundle.supplementals.items()},
            example_count=self._tried(self._example_count, 0),
            device_count=len(bundle.device_assignment) if bundle.device_assignment else None,
            problems=tuple(self._problems),
        )

    def _tried(self, get: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return get()
        except ObmError as e:
            self._problems.append(str(e))
            return otherwise

    def _record(self, key: str) -> bytes | None:
        data = self._bundle.supplementals.get(key)
        return None if data is None else self._bundle.read_bytes(data)

    def _metadata(self) -> Metadata:
        raw = self._record(layout.KEY_METADATA)
        return Metadata() if raw is None else Metadata.from_payload(raw)

    def _example_count(self) -> int:
        raw = self._record(layout.KEY_EXAMPLES)
        where = f"supplemental {layout.KEY_EXAMPLES!r}"
        return len(records.parsed(bundle_info_pb2.Examples(), raw or b"", where).examples)

    def _orchestration(self) -> Orchestration:
        if self._given is not None:
            return self._given
        data = self._bundle.supplementals.get(layout.KEY_ORCHESTRATION)
        if data is None:
            return Orchestration(pipelines={})
        return from_data(self._bundle.read_bytes(data), data.mime_type)

    def _pipelines(self) -> Iterator[PipelineDescription]:
        found = self._tried(self._orchestration, Orchestration(pipelines={}))
        functions = self._bundle.functions
        names = sorted(found.pipelines, key=lambda name: (name != found.default_name, name))
        for name in names:
            stages = [
                StageDescription(
                    role=_ROLES.get(stage.role, "stage"),
                    function=stage.function,
                    weights=stage.weights,
                    kind=kind_of(functions[stage.function])
                    if stage.function in functions
                    else "missing",
                )
                for stage in found.pipelines[name].stages
            ]
            self._problems += [
                f"pipeline {name!r}: no function {stage.function!r} in the bundle; save it again"
                for stage in stages
                if stage.kind == "missing"
            ]
            yield PipelineDescription(
                name=name, is_default=name == found.default_name, stages=tuple(stages)
            )

    def _functions(self) -> Iterator[FunctionDescription]:
        for name, function in self._bundle.functions.items():
            if isinstance(function, PolymorphicFunction):
                for i, variant in enumerate(function.functions):
                    yield self._function(f"{name}, variant {i}", variant)
            else:
                yield self._function(name, function)

    def _function(self, name: str, function: ConcreteFunction) -> FunctionDescription:
        facts = self._tried(lambda: self._facts(function), ModuleFacts())
        lowering = function.lowering if isinstance(function, OpaqueFunction) else None
        body = function.module if isinstance(function, ShloFunction) else function.body
        return FunctionDescription(
            name=name,
            kind=kind_of(function),
            signature=brief(function.signature),
            platforms=function.platforms if isinstance(function, ShloFunction) else (),
            size_bytes=self._tried(lambda: self._size(body, name), None),
            is_public=function.visibility is Visibility.PUBLIC,
            has_stablehlo_form=bool(lowering and lowering.function),
            form_note=_note(function),
            stablehlo_version=facts.stablehlo_version,
            custom_calls=dict(sorted(facts.custom_calls.items())),
            operation_count=sum(facts.operations.values()),
            constant_bytes=facts.constant_bytes,
            data_names=function.data_names,
        )

    def _facts(self, function: ConcreteFunction) -> ModuleFacts:
        if not isinstance(function, ShloFunction):
            return ModuleFacts()
        found = function.supplementals.get(layout.KEY_MODULE_FACTS)
        if found is None:
            return ModuleFacts()
        return ModuleFacts.from_payload(self._bundle.read_bytes(found.data))

    def _size(self, data: Data, name: str) -> int | None:
        if data.inline_bytes is not None:
            return len(data.inline_bytes)
        if data.file is None:
            return None
        path = self._bundle.resolve(data, where=f"function {name!r}")
        if path.is_dir():
            raise InvalidBundleError(
                f"function {name!r}: expected a file; found folder {data.file.path!r}; "
                "the bundle is damaged, save it again"
            )
        return path.stat().st_size if data.file.size is None else data.file.size


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def _told(metadata: Metadata) -> dict[str, str]:
    texts = {}
    for field in fields(Metadata):
        value = getattr(metadata, field.name)
        if field.name in ("authors", "tags"):
            texts[field.name] = ", ".join(value)
        elif isinstance(value, str):
            texts[field.name] = value
    texts |= dict(sorted(metadata.extra.items()))
    return {key: text for key, text in texts.items() if text}


def _note(function: ConcreteFunction) -> str:
    lowering = function.lowering if isinstance(function, OpaqueFunction) else None
    if lowering is None or not lowering.reason:
        return ""
    if not lowering.operation or lowering.reason.startswith(lowering.operation):
        return lowering.reason
    return f"{lowering.operation}: {lowering.reason}"


def _kind(found: Object) -> str:
    if isinstance(found, UnknownObject):
        return "unknown"
    is_listed = isinstance(found, ShloFunction | OpaqueFunction | PolymorphicFunction)
    return "" if is_listed or isinstance(found, ExternalValue) else "tuple"
