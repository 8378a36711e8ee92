"""A module as graphs: what becomes a node, a wire, a group, a graph of its own."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.stablehlo.drawing import draw
from orbax_model_lite.stablehlo.drawn import ARGUMENT, DrawnFunction, from_json

pytestmark = pytest.mark.frameworks

T = "tensor<2xf32>"


def function(name: str, *lines: str, visibility: str = "private") -> str:
    """Returns a function of one tensor; `lines` define `%r`."""
    body = "\n".join(lines)
    return f"func.func {visibility} @{name}(%x: {T}) -> {T} {{\n{body}\nreturn %r : {T}\n}}\n"


def call(name: str, operand: str = "%x", result: str = "%r") -> str:
    return f"{result} = call @{name}({operand}) : ({T}) -> {T}"


def module(*functions: str) -> str:
    return "module {\n" + "".join(functions) + "}"


def labels(drawn: DrawnFunction) -> list[str]:
    return ["/".join((*n.namespace, n.name.rpartition(".")[2])) for n in drawn.nodes]


def main(*lines: str) -> str:
    return function("main", *lines, visibility="public")


def test_operations_are_nodes_and_values_are_wires():
    (drawn,) = draw(
        module(main(f"%a = stablehlo.sine %x : {T}", f"%r = stablehlo.add %a, %x : {T}"))
    )
    x, sine, add = drawn.nodes
    assert [n.name for n in drawn.nodes] == [ARGUMENT, "stablehlo.sine", "stablehlo.add"]
    assert sine.operands == ((x.id, 0),)
    assert add.operands == ((sine.id, 0), (x.id, 0))
    assert drawn.arguments == (x.id,)
    assert drawn.results == ((add.id, 0),)
    assert add.results == ("f32[2]",)


def test_a_function_that_is_called_once_is_a_group_where_it_is_called():
    (drawn,) = draw(
        module(
            main(call("f", result="%a"), f"%r = stablehlo.sine %a : {T}"),
            function("f", f"%r = stablehlo.tanh %x : {T}"),
        )
    )
    assert labels(drawn)[1:] == ["f/tanh", "sine"]
    x, tanh, sine = drawn.nodes
    assert (tanh.operands, sine.operands) == (((x.id, 0),), ((tanh.id, 0),))


def test_a_function_that_is_called_twice_has_one_graph_of_its_own():
    top, f = draw(
        module(
            main(call("f", result="%a"), call("f", "%a")),
            function("f", f"%r = stablehlo.tanh %x : {T}"),
        )
    )
    assert labels(top) == [ARGUMENT, "call", "call"]
    assert [n.calls for n in top.nodes] == [(), ("f",), ("f",)]
    assert (f.name, labels(f)) == ("f", [ARGUMENT, "tanh"])


def test_functions_that_double_each_other_are_drawn_once_each():
    chain = [
        function(f"f{i}", call(f"f{i + 1}", result="%a"), call(f"f{i + 1}", "%a"))
        for i in range(60)
    ]
    last = function("f60", f"%r = stablehlo.tanh %x : {T}")
    drawn = draw(module(main(call("f0")), *chain, last))
    assert sum(len(f.nodes) for f in drawn) < 200


def test_functions_that_call_each_other_in_a_circle_are_drawn_once():
    drawn = draw(
        module(
            main(f"%r = stablehlo.sine %x : {T}"),
            function("f", call("g", result="%a"), f"%r = stablehlo.tanh %a : {T}"),
            function("g", call("f", result="%a"), f"%r = stablehlo.sine %a : {T}"),
            function("itself", call("itself")),
        )
    )
    names = [label for one in drawn for label in labels(one)]
    assert sorted(name.rpartition("/")[2] for name in names if ARGUMENT not in name) == [
        *("call", "call", "sine", "sine", "tanh")
    ]


def test_calls_within_calls_are_groups_within_groups_to_a_depth():
    depth = 300
    chain = [function(f"f{i}", call(f"f{i + 1}")) for i in range(depth)]
    last = function(f"f{depth}", f"%r = stablehlo.tanh %x : {T}")
    drawn = draw(module(main(call("f0")), *chain, last))
    names = [label for one in drawn for label in labels(one)]
    assert any(name.startswith("f0/f1/f2/call") or "f0/f1/f2/" in name for name in names)
    assert sum(name.endswith("tanh") for name in names) == 1


def test_a_function_that_nothing_calls_has_a_graph():
    drawn = draw(
        module(
            main(f"%r = stablehlo.sine %x : {T}"), function("f", f"%r = stablehlo.tanh %x : {T}")
        )
    )
    assert [one.name for one in drawn] == ["main", "f"]


WHILE = """
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %out:2 = stablehlo.while(%i = %zero, %v = %x) : tensor<i32>, tensor<2xf32>
   cond {
    %five = stablehlo.constant dense<5> : tensor<i32>
    %c = stablehlo.compare LT, %i, %five : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  } do {
    %n = stablehlo.add %i, %i : tensor<i32>
    %w = stablehlo.sine %v : tensor<2xf32>
    stablehlo.return %n, %w : tensor<i32>, tensor<2xf32>
  }
  %r = stablehlo.tanh %out#1 : tensor<2xf32>
