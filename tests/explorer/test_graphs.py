"""The graphs of real bundles: whole, named as their signatures say, with every operation once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orbax_model_lite.core import layout
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.core.tree import flatten_with_path, format_path
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.explorer import bundle_graphs
from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.stablehlo.drawing import combiner_of
from orbax_model_lite.stablehlo.module import functions, operations, parse

pytestmark = pytest.mark.frameworks

CORPUS = sorted(Path(__file__).parents[1].glob("corpus/*/model"))
MADE = ("mlp", "loops", "words", "lowered", "functions")
EVERYTHING = [*MADE, *(path.parent.name for path in CORPUS)]
TERMINATORS = {"func.return", "stablehlo.return", "sdy.return"}


@pytest.fixture(scope="session")
def shown(bundles):
    """Returns `shown(name)`: the folder of a bundle, and its graphs by id."""
    known = {}

    def get(name):
        if name not in known:
            path = next((p for p in CORPUS if p.parent.name == name), None) or bundles(name)
            known[name] = path, {graph.id: graph for graph in bundle_graphs(path)}
        return known[name]

    return get


def concrete(path: Path) -> dict[str, ConcreteFunction]:
    """Returns the functions of a bundle by the id that their graph should have."""
    bundle = read(path)
    return {
        f"function {name}" + where.removeprefix(f"function {name!r}"): function
        for name, found in bundle.functions.items()
        for where, function in concrete_functions(name, found)
    }


def attributes(node) -> dict[str, str]:
    return {pair.key: pair.value for pair in node.attrs}


def labelled(graph, *beginnings: str) -> list[str]:
    return [node.label for node in graph.nodes if node.label.startswith(beginnings)]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_edge_comes_from_a_result_that_exists(shown, name):
    for graph in shown(name)[1].values():
        ids = {node.id for node in graph.nodes}
        assert len(ids) == len(graph.nodes)
        for node in graph.nodes:
            for edge in node.incomingEdges:
                assert edge.sourceNodeId in ids
            inputs = [edge.targetNodeInputId for edge in node.incomingEdges]
            assert len(set(inputs)) == len(inputs)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_graph_that_a_node_leads_to_exists_and_no_way_is_a_circle(shown, name):
    graphs = shown(name)[1]

    def descend(identity: str, above: tuple[str, ...]) -> None:
        assert identity not in above
        for node in graphs[identity].nodes:
            for below in node.subgraphIds:
                descend(below, (*above, identity))

    for identity in graphs:
        descend(identity, ())


@pytest.mark.parametrize("name", EVERYTHING)
def test_there_is_one_graph_for_each_function(shown, name):
    path, graphs = shown(name)
    main = [
        identity for identity in graphs if identity.startswith("function") and " / " not in identity
    ]
    assert sorted(main) == sorted(concrete(path))


@pytest.mark.parametrize("name", EVERYTHING)
def test_outputs_are_named_by_their_key_paths(shown, name):
    path, graphs = shown(name)
    for identity, function in concrete(path).items():
        leaves = flatten_with_path(function.signature.outputs)
        wanted = [f"output {format_path(keys)}".strip() for keys, _ in leaves]
        assert labelled(graphs[identity], "output") == wanted
        for node in graphs[identity].nodes:
            if node.label.startswith("output"):
                assert len(node.incomingEdges) == 1


@pytest.mark.parametrize("name", EVERYTHING)
def test_inputs_are_those_of_the_signature_that_the_program_takes(shown, name):
    path, graphs = shown(name)
    for identity, function in concrete(path).items():
        leaves = function.signature.input_leaves
        kept = function.kept_inputs if isinstance(function, ShloFunction) else range(len(leaves))
        found = [
            attributes(node)["type"]
            for node in graphs[identity].nodes
            if node.label.startswith(("input", "weight"))
        ]
        assert found == [str(leaves[i]) for i in kept]


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_operation_of_a_module_is_drawn_once(shown, name):
    path, graphs = shown(name)
    bundle = read(path)
    for identity, function in concrete(path).items():
        if isinstance(function, ShloFunction):
            own = [
                g
                for key, g in graphs.items()
                if key == identity or key.startswith(f"{identity} / ")
            ]
            drawn = [
                attributes(node)["operation"]
                for graph in own
                for node in graph.nodes
                if "operation" in attributes(node) and "repeats" not in attributes(node)
            ]
            module = parse(bundle.read_bytes(function.module))
            assert sorted(drawn) == sorted(expected_operations(module, len(own)))


def expected_operations(module, graphs: int) -> list[str]:
    """Returns the names of operations but terminators, combiners and calls drawn as groups."""
    there = functions(module)
    found = [
        operation.name
        for function in there.values()
        for operation in operations(function)
        if operation.name not in TERMINATORS | {"func.func"} and not is_combining(operation)
    ]
    # Each function but those with graphs of their own is drawn where it is called, for its call.
    for _ in range(len(there) - graphs):
        found.remove("func.call")
    return found


def is_combining(operation) -> bool:
    parent = operation.parent
    return parent is not None and parent.name != "func.func" and bool(combiner_of(parent.operation))


def test_arguments_have_the_names_of_the_function_and_weights_their_key_paths(shown):
    graph = shown("mlp")[1]["function serving_default"]
    assert labelled(graph, "weight", "input") == [
        *("weight b", "weight top.kernel", "weight w", "input x")
    ]


def test_weights_are_beside_what_uses_them(shown):
    graph = shown("mlp")[1]["function serving_default"]
    places = {node.label: node.namespace for node in graph.nodes}
    assert places["weight b"] == places["weight w"] == "hidden"
    assert places["weight top.kernel"] == "top"
    assert places["input x"] == ""


def test_scopes_of_the_author_are_groups(shown):
    graph = shown("mlp")[1]["function serving_default"]
    assert {"hidden", "top"} <= {node.namespace for node in graph.nodes}
    assert [node.namespace for node in graph.nodes if node.label == "tanh"] == ["hidden"]


def test_loops_and_branches_are_groups_with_their_regions(shown):
    graph = shown("loops")[1]["function serving_default"]
    groups = {node.namespace for node in graph.nodes}
    assert {"stack/while/condition", "stack/while/body"} <= groups
    assert {"cond/branch 0", "while/body"} <= groups


def test_a_pipeline_leads_from_its_inputs_through_its_stages_to_its_outputs(shown):
    graph = shown("words")[1]["pipeline serving_default"]
    by_id = {node.id: node for node in graph.nodes}
    edges = {
        (by_id[edge.sourceNodeId].label, node.label)
        for node in graph.nodes
        for edge in node.incomingEdges
    }
    assert edges == {
        ("input text", "before"),
        ("input ids", "before"),
        ("before", "serving_default"),
        ("weights", "serving_default"),
        ("before", "after"),  # the ids, which travel past the model
        ("serving_default", "after"),
        ("after", "output best"),
        ("after", "output ids"),
    }


def test_stages_lead_to_the_graphs_of_their_functions(shown):
    graph = shown("words")[1]["pipeline serving_default"]
    below = {node.label: node.subgraphIds for node in graph.nodes if node.subgraphIds}
    assert below == {name: [f"function {name}"] for name in ("before", "serving_default", "after")}


def test_a_tensorflow_function_is_one_node_between_its_named_ends(shown):
    graph = shown("words")[1]["function before"]
    assert [node.label for node in graph.nodes] == [
        *("input text", "input ids", "before", "output ids", "output x")
    ]
    function = graph.nodes[2]
    assert attributes(function)["kind"] == "TensorFlow"
    assert function.subgraphIds == []


def test_the_stablehlo_form_of_a_tensorflow_function_is_a_graph_below_it(shown):
    graphs = shown("lowered")[1]
    (name,) = (i for i in graphs if i.endswith(", StableHLO form"))
    assert name == "function doubled, StableHLO form"
    function = next(n for n in graphs["function doubled"].nodes if n.label == "doubled")
    assert function.subgraphIds == [name]
    assert "multiply" in [node.label for node in graphs[name].nodes]


def test_results_have_shapes_for_edges_to_show(shown):
    graph = shown("mlp")[1]["function serving_default"]
    (tanh,) = (node for node in graph.nodes if node.label == "tanh")
    shapes = {pair.key: pair.value for pair in tanh.outputsMetadata[0].attrs}
    assert shapes == {"shape": "f32[?, 8]"}


def test_a_damaged_module_is_shown_by_its_signature_with_what_is_wrong(bundles, tmp_path):
    path = tmp_path / "mlp.obm"
    shutil.copytree(bundles("mlp"), path)
    module = read(path).functions["serving_default"].module.file.path
    (path / module).write_bytes(b"ML\xefR damaged")
    graph = {graph.id: graph for graph in bundle_graphs(path)}["function serving_default"]
    (function,) = (node for node in graph.nodes if node.id == "function")
    assert "expected" in attributes(function)["problem"]
    assert labelled(graph, "output") == ["output logits", "output norm"]


def test_a_pipeline_of_a_function_that_is_missing_says_so(bundles, tmp_path):
    path = tmp_path / "mlp.obm"
    shutil.copytree(bundles("mlp"), path)
    record = read(path).supplementals[layout.KEY_ORCHESTRATION].file.path
    damaged = (path / record).read_bytes().replace(b"serving_default", b"serving_xxxxxxx")
    (path / record).write_bytes(damaged)
    (path / "integrity.pb").unlink()
    graphs = bundle_graphs(path)
    assert any("serving_xxxxxxx" in str(graph.groupNodeAttributes) for graph in graphs)


def test_a_module_that_outlasts_its_child_process_is_an_error(bundles):
    with pytest.raises(InvalidBundleError, match=r"expected an end within 0\.001 s"):
        bundle_graphs(bundles("mlp"), limits=Isolation(timeout_s=0.001))


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(InvalidBundleError):
        bundle_graphs(tmp_path)
