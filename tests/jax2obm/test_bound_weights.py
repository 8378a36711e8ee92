"""A function whose weights are given once is called without them, and is otherwise the same."""

from __future__ import annotations

import threading
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite import core, jax2obm
from orbax_model_lite.errors import InvalidBundleError, SignatureMismatchError
from orbax_model_lite.jax2obm import bound

pytestmark = pytest.mark.frameworks

WEIGHTS = {"b": np.float32(1), "a": [np.arange(3, dtype=np.float32), np.full(3, 2, np.float32)]}


def original(params, x, *, scale):
    return scale * (params["a"][0] * x + params["a"][1]) + params["b"]


@pytest.fixture
def engine(tmp_path):
    scalar = jax.ShapeDtypeStruct((), np.float32)
    function = jax2obm.convert(
        original, (WEIGHTS, "float32[n, 3]"), {"scale": scalar}, platforms=["cpu"]
    )
    core.save({"f": function}, tmp_path / "m")
    return jax2obm.JaxEngine(core.read(tmp_path / "m"))


@pytest.fixture
def function(engine):
    return engine._bundle.objects["f"]


@pytest.fixture
def call(engine, function):
    return engine.bind_weights(function, WEIGHTS)


X = np.arange(6, dtype=np.float32).reshape(2, 3)
SCALE = np.float32(3)


@pytest.mark.parametrize("put", [lambda tree: tree, jax.device_put], ids=["host", "device"])
def test_it_gives_what_the_original_gives(engine, function, put):
    call = engine.bind_weights(function, put(WEIGHTS))
    assert np.array_equal(call(X, scale=SCALE), original(WEIGHTS, X, scale=SCALE))


def test_it_is_the_function_that_was_bound_before(engine, function):
    whole = engine.bind(function)
    call = engine.bind_weights(function, WEIGHTS)
    assert call.__name__ == whole.__name__ == "f"
    assert np.array_equal(call(X, scale=SCALE), whole(WEIGHTS, X, scale=SCALE))
    assert len(engine._bound) == 1


def test_python_numbers_become_arrays(call):
    expected = original(WEIGHTS, X, scale=3)
    assert np.array_equal(call(X.tolist(), scale=3), expected)
    assert np.array_equal(call(X, scale=3.0), expected)
    assert np.array_equal(call(X, scale=SCALE), expected)


def test_it_runs_inside_jit(call):
    inside = jax.jit(lambda x: call(x, scale=SCALE) + 1)
    assert np.array_equal(inside(X), original(WEIGHTS, X, scale=SCALE) + 1)


@pytest.mark.parametrize(
    ("x", "expected", "found"),
    [
        (X.astype(np.float64), "float32", "float64"),
        (X[:, :2], "float32 [n, 3]", "[2, 2]"),
        ({"x": X}, "", "x"),
    ],
    ids=["dtype", "shape", "tree"],
)
def test_arguments_that_do_not_fit_are_named_as_ever(engine, function, call, x, expected, found):
    with pytest.raises(SignatureMismatchError) as plain:
        engine.bind(function)(WEIGHTS, x, scale=SCALE)
    with pytest.raises(SignatureMismatchError) as error:
        call(x, scale=SCALE)
    assert str(error.value) == str(plain.value)
    assert expected in str(error.value)
    assert found in str(error.value)


def test_weights_that_do_not_fit_are_named(engine, function):
    call = engine.bind_weights(function, {**WEIGHTS, "b": np.zeros(2, np.float32)})
    with pytest.raises(SignatureMismatchError, match=r"'params.b'"):
        call(X, scale=SCALE)


def test_a_closed_engine_runs_nothing(engine, call):
    call(X, scale=SCALE)
    engine.close()
    with pytest.raises(InvalidBundleError, match="load it again"):
        call(X, scale=SCALE)


def test_too_many_shapes_are_let_go_of(engine, function, monkeypatch):
    monkeypatch.setattr(bound, "MOST_VARIANTS", 2)
    call = engine.bind_weights(function, WEIGHTS)
    for size in (1, 2, 3, 4, 1):
        x = np.ones((size, 3), np.float32)
        assert np.array_equal(call(x, scale=SCALE), original(WEIGHTS, x, scale=SCALE))


def test_several_threads_may_call_it(call):
    found = {}

    def run(size):
        x = jnp.full((size, 3), size, jnp.float32)
        found[size] = call(x, scale=SCALE)

    threads = [threading.Thread(target=run, args=(size,)) for size in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for size, result in found.items():
        x = np.full((size, 3), size, np.float32)
        assert np.array_equal(result, original(WEIGHTS, x, scale=SCALE))
    assert len(found) == 6


MANY = {f"w{i}": np.full(2, i, np.float32) for i in range(30, 0, -1)}
SUM = np.full(2, sum(i * i for i in range(1, 31)) + 1, np.float32)
PAIR = np.ones(2, np.float32)


class TestManyWeightsByName:
    """A flat dict with so many keys that it is taken apart by name."""

    @pytest.fixture
    def engine(self, tmp_path):
        def weighted(params, x):
            return sum(i * params[f"w{i}"] for i in range(1, 31)) + x

        function = jax2obm.convert(weighted, (MANY, "float32[2]"), platforms=["cpu"])
        core.save({"f": function}, tmp_path / "m")
        return jax2obm.JaxEngine(core.read(tmp_path / "m"))

    def test_reach_their_places_in_any_order(self, engine, function):
        call = engine.bind(function)
        for order in (sorted(MANY), list(MANY)):
            weights = {name: MANY[name] for name in order}
            assert np.array_equal(call(weights, PAIR), SUM)
            assert np.array_equal(engine.bind_weights(function, weights)(PAIR), SUM)

    def test_may_come_in_another_kind_of_dict_and_by_the_name_of_the_argument(
        self, engine, function
    ):
        call = engine.bind(function)
        assert np.array_equal(call(OrderedDict(MANY), PAIR), SUM)
        assert np.array_equal(call(params=MANY, x=PAIR), SUM)

    def test_may_be_traced_and_may_be_lists_of_numbers(self, engine, function):
        call = engine.bind(function)
        assert np.array_equal(jax.jit(call)(MANY, PAIR), SUM)
        numbers = {name: leaf.tolist() for name, leaf in MANY.items()}
        assert np.array_equal(call(numbers, PAIR), SUM)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"w3": np.zeros(2, np.float64)}, "'params.w3'"),
            ({"w3": np.zeros(3, np.float32)}, "'params.w3'"),
            ({"w3": {"deeper": np.zeros(2, np.float32)}}, "'params.w3'"),
            ({"w3": "text"}, "'params.w3'"),
            ({"more": np.zeros(2, np.float32)}, "more"),
        ],
        ids=["dtype", "shape", "tree", "text", "key"],
    )
    def test_are_named_where_one_does_not_fit(self, engine, function, change, named):
        with pytest.raises(SignatureMismatchError, match=named):
            engine.bind(function)({**MANY, **change}, PAIR)

    def test_are_named_where_one_is_missing(self, engine, function):
        weights = {name: leaf for name, leaf in MANY.items() if name != "w3"}
        weights["x3"] = np.zeros(2, np.float32)
        with pytest.raises(SignatureMismatchError, match="w3"):
            engine.bind(function)(weights, PAIR)