"""


def test_regions_are_groups_that_take_the_operands_and_lead_to_their_operation():
    (drawn,) = draw(module(main(WHILE)))
    by_label = dict(zip(labels(drawn), drawn.nodes, strict=True))
    loop, sine = by_label["while/while"], by_label["while/body/sine"]
    x = drawn.nodes[[n.id for n in drawn.nodes].index(drawn.arguments[0])]
    taken = next(n for n in drawn.nodes if (n.id, 0) == sine.operands[0])
    assert taken.namespace == ("while", "body")
    assert taken.operands == ((x.id, 0),)
    assert (sine.id, 0) in loop.operands
    assert by_label["tanh"].operands == ((loop.id, 1),)
    assert "while/condition/compare" in by_label


def test_the_operation_that_a_reduction_repeats_is_an_attribute():
    lines = """
      %zero = stablehlo.constant dense<0.0> : tensor<f32>
      %s = stablehlo.reduce(%x init: %zero) applies stablehlo.maximum across dimensions = [0]
        : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %r = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<2xf32>
    """
    (drawn,) = draw(module(main(lines)))
    assert labels(drawn) == [ARGUMENT, "constant", "reduce", "broadcast_in_dim"]
    assert drawn.nodes[2].attributes["combines with"] == "stablehlo.maximum"


def test_scopes_are_groups_without_what_was_traced_and_without_the_primitive():
    source = module(
        main(
            f'%a = stablehlo.sine %x : {T} loc("jit(f)/layer_0/attention/sin")',
            f'%r = stablehlo.tanh %a : {T} loc("jit(f)/tanh")',
        )
    )
    assert labels(draw(source)[0])[1:] == ["layer_0/attention/sine", "tanh"]


def test_a_constant_is_drawn_in_each_group_that_uses_it_and_counted_once():
    source = module(
        main(
            f"%c = stablehlo.constant dense<2.0> : {T}",
            f'%a = stablehlo.add %x, %c : {T} loc("jit(f)/one/add")',
            f'%b = stablehlo.add %a, %c : {T} loc("jit(f)/two/add")',
            f'%r = stablehlo.multiply %b, %c : {T} loc("jit(f)/two/mul")',
        )
    )
    (drawn,) = draw(source)
    constants = [n for n in drawn.nodes if n.name == "stablehlo.constant"]
    assert [n.namespace for n in constants] == [("one",), ("two",)]
    assert [n.copy_of for n in constants] == ["", constants[0].id]
    assert len({n.id for n in drawn.nodes}) == len(drawn.nodes)


@pytest.mark.parametrize(
    ("constant", "text"),
    [
        ("dense<[1.5, 2.5]> : tensor<2xf32>", "dense<[1.500000e+00, 2.500000e+00]>"),
        ("dense<3.0> : tensor<1000xf32>", "dense<3.000000e+00>"),
        ('dense<"0x0000803F00000040"> : tensor<2xf32>', "dense<[1.000000e+00, 2.000000e+00]>"),
        (f"dense<{list(range(100))}> : tensor<100xi32>", "100 values"),
    ],
    ids=["short", "one value", "bytes", "long"],
)
def test_short_constants_are_written_out(constant, text):
    source = module(main(f"%c = stablehlo.constant {constant}", f"%r = stablehlo.sine %x : {T}"))
    found = next(n for n in draw(source)[0].nodes if n.name == "stablehlo.constant")
    assert found.attributes["value"] == text


def test_complex_constants_do_not_stop_the_drawing():
    constant = "%c = stablehlo.constant dense<[(1.0, 2.0), (3.0, 4.0)]> : tensor<2xcomplex<f32>>"
    (drawn,) = draw(module(main(constant, f"%r = stablehlo.sine %x : {T}")))
    assert drawn.nodes[1].attributes["value"] == "elements of complex<f32>[2]"


def test_a_node_comes_after_those_it_takes_from():
    drawn = draw(module(main(WHILE)))[0]
    seen: set[str] = set()
    for node in drawn.nodes:
        assert {source for source, _ in node.operands} <= seen
        seen.add(node.id)


def test_a_drawing_survives_json():
    (drawn,) = draw(module(main(WHILE)))
    assert from_json(json.loads(json.dumps(asdict(drawn)))) == drawn


def test_what_does_not_parse_is_refused():
    with pytest.raises(InvalidBundleError, match="expected MLIR text"):
        draw("no module")
