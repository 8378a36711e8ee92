"""Symbolic sizes: what is the same size, what names stand for, which constraints follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbax_model_lite.inspection.differences import sizes
from orbax_model_lite.inspection.differences.sizes import number, parse, symbol

SAME = {
    "order of a sum": ("b + 1", "1 + b"),
    "order of a product": ("a*b", "b*a"),
    "twice the same": ("b + b", "2*b"),
    "brackets": ("2*(b + 1)", "2*b + 2"),
    "a power": ("b^2", "b*b"),
    "what cancels": ("b - b + 3", "3"),
    "a negative factor": ("-1*b + 4", "4 - b"),
    "inside of a function": ("floordiv(b + b, 2)", "floordiv(2*b, 2)"),
    "arguments of max": ("max(a, b)", "max(b, a)"),
    "spaces": ("2*t+1", "2*t + 1"),
}
OTHER = {
    "another factor": ("2*b", "3*b"),
    "another name": ("b", "c"),
    "another function": ("floordiv(b, 2)", "mod(b, 2)"),
    "arguments of mod": ("mod(a, b)", "mod(b, a)"),
}
HOSTILE = [
    "(" * 500 + "b" + ")" * 500,
    "9^9^9^9",
    "(a + b + c)^16^16",
    "b^999999999",
    "1/0",
    "",
    "b b",
]

names = st.sampled_from("abc")
expressions = st.recursive(
    st.one_of(names, st.integers(0, 9).map(str)),
    lambda below: st.one_of(
        st.tuples(below, st.sampled_from([" + ", " - ", "*"]), below).map(
            lambda parts: f"({''.join(parts)})"
        ),
        st.tuples(st.sampled_from(["max", "min"]), below, below).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
        below.map(lambda inner: f"floordiv({inner}, 2)"),
        below.map(lambda inner: f"mod({inner}, 3)"),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_spellings_of_one_size_are_equal(one, other):
    assert parse(one, {}) == parse(other, {})


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_other_sizes_are_not_equal(one, other):
    assert parse(one, {}) != parse(other, {})


@given(expressions, st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_an_expression_with_numbers_comes_to_what_python_computes(text, a, b, c):
    known = {"a": number(a), "b": number(b), "c": number(c)}
    functions = {"floordiv": lambda x, y: x // y, "mod": lambda x, y: x % y, "max": max, "min": min}
    expected = eval(text, {"__builtins__": {}}, {**functions, "a": a, "b": b, "c": c})
    assert parse(text, known).number == expected


@given(expressions)
def test_the_text_of_a_size_is_the_size(text):
    size = parse(text, {})
    assert parse(str(size), {}) == size


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_cannot_be_computed_is_compared_as_text(text):
    assert parse(text, {}) == symbol(text)


def test_a_name_stands_for_the_size_it_meets():
    found = sizes.bindings([(number(8), "b"), (symbol("t"), "s")])
    assert found == {"b": number(8), "s": symbol("t")}


def test_an_expression_with_one_open_name_is_solved():
    found = sizes.bindings([(number(16), "2*b + 2*c"), (number(3), "c")])
    assert found["b"] == number(5)


def test_a_size_that_no_whole_number_gives_leaves_the_name_open():
    assert sizes.bindings([(number(7), "2*b")]) == {}


def test_expressions_are_solved_in_the_terms_of_before():
    found = sizes.bindings([(parse("4*n + 2", {}), "2*b")])
    assert found["b"] == parse("2*n + 1", {})


@pytest.mark.parametrize(
    ("text", "others", "follows"),
    [
        ("b >= 1", [], True),
        ("b >= 2", [], False),
        ("2*b >= 2", [], True),
        ("b >= 2", ["b >= 4"], True),
        ("b >= 4", ["b >= 2"], False),
        ("b <= 8", ["b <= 4"], True),
        ("b <= 4", ["b <= 8"], False),
        ("mod(b, 8) == 0", ["mod(b, 8) == 0"], True),
        ("mod(b, 8) == 0", ["mod(b, 4) == 0"], False),
        ("b >= 4", ["b == 4"], True),
        ("b == 4", ["b >= 4"], False),
        ("4 == b", ["b == 4"], True),
        ("b + t >= 2", [], True),
        ("8 >= 4", [], True),
        ("8 <= 4", [], False),
    ],
)
def test_a_constraint_follows_from_others_or_not(text, others, follows):
    given_ones = [sizes.constraint(other, {}) for other in others]
    assert sizes.constraint(text, {}).follows_from(given_ones) is follows


def test_a_constraint_on_a_number_is_judged():
    assert sizes.constraint("mod(b, 8) == 0", {"b": number(16)}).is_true
    assert not sizes.constraint("mod(b, 8) == 0", {"b": number(4)}).is_true


def test_names_that_stand_for_each_other_twice_do_not_grow_without_end():
    doubling = [f"n{i + 1} - mod(n{i}, n{i} + 1)" for i in range(16)]
    found = sizes.bindings([(symbol("b"), "n0"), *((number(1), text) for text in doubling)])
    assert max(len(str(size)) for size in found.values()) < 10_000
