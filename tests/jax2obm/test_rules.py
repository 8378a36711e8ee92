"""Derivative rules are marked, stored, and harm nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from orbax_model_lite import core, jax2obm
from orbax_model_lite.stablehlo.module import functions, parse, text
from orbax_model_lite.stablehlo.rule_marks import RuleKind, marked_rules

pytestmark = pytest.mark.frameworks

X = np.linspace(-2, 2, 6, dtype=np.float32)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), x), lambda saved, g: (g + 0 * saved,))


@jax.custom_jvp
def steep(x):
    return jnp.sin(x)


@steep.defjvp
def _steep_jvp(primals, tangents):
    return steep(primals[0]), 5 * tangents[0]


def mixed(x):
    stopped = jax.lax.stop_gradient(x) * x
    return stopped + straight_through(x) + steep(x) + jax.nn.relu(x)


def rules_of(function, *specs, **options):
    converted = jax2obm.convert(function, specs, **options)
    return {rule.kind: rule for rule in marked_rules(converted.module.content)}, converted


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"platforms": ("cpu",)}, id="one platform"),
        pytest.param({"platforms": ("cpu", "tpu")}, id="two platforms"),
    ],
)
@pytest.mark.parametrize("spec", ["6", "b"], ids=["static", "symbolic"])
def test_every_kind_of_rule_is_marked(spec, options):
    rules, converted = rules_of(mixed, spec, **options)
    assert rules[RuleKind.STOP_GRADIENT].places == 1
    assert rules[RuleKind.LIBRARY].name == "jax.nn.relu"
    assert rules[RuleKind.CUSTOM_VJP].name == "straight_through"
    assert rules[RuleKind.CUSTOM_JVP].name == "steep"
    stored = functions(parse(converted.module.content))
    vjp, jvp = rules[RuleKind.CUSTOM_VJP], rules[RuleKind.CUSTOM_JVP]
    assert {vjp.function, vjp.forward, vjp.backward, jvp.function, jvp.jvp} <= set(stored)
    assert vjp.residuals == 1


@pytest.mark.parametrize("spec", ["6", "b"], ids=["static", "symbolic"])
def test_a_marked_function_gives_the_same_numbers(tmp_path, spec):
    core.save({"f": jax2obm.convert(mixed, (spec,))}, tmp_path / "m")
    bundle = core.read(tmp_path / "m")
    bound = jax2obm.JaxEngine(bundle).bind(bundle.objects["f"])
    np.testing.assert_allclose(bound(X), mixed(X), rtol=1e-6)


def test_stop_gradient_costs_nothing_once_compiled(tmp_path):
    functions_ = {
        "plain": jax2obm.convert(lambda x: x * x, ("6",)),
        "stopped": jax2obm.convert(lambda x: jax.lax.stop_gradient(x) * x, ("6",)),
    }
    core.save(functions_, tmp_path / "m")
    bundle = core.read(tmp_path / "m")
    counts = {}
    for name, function in functions_.items():
        bound = jax2obm.JaxEngine(bundle).bind(bundle.objects[name])
        compiled = jax.jit(bound).lower(X).compile().as_text()
        counts[name] = compiled.count(" = ")
        assert ("obm.rule" in text(function.module.content)) == (name == "stopped")
    assert counts["plain"] == counts["stopped"] > 0


def test_marks_are_among_the_recorded_facts():
    from orbax_model_lite.core import layout
    from orbax_model_lite.core.module_facts import ModuleFacts

    _, converted = rules_of(mixed, "b", platforms=("cpu",))
    data = converted.supplementals[layout.KEY_MODULE_FACTS].data
    recorded = ModuleFacts.from_payload(data.inline_bytes).derivative_rules
    assert recorded["stop_gradient"] == 1
    assert recorded["library jax.nn.relu"] == 1
    assert recorded["custom_vjp straight_through"] == 1


def test_rules_inside_loops_and_branches_are_marked():
    def looped(x):
        def body(carry, _):
            return jax.lax.cond(carry.sum() > 0, straight_through, jax.nn.relu, carry), None

        return jax.lax.scan(body, x, None, length=3)[0]

    rules, _ = rules_of(looped, "6", platforms=("cpu",))
    assert {RuleKind.CUSTOM_VJP, RuleKind.LIBRARY} <= set(rules)


def test_a_function_without_rules_has_no_marks():
    rules, _ = rules_of(lambda x: jnp.tanh(x) * 2, "b", platforms=("cpu",))
    assert RuleKind.CUSTOM_VJP not in rules
    assert RuleKind.OPAQUE not in rules
    assert RuleKind.STOP_GRADIENT not in rules
