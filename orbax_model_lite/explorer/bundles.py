"""From a bundle to what Model Explorer shows: one graph a pipeline, one a function."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from typing import Final

from model_explorer import graph_builder as gb

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.errors import ObmError
from orbax_model_lite.explorer import nodes
from orbax_model_lite.explorer.functions import Interface, module_graphs, opaque_graph
from orbax_model_lite.explorer.nodes import End
from orbax_model_lite.explorer.pipelines import broken_pipeline, pipeline_graph
from orbax_model_lite.inspection import (
    Description,
    FunctionDescription,
    PipelineDescription,
    WeightsDescription,
    describe,
)
from orbax_model_lite.orchestration import (
    Orchestration,
    from_data,
    parameter_names,
    stage_interfaces,
)
from orbax_model_lite.runtime import isolation
from orbax_model_lite.stablehlo.drawn import DrawnFunction

_FORM: Final = ", StableHLO form"


def bundle_graphs(
    path: str | os.PathLike[str],
    *,
    most_values: int = 16,
    limits: isolation.Isolation | None = None,
    ended: Event | None = None,
) -> list[gb.Graph]:
    """Returns the graphs of a bundle, pipelines first.

    Modules are parsed in a child process. A function whose module is damaged is shown by its
    signature, with what is wrong.

    Args:
      path: The bundle's folder.
      most_values: Elements of a constant that are written out.
      limits: Of the child process.
      ended: Ends the child process when it is set.

    Raises:
      InvalidBundleError: If it is no bundle, its manifest is damaged, or a module ended the child.
      UnsupportedError: If it is of a version that this reader does not know.
      StorageError: If the file system refuses.
      MissingDependencyError: If JAX, which draws StableHLO, is not installed.
    """
    return _Collector(read(path), most_values, limits, ended).graphs()


class _Collector:
    """One walk through a bundle."""

    def __init__(
        self,
        bundle: Bundle,
        most_values: int,
        limits: isolation.Isolation | None,
        ended: Event | None,
    ) -> None:
        self._bundle = bundle
        self._description = describe(bundle)
        self._told = {found.name: _told(found) for found in self._description.functions}
        self._orchestration = self._chains()
        self._weights = {
            stage.function: stage.weights
            for pipeline in self._orchestration.pipelines.values()
            for stage in pipeline.stages
            if stage.weights
        }
        self._identities: dict[str, list[str]] = {}
        self._modules: Mapping[str, tuple[DrawnFunction, ...] | str] = {}
        if any(isinstance(function, ShloFunction) for _, _, function in self._concrete()):
            self._modules = isolation.module_graphs(
                bundle, most_values=most_values, isolation=limits, ended=ended
            )

    def graphs(self) -> list[gb.Graph]:
        """Returns all graphs, those of functions last."""
        functions = [graph for found in self._concrete() for graph in self._function(*found)]
        graphs = [*map(self._pipeline, self._description.pipelines), *functions]
        common = _told_of_bundle(self._description)
        for graph in graphs:
            own = (graph.groupNodeAttributes or {}).get("", {})
            graph.groupNodeAttributes = {"": own | common}
        return graphs

    def _chains(self) -> Orchestration:
        data = self._bundle.supplementals.get(layout.KEY_ORCHESTRATION)
        try:
            if data is not None:
                return from_data(self._bundle.read_bytes(data), data.mime_type)
        except ObmError:
            # The description has it among its problems.
            pass
        return Orchestration(pipelines={})

    def _concrete(self) -> Iterator[tuple[str, str, ConcreteFunction]]:
        """Gives (name of the object, beginning of a message, function) of all functions."""
        for name, found in self._bundle.functions.items():
            for where, function in concrete_functions(name, found):
                yield name, where, function

    def _pipeline(self, described: PipelineDescription) -> gb.Graph:
        bundle = self._bundle
        pipeline = self._orchestration.pipelines[described.name]
        try:
            interfaces = stage_interfaces(pipeline, bundle.objects, bundle.read_bytes)
        except ObmError as e:
            return broken_pipeline(described, str(e))
        return pipeline_graph(
            described,
            interfaces,
            attributes=self._told,
            weights={found.name: _told_of_weights(found) for found in self._description.weights},
            graphs=self._identities,
        )

    def _function(self, name: str, where: str, function: ConcreteFunction) -> list[gb.Graph]:
        rest = where.removeprefix(f"function {name!r}")
        identity = f"function {name}{rest}"
        is_form = rest.endswith(_FORM)
        told = {} if is_form else self._told.get(f"{name}{rest}", {})
        interface = self._interface(name, function)
        drawn = self._modules.get(where, ())
        if not is_form:
            self._identities.setdefault(name, []).append(identity)
        if isinstance(function, ShloFunction) and drawn and not isinstance(drawn, str):
            graphs = module_graphs(identity, function, interface, drawn)
        else:
            forms = [f"{identity}{_FORM}"] if f"{where}{_FORM}" in self._modules else []
            problem = {"problem": drawn} if isinstance(drawn, str) else {}
            graphs = [opaque_graph(identity, interface, name, problem | told, forms)]
        graphs[0].groupNodeAttributes = {"": dict(told)}
        return graphs

    def _interface(self, name: str, function: ConcreteFunction) -> Interface:
        signature = function.signature
        try:
            names = parameter_names(function, self._bundle.read_bytes)
        except ObmError:
            names = ()
        inputs = nodes.input_ends(signature.args, signature.kwargs, names)
        weights: dict[int, str] = {}
        if name in self._weights and signature.args:
            called = self._weights[name]
            own = nodes.ends_of(signature.args[0])
            weights = dict.fromkeys(range(len(own)), called)
            inputs[: len(own)] = [End(end.name or called, end.leaf) for end in own]
        return Interface(inputs=inputs, weights=weights, outputs=nodes.ends_of(signature.outputs))


def _told_of_bundle(found: Description) -> dict[str, str]:
    told = {f"bundle {key}": value for key, value in found.metadata.items()}
    told |= {
        "bundle": Path(found.path).absolute().name,
        "bundle size": f"{found.size_bytes:,} bytes in {found.file_count} files",
        "bundle content hash": found.content_hash or "",
    }
    told |= {f"problem of the bundle {i}": text for i, text in enumerate(found.problems)}
    return {key: value for key, value in told.items() if value}


def _told(found: FunctionDescription) -> dict[str, str]:
    calls = ", ".join(f"{name} x{count}" for name, count in found.custom_calls.items())
    told = {
        "kind": found.kind,
        "signature": found.signature,
        "platforms": ", ".join(found.platforms),
        "StableHLO version": found.stablehlo_version,
        "operations": f"{found.operation_count:,}" if found.operation_count else "",
        "custom calls": calls,
        "note": found.form_note,
        "for callers": "" if found.is_public else "no, only for other functions",
    }
    return {key: value for key, value in told.items() if value}


def _told_of_weights(found: WeightsDescription) -> dict[str, str]:
    return {
        "format": found.format,
        "arrays": "" if found.array_count is None else f"{found.array_count:,}",
        "size": f"{found.size_bytes:,} bytes",
        "types": ", ".join(found.dtypes),
        "path": found.path,
        "problem": found.problem,
    }
