"""Properties: whatever is converted and bound gives what the original gives."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orbax_model_lite.core.tree import leaves
from orbax_model_lite.jax2obm import convert
from orbax_model_lite.jaxtypes import plain
from orbax_model_lite.jaxtypes.trees import make_plain

pytestmark = pytest.mark.frameworks


class Pair(NamedTuple):
    first: Any
    second: Any


DTYPES = ["float32", "float64", "int32", "int64", "bfloat16", "complex64", "uint8", "int4", "bool"]
# The one symbol and its sizes are drawn apart, so that one conversion is called at several sizes.
dims = st.sampled_from([1, 2, 3, "b", "2*b", "b + 1"])
specs = st.tuples(st.sampled_from(DTYPES), st.lists(dims, max_size=3).map(tuple))
trees = st.recursive(
    specs.map(lambda spec: Leaf(*spec)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.lists(below, min_size=1, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from("abc"), below, max_size=3),
        st.dictionaries(st.integers(8, 11), below, max_size=3),
        st.dictionaries(st.sampled_from("cab"), below, max_size=3).map(collections.OrderedDict),
        st.builds(Pair, below, below),
        st.none(),
    ),
    max_leaves=6,
)


class Leaf(NamedTuple):
    """One input: a dtype and its dimensions."""

    dtype: str
    shape: tuple[Any, ...]

    def sized(self, size: int) -> tuple[int, ...]:
        values = {"b": size, "2*b": 2 * size, "b + 1": size + 1}
        return tuple(values.get(dim, dim) for dim in self.shape)

    @property
    def shorthand(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def mapped(function, tree):
    return jax.tree.map(function, tree, is_leaf=lambda node: isinstance(node, Leaf))


def arrays(tree, size, seed):
    source = np.random.default_rng(seed)

    def array(leaf):
        dtype = np.dtype(getattr(jnp, leaf.dtype))
        return source.integers(0, 4, leaf.sized(size)).astype(dtype)

    return mapped(array, tree)


def function(args, kwargs):
    """Keeps the tree and the types, and mixes leaves so that their order matters."""
    flat, structure = jax.tree.flatten((args, kwargs))
    total = sum(
        (
            leaf.astype(jnp.float32).sum() * (i + 1)
            for i, leaf in enumerate(jnp.real(leaf) for leaf in flat)
        ),
        start=jnp.float32(0),
    )
    doubled = jax.tree.unflatten(structure, [jnp.flip(leaf) for leaf in flat])
    return {"total": total, "same": doubled}


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(trees, max_size=3),
    st.dictionaries(st.sampled_from("xyz"), trees, max_size=2),
    st.integers(0, 2**16),
)
def test_a_converted_function_gives_what_the_original_gives_at_every_size(
    bound, args, kwargs, seed
):
    plain_b = [Leaf("float32", ("b",))]

    def call(b, *args, **kwargs):
        return function(args, kwargs), b

    specs = mapped(lambda leaf: leaf.shorthand, (*plain_b, *args))
    converted = convert(call, specs, mapped(lambda leaf: leaf.shorthand, kwargs), platforms=["cpu"])
    stored = bound(converted)
    for size in (1, 3):
        given_args = arrays((*plain_b, *args), size, seed)
        given_kwargs = arrays(kwargs, size, seed + 1)
        found = stored(*given_args, **given_kwargs)
        with jax.enable_x64(True):
            expected = plain(jax.jit(call)(*given_args, **given_kwargs))[0]
        assert type(found) is type(expected)
        pairs = zip(map(np.asarray, leaves(found)), map(np.asarray, leaves(expected)), strict=True)
        for made, want in pairs:
            assert (made.dtype, made.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(made.astype(complex), want.astype(complex), rtol=1e-6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(trees)
def test_the_signature_of_an_identity_is_the_plain_tree_of_its_specs(tree):
    specs = mapped(lambda leaf: leaf.shorthand, tree)
    found = convert(lambda b, x: x, ("b", specs), platforms=["cpu"]).signature
    expected = make_plain(specs).tree
    assert jax.tree.structure(found.outputs) == jax.tree.structure(expected)
    assert found.args[1] == found.outputs
