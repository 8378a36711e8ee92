"""The wiring rule, on specs and on values."""

from __future__ import annotations

import pytest

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.orchestration.wiring import WHOLE, Carried, StageInterface, connect, plan


def f32(*shape: int | str | None) -> Spec:
    return Spec(shape=shape, dtype=DType.FLOAT32)


TEXT = Spec(shape=("b",), dtype=DType.STRING)


def stage(name="s", args=(), outputs=None, names=(), optional=(), **kwargs) -> StageInterface:
    return StageInterface(
        name=name,
        args=tuple(args),
        kwargs=kwargs,
        outputs=outputs,
        parameter_names=tuple(names),
        optional=frozenset(optional),
    )


def test_a_tuple_becomes_positional_arguments():
    step = connect((f32("b"), f32("b", 2)), stage(args=[f32("b"), f32("b", 2)]), {})
    assert step.arguments(("x", "y"), {}) == (("x", "y"), {}, {})


def test_a_list_becomes_positional_arguments():
    step = connect([f32("b"), f32("b", 2)], stage(args=[f32("b"), f32("b", 2)]), {})
    assert step.arguments(["x", "y"], {}) == (("x", "y"), {}, {})


def test_a_single_tensor_becomes_one_positional_argument():
    step = connect(f32("b"), stage(args=[f32("b")]), {})
    assert step.arguments("x", {}) == (("x",), {}, {})


def test_a_dict_becomes_keyword_arguments():
    step = connect({"x": f32("b")}, stage(x=f32("b")), {})
    assert step.arguments({"x": 1}, {}) == ((), {"x": 1}, {})


def test_a_dict_fills_positional_parameters_by_their_names():
    after = stage(args=[f32("b"), TEXT], names=["x", "ids"])
    step = connect({"ids": TEXT, "x": f32("b")}, after, {})
    assert step.arguments({"ids": "i", "x": "x"}, {}) == (("x", "i"), {}, {})


def test_an_input_with_a_default_is_left_open_and_what_follows_is_passed_by_name():
    after = stage(args=[f32("b"), f32(), TEXT], names=["x", "scale", "ids"], optional=["scale"])
    before = stage("before", outputs={"ids": TEXT, "x": f32("b")})
    wiring = plan([before, after])
    assert wiring.problems == ()
    (step,) = wiring.steps
    assert step.arguments({"ids": "i", "x": "x"}, {}) == (("x",), {"ids": "i"}, {})
    assert step.kept == ()


def test_an_input_with_a_default_gets_what_has_its_name():
    after = stage(args=[f32("b"), f32()], names=["x", "scale"], optional=["scale"])
    step = connect(f32("b"), after, {"scale": f32()})
    assert step.arguments("x", {"scale": 3})[:2] == (("x", 3), {})


def test_what_is_passed_by_name_behind_a_default_must_fit():
    after = stage(args=[f32("b"), f32(), TEXT], names=["x", "s", "ids"], optional=["s"])
    wiring = plan([stage("before", outputs={"ids": f32("b"), "x": f32("b")}), after])
    assert len(wiring.problems) == 1
    assert "input 'ids'" in wiring.problems[0]


def test_a_dict_is_passed_whole_to_a_stage_whose_one_input_is_a_dict():
    step = connect({"x": f32("b")}, stage(args=[{"x": f32("b")}], names=["features"]), {})
    assert step.args == (WHOLE,)


def test_a_one_tuple_is_spread_to_a_stage_that_takes_one_tensor():
    step = connect((f32("b"),), stage(args=[f32("b")]), {})
    assert step.arguments(("x",), {}) == (("x",), {}, {})


def test_keys_that_the_model_does_not_name_travel_to_the_post_processor():
    pre = stage("pre", outputs={"x": f32("b", 2), "ids": TEXT})
    model = stage("model", args=[f32("b", 2)], names=["x"], outputs=f32("b", 3))
    post = stage("post", args=[f32("b", 3), TEXT], names=["logits", "ids"], outputs={"ids": TEXT})
    wiring = plan([pre, model, post])
    assert not wiring.problems
    to_model, to_post = wiring.steps
    args, kwargs, carried = to_model.arguments({"x": 1, "ids": 2}, {})
    assert (args, kwargs, carried) == ((1,), {}, {"ids": 2})
    assert to_post.arguments("logits", carried) == (("logits", 2), {}, {"ids": 2})


def test_a_carried_key_fills_a_keyword_input():
    step = connect(f32("b"), stage(args=[f32("b")], ids=TEXT), {"ids": TEXT})
    assert step.kwargs == {"ids": Carried("ids")}


def test_a_key_that_is_carried_and_returned_again_is_a_clash():
    pre = stage("pre", outputs={"x": f32("b"), "ids": TEXT})
    model = stage("model", outputs={"y": f32("b"), "ids": TEXT}, x=f32("b"))
    wiring = plan([pre, model, stage("post", y=f32("b"))])
    assert len(wiring.problems) == 1
    assert "'ids'" in wiring.problems[0]
    assert "'pre'" in wiring.problems[0]


@pytest.mark.parametrize(
    ("output", "after", "words"),
    [
        pytest.param(
            f32("b", 4),
            stage("m", args=[Spec(shape=("b", 4), dtype=DType.INT32)], names=["tokens"]),
            ["'tokens'", "expected int32 [b, 4]", "found float32 [b, 4]", "cast"],
            id="dtype",
        ),
        pytest.param(f32("b", 4), stage("m", args=[f32("b", 5)]), ["[b, 4]", "[b, 5]"], id="size"),
        pytest.param(f32("b"), stage("m", args=[f32("b", 5)]), ["[b]", "[b, 5]"], id="rank"),
        pytest.param((f32(), f32()), stage("m", args=[f32()]), ["1 positional", "2"], id="many"),
        pytest.param(f32(), stage("m", args=[f32(), f32()]), ["input '1'", "nothing"], id="few"),
        pytest.param(
            {"a": f32()}, stage("m", b=f32()), ["input 'b'", "found nothing", "{a:"], id="key"
        ),
        pytest.param(
            (f32(),), stage("m", args=[{"a": f32()}]), ["{a: float32 []}", "float32 []"], id="tree"
        ),
    ],
)
def test_a_wire_that_does_not_fit_names_both_sides(output, after, words):
    (problem,) = plan([stage("before", outputs=output), after]).problems
    assert problem.startswith("wire 'before' -> 'm'")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("output", "want"),
    [
        pytest.param(f32(None, 4), f32("b", 4), id="unknown to symbol"),
        pytest.param(f32("b", 4), f32(None, 4), id="symbol to unknown"),
        pytest.param(f32("b", "t"), f32("n", 4), id="symbol to size"),
        pytest.param(Spec(shape=None, dtype=DType.FLOAT32), f32("b", 4), id="unknown rank"),
        pytest.param(f32(4), Spec(shape=(4,), dtype=DType.UNSPECIFIED), id="unspecified dtype"),
    ],
)
def test_what_may_turn_out_to_be_equal_fits(output, want):
    assert not plan([stage("a", outputs=output), stage("b", args=[want])]).problems


def test_an_optional_input_may_stay_open():
    after = stage("m", args=[f32()], optional=["scale"], scale=f32())
    assert not plan([stage("a", outputs=f32()), after]).problems
