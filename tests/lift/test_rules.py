"""Derivative rules that convert marked come back: every derivative is the original function's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.mlir import ir
from jax.tree_util import Partial

from orbax_model_lite import jax2obm
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.lift import lift_module
from orbax_model_lite.lift.functions import lift_function
from orbax_model_lite.stablehlo import jax_rules
from orbax_model_lite.stablehlo.module import functions, parse
from orbax_model_lite.stablehlo.rule_marks import CONSTANTS, PARAMETERS, RULE

pytestmark = pytest.mark.frameworks

X = np.array([-1.7, -0.6, 0.3, 0.9, 1.4, 2.2], np.float32)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), x), lambda saved, g: (g + 0 * saved,))


@jax.custom_jvp
def steep(x):
    return jnp.sin(x)


@steep.defjvp
def _steep_jvp(primals, tangents):
    return steep(primals[0]), 5 * steep(primals[0]) * tangents[0]


@jax.custom_jvp
def steep_around(x):
    return steep(x) * jax.nn.relu(x)


@steep_around.defjvp
def _steep_around_jvp(primals, tangents):
    out, tangent = jax.jvp(lambda x: steep(x) * straight_steep(x), primals, tangents)
    return out * 0 + steep_around(primals[0]), 3 * tangent


@jax.custom_jvp
def straight_steep(x):
    return jnp.floor(x)


straight_steep.defjvps(lambda t, _, x: 7 * t * x)


def of_a_scale(x, scale, number):
    @jax.custom_jvp
    def scaled(x):
        return x * scale + number

    scaled.defjvp(lambda p, t: (scaled(p[0]), 2 * t[0] * scale))
    return scaled(x)


@jax.custom_jvp
def with_integers(x, n):
    return jnp.sin(x) * n, n + 1


@with_integers.defjvp
def _with_integers_jvp(primals, tangents):
    x, n = primals
    return with_integers(x, n), (tangents[0] * n, np.zeros(n.shape, jax.dtypes.float0))


def clipped(limit, x):
    return jnp.clip(x, -limit, limit)


clipped = jax.custom_vjp(clipped, nondiff_argnums=(0,))
clipped.defvjp(lambda limit, x: (jnp.clip(x, -limit, limit), x > 0), lambda limit, up, g: (g * up,))


@jax.custom_vjp
def of_two(x, y):
    return x * y, x + y


of_two.defvjp(
    lambda x, y: (of_two(x, y), (x,)), lambda saved, g: (g[0] * saved[0] + 2 * g[1], None)
)


@jax.custom_vjp
def sized(x):
    return x * x.shape[0]


sized.defvjp(lambda x: (sized(x), x.shape[0]), lambda n, g: (g * n * 3,))


def root(x):
    return jax.lax.custom_root(
        lambda y: y**3 - x,
        jnp.ones_like(x),
        lambda f, y: jnp.cbrt(x),
        lambda g, y: y / g(jnp.ones_like(y)),
    )


def matrix(x):
    n = x.shape[0]
    return jnp.outer(x, x) * 0.1 + jnp.eye(n) * (1 + jnp.arange(n))


def solve(x):
    return jax.scipy.sparse.linalg.cg(lambda v: matrix(x) @ v, x)[0]


AUTHORS = {
    "stop_gradient": lambda x: jax.lax.stop_gradient(x) * x,
    "custom_jvp": steep,
    "custom_jvp defjvps": straight_steep,
    "nested custom_jvp": steep_around,
    "custom_jvp that closes over constants": lambda x: of_a_scale(x, np.float32(3), 2.0),
    "custom_jvp under vmap": jax.vmap(steep),
    "custom_jvp in scan": lambda x: jax.lax.scan(lambda c, v: (steep(c + v), steep(c)), 0.0, x)[1],
    "custom_jvp in cond": lambda x: jax.lax.cond(x[0] > 0, steep, straight_steep, x),
    "two rules": lambda x: steep(x) + jax.nn.relu(jax.lax.stop_gradient(x) * x),
    "a safe square root": lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0),
}
LIBRARY = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "celu": jax.nn.celu,
    "softplus": jax.nn.softplus,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "log_sigmoid": jax.nn.log_sigmoid,
    "logsumexp": lambda x: jax.nn.logsumexp(x) * x,
    "standardize": jax.nn.standardize,
    "logaddexp": lambda x: jnp.logaddexp(x, 2 * x),
    "norm": lambda x: jnp.linalg.norm(x) * x,
    "sinc": jnp.sinc,
    "xlogy": lambda x: jax.scipy.special.xlogy(x, x**2),
    "logit": lambda x: jax.scipy.special.logit(jax.nn.sigmoid(x)),
    "digamma": lambda x: jax.scipy.special.digamma(x + 3),
    "gammaln": lambda x: jax.scipy.special.gammaln(x + 3),
    "erfinv": lambda x: jax.scipy.special.erfinv(jnp.tanh(x)),
    "log_ndtr": jax.scipy.special.log_ndtr,
    "i0e": jax.scipy.special.i0e,
    "zeta": lambda x: jax.scipy.special.zeta(2.5, 1.0 + x**2),
    "gammainc": lambda x: jax.scipy.special.gammainc(2.0, x**2),
    "betainc": lambda x: jax.scipy.special.betainc(2.0, 3.0, jax.nn.sigmoid(x)),
    "sort": jnp.sort,
    "cumsum": jnp.cumsum,
    "cumprod": jnp.cumprod,
    "cummax": jax.lax.cummax,
    "max": lambda x: jnp.max(x) * x,
    "cumlogsumexp": jax.lax.cumlogsumexp,
    "custom_root": root,
}
LOSSES = {
    "cross entropy": lambda x: optax.softmax_cross_entropy(x, jax.nn.softmax(jnp.arange(6.0))) * x,
    "integer labels": lambda x: optax.softmax_cross_entropy_with_integer_labels(x, 2) * x,
    "sigmoid": lambda x: optax.sigmoid_binary_cross_entropy(x, jnp.arange(6.0) % 2),
    "huber": lambda x: optax.huber_loss(x, jnp.ones(6)),
    "cosine": lambda x: optax.cosine_similarity(x, jnp.arange(6.0)) * x,
    "safe norm": lambda x: optax.safe_norm(x - x, 0.1) * x,
}
LINEAR = {
    "cholesky": lambda x: jnp.linalg.cholesky(matrix(x)),
    "qr": lambda x: jnp.linalg.qr(matrix(x))[1],
    "eigh": lambda x: jnp.linalg.eigh(matrix(x))[0],
    "svd": lambda x: jnp.linalg.svd(matrix(x), compute_uv=False),
    "solve": lambda x: jnp.linalg.solve(matrix(x), x),
    "inv": lambda x: jnp.linalg.inv(matrix(x)),
    "det": lambda x: jnp.linalg.det(matrix(x)) * x,
    "cho_solve": lambda x: jax.scipy.linalg.cho_solve((matrix(x), True), x),
    "solve_triangular": lambda x: jax.scipy.linalg.solve_triangular(matrix(x), x, lower=True),
    "expm": lambda x: jax.scipy.linalg.expm(0.1 * matrix(x)),
}
REVERSE = {
    "straight through": straight_through,
    "nondiff argument": Partial(clipped, 1.0),
    "two arguments": lambda x: sum(of_two(x, jnp.cos(x))),
    "a size as residual": sized,
    "custom_vjp in scan": lambda x: jax.lax.scan(lambda c, v: (straight_through(c * v), c), 1.5, x)[
        1
    ],
    "custom_vjp under vmap": jax.vmap(straight_through),
}


def total(function):
    return lambda x: jnp.sum(jnp.cos(function(x)) * jnp.arange(1.0, 1 + x.shape[0]))


def derivatives(function, x, kinds):
    """Returns the derivatives of the kinds that are asked for, with ordinary tangents."""
    loss = total(function)
    gradient = jax.grad(loss)
    every = {
        "jvp": lambda: jax.jvp(function, (x,), (jnp.cos(x),))[1],
        "vjp": lambda: jax.vjp(function, x)[1](jnp.sin(function(x)))[0],
        "grad": lambda: jax.jit(gradient)(x),
        "hessian": lambda: jax.jit(jax.hessian(loss))(x),
        "second": lambda: jax.grad(lambda v: jnp.sum(jnp.sin(gradient(v))))(x),
        "vmap": lambda: jax.vmap(gradient)(jnp.stack([x, x + 0.1])),
    }
    return [every[kind]() for kind in kinds.split()]


def require_same(function, kinds, spec=X, at=X, **options):
    lifted = lift_function(jax2obm.convert(function, (spec,), **options))
    np.testing.assert_allclose(lifted(at), function(at), rtol=1e-4, atol=1e-5)
    expected, found = (derivatives(f, at, kinds) for f in (function, lifted))
    for x, y in zip(expected, found, strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("function", AUTHORS.values(), ids=AUTHORS)
def test_an_authors_rule_gives_every_derivative_of_the_original(function):
    require_same(function, "jvp grad hessian vmap")


@pytest.mark.parametrize("function", AUTHORS.values(), ids=AUTHORS)
def test_so_it_does_at_symbolic_shapes_on_two_platforms(function):
    require_same(function, "jvp grad", "b", platforms=("cpu", "tpu"))


@pytest.mark.parametrize("function", LIBRARY.values(), ids=LIBRARY)
def test_a_function_of_jax_has_its_own_derivative(function):
    require_same(function, "jvp grad")


@pytest.mark.parametrize("function", LOSSES.values(), ids=LOSSES)
def test_a_loss_has_its_own_derivative(function):
    require_same(function, "jvp grad")


@pytest.mark.parametrize("function", LINEAR.values(), ids=LINEAR)
def test_linear_algebra_has_its_own_derivative(function):
    require_same(function, "jvp grad")


@pytest.mark.parametrize("function", REVERSE.values(), ids=REVERSE)
@pytest.mark.parametrize(
    ("spec", "platforms"), [(X, ["cpu"]), ("b", ["cpu", "tpu"])], ids=["static", "symbolic"]
)
def test_a_custom_vjp_has_the_authors_gradient(function, spec, platforms):
    require_same(function, "vjp grad vmap", spec, platforms=platforms)


def test_a_custom_vjp_has_a_second_derivative_like_the_originals():
    require_same(lambda x: sum(of_two(x, jnp.cos(x))), "second")


@pytest.mark.parametrize("function", [jax.nn.sigmoid, jax.nn.silu, jax.nn.softplus, jax.nn.relu])
def test_derivatives_are_finite_where_the_formula_overflows(function):
    require_same(function, "jvp grad", at=np.array([-1e3, -100, 0, 0, 100, 1e3], np.float32))


def test_a_solver_with_its_own_loop_has_a_forward_derivative():
    require_same(solve, "jvp")


def test_rules_with_integers_have_no_tangents_for_them():
    require_same(lambda x: with_integers(x, jnp.arange(6))[0], "jvp grad")


def test_a_rule_in_64_bits_is_traced_in_64_bits_wherever_it_is_differentiated():
    with jax.enable_x64(True):
        stored = jax2obm.convert(lambda x: steep(x) + jax.nn.relu(x), (X.astype(np.float64),))
        lifted = jax.jit(lift_function(stored))
        x = jnp.asarray(X, jnp.float64)
        expected = jax.grad(total(lambda x: steep(x) + jax.nn.relu(x)))(x)
    traced = jax.jit(lambda x: jnp.sum(lifted(x)))
    with jax.enable_x64(True):
        assert jax.grad(total(lifted))(x).dtype == np.float64
        np.testing.assert_allclose(jax.grad(total(lifted))(x), expected, rtol=1e-12)
        assert jax.grad(traced)(x).dtype == np.float64


def test_a_rule_that_was_not_stored_is_refused_by_name():
    def closes_over(x):
        return of_a_scale(x, jnp.sum(jax.lax.stop_gradient(x)), x[0])

    lifted = lift_function(jax2obm.convert(closes_over, (X,)))
    np.testing.assert_allclose(lifted(X), closes_over(X), rtol=1e-5)
    with pytest.raises(UnsupportedError, match=r"'opaque scaled'.*closes over.*derivative=\"prog"):
        jax.grad(total(lifted))(X)


def test_a_rule_whose_functions_were_removed_is_refused_by_name():
    stored = jax2obm.convert(steep, (X,), platforms=("cpu",))
    module = parse(stored.module.inline_bytes)
    for symbol, function in functions(module).items():
        if symbol.endswith("_jvp"):
            function.erase()
    lifted = lift_module(module)
    np.testing.assert_allclose(lifted(X)[0], steep(X), rtol=1e-6)
    with pytest.raises(UnsupportedError, match=r"'custom_jvp steep'.*not in the module"):
        jax.grad(lambda x: jnp.sum(lifted(x)[0]))(X)


def test_a_rule_that_does_not_fit_its_function_is_refused_by_name():
    stored = jax2obm.convert(steep, (X,), platforms=("cpu",))
    module = parse(stored.module.inline_bytes)
    for function in functions(module).values():
        if CONSTANTS not in function.attributes and RULE in function.attributes:
            integer = ir.IntegerType.get_signless(64, module.context)
            function.attributes[CONSTANTS] = ir.IntegerAttr.get(integer, 1)
    lifted = lift_module(module)
    with pytest.raises(UnsupportedError, match=r"'custom_jvp steep'.*do not fit"):
        jax.grad(lambda x: jnp.sum(lifted(x)[0]))(X)


def test_parameters_that_this_jax_does_not_take_are_refused_by_name():
    stored = jax2obm.convert(lambda x: jnp.linalg.cholesky(matrix(x)), (X,), platforms=("cpu",))
    module = parse(stored.module.inline_bytes)
    for function in functions(module).values():
        if PARAMETERS in function.attributes:
            text = ir.StringAttr.get("{'no_such_parameter': 1}", module.context)
            function.attributes[PARAMETERS] = text
    lifted = lift_module(module)
    with pytest.raises(UnsupportedError, match=r"'primitive cholesky'.*does not take"):
        jax.grad(lambda x: jnp.sum(lifted(x)[0]))(X)


def test_the_derivative_of_the_program_is_there_if_asked_for():
    stored = jax2obm.convert(lambda x: jax.lax.stop_gradient(x) * x + steep(x), (X,))
    lifted = lift_function(stored, derivative="program")
    expected = jax.grad(lambda x: jnp.sum(x * x + jnp.sin(x)))(X)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(lifted(x)))(X), expected, rtol=1e-5)


def test_a_mark_names_no_function_but_those_of_jax_that_carry_a_rule():
    assert jax_rules.library_function("jax.nn.relu") is jax.nn.relu
    for name in ("jax.numpy.save", "jax.nn._relu", "os.system", "jax.nn.gelu", "relu", ""):
        assert jax_rules.library_function(name) is None


def test_parameters_are_read_as_a_literal_of_limited_length():
    assert jax_rules.parameters("{'lower': True}") == {"lower": True}
    for text in ("[1]", "{1: 2}", "__import__('os')", "{'a': " + "[" * 200 + "]" * 200 + "}"):
        assert jax_rules.parameters(text) is None
    assert jax_rules.parameters("{'a': '" + "x" * 5000 + "'}") is None


def test_a_scan_by_a_reducer_that_has_a_rule_itself_goes_over_symbolic_sizes():
    stored = jax2obm.convert(jax.lax.cumlogsumexp, ("b, 4",), platforms=["cpu"])
    lifted = lift_function(stored)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(lifted(x), jax.lax.cumlogsumexp(x), rtol=1e-6)
    found, expected = (
        jax.grad(lambda v, f=f: (f(v) ** 2).sum())(x) for f in (lifted, jax.lax.cumlogsumexp)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
