"""The graph of one pipeline: its inputs, its stages with their weights, its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_explorer import graph_builder as gb

from orbax_model_lite.core.tree import Tree, flatten_with_path
from orbax_model_lite.explorer import nodes
from orbax_model_lite.explorer.nodes import End
from orbax_model_lite.inspection import PipelineDescription
from orbax_model_lite.orchestration import StageInterface, plan
from orbax_model_lite.orchestration.wiring import Carried, Source, Whole


def pipeline_graph(
    described: PipelineDescription,
    interfaces: Sequence[StageInterface],
    *,
    attributes: Mapping[str, Mapping[str, str]],
    weights: Mapping[str, Mapping[str, str]],
    graphs: Mapping[str, list[str]],
) -> gb.Graph:
    """Returns the graph of a pipeline; edges follow the wiring, carried keys included.

    Args:
      described: The pipeline.
      interfaces: Of its stages.
      attributes: What is known about functions, by name.
      weights: What is known about weights, by name.
      graphs: Ids of the graphs of functions, by name.
    """
    stages = described.stages
    inputs = _inputs(interfaces[0]) if interfaces else []
    made = nodes.end_nodes("input", inputs)
    used = list(dict.fromkeys(stage.weights for stage in stages if stage.weights))
    made += [
        nodes.node(f"weights {name}", _weights_label(name), "weight", weights.get(name, {}))
        for name in used
    ]
    wires = _Wires(interfaces)
    for i, (stage, interface) in enumerate(zip(stages, interfaces, strict=True)):
        edges = [nodes.edge(f"weights {stage.weights}", 0, 0)] if stage.weights else []
        sources = wires.into[i] if i else [(f"input {k}", 0) for k in range(len(inputs))]
        edges += [
            nodes.edge(source, result, k)
            for k, (source, result) in enumerate(sources, start=len(edges))
        ]
        made.append(
            nodes.node(
                _stage_id(i),
                stage.function,
                "stage",
                {"role": stage.role} | dict(attributes.get(stage.function, {})),
                [nodes.described(end) for end in nodes.ends_of(interface.outputs)],
                incomingEdges=edges,
                subgraphIds=graphs.get(stage.function, []),
            )
        )
    outputs = nodes.ends_of(interfaces[-1].outputs) if interfaces else []
    given = nodes.end_nodes("output", outputs)
    for k, end in enumerate(given):
        end.incomingEdges = [nodes.edge(_stage_id(len(stages) - 1), k, 0)]
    told = {"default": "yes" if described.is_default else ""} | {
        f"problem {i}": problem for i, problem in enumerate(wires.problems)
    }
    return gb.Graph(
        id=f"pipeline {described.name}",
        nodes=[*made, *given],
        groupNodeAttributes={"": {key: value for key, value in told.items() if value}},
    )


def broken_pipeline(described: PipelineDescription, problem: str) -> gb.Graph:
    """Returns the graph of a pipeline whose record does not fit the bundle: stages and the problem.

    Args:
      described: The pipeline.
      problem: What is wrong.
    """
    made = [
        nodes.node(
            _stage_id(i),
            stage.function,
            "problem",
            {"role": stage.role, "kind": stage.kind},
            incomingEdges=[nodes.edge(_stage_id(i - 1), 0, 0)] if i else [],
        )
        for i, stage in enumerate(described.stages)
    ]
    identity = f"pipeline {described.name}"
    return gb.Graph(id=identity, nodes=made, groupNodeAttributes={"": {"problem": problem}})


def _inputs(interface: StageInterface) -> list[End]:
    return nodes.input_ends(interface.args, interface.kwargs, interface.parameter_names)


def _weights_label(name: str) -> str:
    return name if name.startswith("weights") else f"weights {name}"


def _stage_id(position: int) -> str:
    return f"stage {position}"


class _Wires:
    """Where the inputs of each stage come from, array by array.

    Attributes:
      into: For each stage after the first, (node, which of its results) of each wire.
      problems: What does not fit.
    """

    def __init__(self, interfaces: Sequence[StageInterface]) -> None:
        wiring = plan(interfaces)
        self.problems = wiring.problems
        self.into: list[list[tuple[str, int]]] = [[]]
        carried: dict[str, list[tuple[str, int]]] = {}
        for i, (before, step) in enumerate(zip(interfaces, wiring.steps, strict=False)):
            found: list[tuple[str, int]] = []
            for source in (*step.args, *(step.kwargs[name] for name in sorted(step.kwargs))):
                found += _arrays(source, i, before.outputs, carried)
            self.into.append(found)
            carried |= {key: _arrays(key, i, before.outputs, carried) for key in step.kept}


def _arrays(
    source: Source, stage: int, outputs: Tree, carried: Mapping[str, list[tuple[str, int]]]
) -> list[tuple[str, int]]:
    if isinstance(source, Carried):
        return carried[source.key]
    paths = [path for path, _ in flatten_with_path(outputs)]
    return [
        (_stage_id(stage), k)
        for k, path in enumerate(paths)
        if isinstance(source, Whole) or path[:1] == (source,)
    ]
