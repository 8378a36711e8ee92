"""Loops that count are scans again: equal numbers, gradients, and rows instead of whole arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from jax.export import symbolic_shape

from orbax_model_lite.lift import lift_module


def lifted(function, *specs):
    return lift_module(jax_export.export(jax.jit(function))(*specs).mlir_module_serialized)


def spec(*shape, dtype="float32"):
    return jax.ShapeDtypeStruct(shape, dtype)


def values(*shape):
    return jax.random.normal(jax.random.key(len(shape)), shape)


def scans_of(function, *arguments):
    """Returns every scan that a function traces to, inner ones too."""
    found, stack = [], [jax.make_jaxpr(function)(*arguments).jaxpr]
    while stack:
        for equation in stack.pop().eqns:
            if equation.primitive.name == "scan":
                found.append(equation)
            inner = [getattr(p, "jaxpr", p) for p in equation.params.values()]
            stack.extend(jaxpr for jaxpr in inner if hasattr(jaxpr, "eqns"))
    return found


def differing(outer, inner):
    """Returns how many values of a scan are of another shape in each step: rows of arrays."""
    return sum(x.aval.shape != y.aval.shape for x, y in zip(outer, inner, strict=True))


def total(function):
    return lambda *a: sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(function(*a)))


def require_same(function, *arguments, specs=None, tolerance=1e-5):
    """Compares results and gradients of a lifted function with those of the original."""
    again = lifted(function, *(specs or arguments))
    expected, found = jax.tree.leaves(function(*arguments)), again(*arguments)
    for x, y in zip(expected, found, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
    numbers = tuple(range(len(arguments)))
    expected = jax.grad(total(function), numbers)(*arguments)
    found = jax.jit(jax.grad(total(again), numbers))(*arguments)
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
    return again


def rnn(w, xs, h):
    def step(h, x):
        h = jnp.tanh(h @ w + x)
        return h, 2 * h

    return jax.lax.scan(step, h, xs)


def rnn_reversed(w, xs, h):
    return jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, xs, reverse=True)


def rnn_unrolled(w, xs, h):
    return jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, xs, unroll=3)


def rnn_of_two(w, xs, h):
    def step(h, rows):
        x, y = rows
        return jnp.tanh(h @ w + x * y), {"a": h, "b": 2 * x}

    return jax.lax.scan(step, h, (xs, xs**2))


def indexed(w, xs, h):
    return jax.lax.fori_loop(0, xs.shape[0], lambda i, h: jnp.tanh(h @ w + xs[i]), h)


def indexed_from_two(w, xs, h):
    return jax.lax.fori_loop(2, xs.shape[0] - 1, lambda i, h: jnp.tanh(h @ w + xs[i]), h)


def two_neighbours(w, xs, h):
    return jax.lax.fori_loop(1, xs.shape[0], lambda i, h: h @ w + xs[i] * xs[i - 1], h)


def put(rows, row, i):
    return jax.lax.dynamic_update_index_in_dim(rows, row, i, 0)


def rows_written(w, xs, h):
    def step(i, rows):
        return put(rows, jnp.tanh(xs[i] @ w), i)

    return jax.lax.fori_loop(1, xs.shape[0], step, jnp.outer(jnp.ones(xs.shape[0]), h))


def part_of_rows_written(w, xs, h):
    def step(i, rows):
        part = jnp.tanh(xs[i] @ w)[None, :2]
        return jax.lax.dynamic_update_slice(rows, part, (i, 0))

    return jax.lax.fori_loop(1, xs.shape[0], step, jnp.outer(jnp.ones(xs.shape[0]), h))


def rows_written_and_read(w, xs, h):
    def step(i, rows):
        return put(rows, jnp.tanh(rows[i - 1] @ w + h), i)

    return jax.lax.fori_loop(1, xs.shape[0], step, xs)


def counter_used(w, xs, h):
    return jax.lax.fori_loop(0, 5, lambda i, h: h @ w * i.astype(jnp.float32) + xs[0], h)


def nested(w, xs, h):
    def step(h, x):
        inner = jax.lax.scan(lambda c, y: (jnp.sin(c + y), c), 0.0, x * h)
        return jnp.tanh(h @ w + inner[0]), inner[1]

    return jax.lax.scan(step, h, xs)


def mapped(w, xs, h):
    return jax.lax.map(lambda x: jnp.tanh(x @ w + h), xs)


def checkpointed(w, xs, h):
    return jax.lax.scan(jax.checkpoint(lambda h, x: (jnp.tanh(h @ w + x), h)), h, xs)


def of_no_steps(w, xs, h):
    return jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, xs[:0])


def without_rows(w, xs, h):
    return jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), h), h, length=4)[0] + xs[0]


def scanned_twice(w, xs, h):
    h, ys = jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, xs)
    return jax.lax.scan(lambda h, x: (jnp.cos(h @ w + x), h), h, ys)


def vmapped(w, xs, h):
    return jax.vmap(lambda scale: rnn(w, xs * scale, h))(jnp.arange(3.0))


def with_branches(w, xs, h):
    def step(h, x):
        return jax.lax.cond(x[0] > 0, lambda: jnp.tanh(h @ w), lambda: h + x), h

    return jax.lax.scan(step, h, xs)


FUNCTIONS = [
    rnn,
    rnn_reversed,
    rnn_unrolled,
    rnn_of_two,
    indexed,
    indexed_from_two,
    two_neighbours,
    rows_written,
    part_of_rows_written,
    rows_written_and_read,
    counter_used,
    nested,
    mapped,
    checkpointed,
    of_no_steps,
    without_rows,
    scanned_twice,
    vmapped,
    with_branches,
]

# JAX itself cannot unroll a loop of symbolic length.
SYMBOLIC = [function for function in FUNCTIONS if function is not rnn_unrolled]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_loop_has_the_numbers_and_the_gradient_of_the_original(function):
    arguments = values(4, 4), values(7, 4), values(4)
    again = require_same(function, *arguments)
    assert "while" not in str(jax.make_jaxpr(again)(*arguments))


@pytest.mark.parametrize("function", SYMBOLIC, ids=lambda f: f.__name__)
def test_a_loop_over_a_symbolic_length_has_them_too(function):
    (n,) = symbolic_shape("n", constraints=("n >= 3",))
    require_same(
        function, values(4, 4), values(7, 4), values(4), specs=(spec(4, 4), spec(n, 4), spec(4))
    )


@pytest.mark.parametrize("function", [rnn, rnn_reversed, rnn_of_two, indexed, mapped, nested])
def test_a_loop_stays_symbolic_when_it_is_exported_again(function):
    n, b = symbolic_shape("n, b")
    specs = spec(b, b), spec(n, b), spec(b)
    again = lifted(function, *specs)
    twice = lifted(again, *specs)
    arguments = values(4, 4), values(7, 4), values(4)
    expected = jax.tree.leaves(function(*arguments))
    for x, y in zip(expected, twice(*arguments), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "rows", "stacks"),
    [
        (rnn, 1, 1),
        (rnn_reversed, 1, 1),
        (rnn_of_two, 2, 2),
        (indexed, 1, 0),
        (indexed_from_two, 1, 0),
        (rows_written, 1, 1),
        (two_neighbours, 0, 0),
        (rows_written_and_read, 0, 0),
    ],
)
def test_rows_that_are_read_or_written_in_order_are_scanned_over(function, rows, stacks):
    arguments = values(4, 4), values(7, 4), values(4)
    (scan,) = scans_of(lifted(function, *arguments), *arguments)
    inner = getattr(scan.params["jaxpr"], "jaxpr", scan.params["jaxpr"])
    assert differing(scan.invars, inner.invars) == rows
    assert differing(scan.outvars, inner.outvars) == stacks


def test_a_gradient_keeps_rows_and_no_whole_arrays_for_each_step():
    arguments = values(4, 4), values(1000, 4), values(4)
    again = lifted(rnn, *arguments)
    compiled = [
        jax.jit(jax.grad(total(f), (0, 1, 2))).lower(*arguments).compile() for f in (rnn, again)
    ]
    original, found = (c.memory_analysis().temp_size_in_bytes for c in compiled)
    assert found <= 1.2 * original
