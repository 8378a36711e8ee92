"""Bundles as people make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

import orbax_model_lite as obm
from orbax_model_lite import core, jax2obm

Bundles = Callable[[str], Path]


def mlp(params, x):
    with jax.named_scope("hidden"):
        h = jnp.tanh(x @ params["w"] + params["b"])
    with jax.named_scope("top"):
        return {"logits": h @ params["top"]["kernel"], "norm": jnp.sum(h, -1)}


MLP_WEIGHTS = {
    "w": np.ones((4, 8), np.float32),
    "b": np.zeros(8, np.float32),
    "top": {"kernel": np.ones((8, 3), np.float32)},
}


def loops(params, x):
    def step(carry, layer):
        return jnp.tanh(carry @ layer), carry.sum()

    with jax.named_scope("stack"):
        x, sums = jax.lax.scan(step, x, params)
    x = jax.lax.cond(sums[0] > 0, lambda y: jnp.sort(y, -1), lambda y: -y, x)
    return jax.lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1]


@tf.function(
    input_signature=[
        tf.TensorSpec([None], tf.string, name="text"),
        tf.TensorSpec([None], tf.string, name="ids"),
    ]
)
def before(text, ids):
    return {"x": tf.strings.to_number(tf.strings.split(text, ",").to_tensor("0")), "ids": ids}


@tf.function(
    input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.string)]
)
def after(logits, ids):
    return {"best": tf.argmax(logits, -1), "ids": ids}


@tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
def doubled(x):
    return {"x": 2 * x}


def pack_words(path: Path) -> None:
    params = {"kernel": np.ones((4, 3), np.float32)}

    def apply_fn(params, x):
        with jax.named_scope("net"):
            return jax.nn.log_softmax(x @ params["kernel"])

    obm.pack(path, apply_fn, params, ("b, 4",), preprocess=before, postprocess=after)


def save_functions(path: Path) -> None:
    """Writes several functions: polymorphic, sharded, one that is private, none in a pipeline."""
    spec = jax.ShapeDtypeStruct
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    by_dtype = [
        jax2obm.convert(jnp.cumsum, (spec((3,), dtype),)) for dtype in (np.float32, np.int32)
    ]
    core.save(
        {
            "either": core.PolymorphicFunction(functions=tuple(by_dtype)),
            "sharded": jax2obm.convert(
                jax.jit(lambda x: jax.lax.with_sharding_constraint(x * 2, split)),
                (spec((8,), np.float32, sharding=split),),
            ),
            "unused": jax2obm.convert(
                lambda a, b: {"y": b * 2}, (spec((2,), np.float32), spec((3,), np.float32))
            ),
        },
        path,
    )


MAKERS: dict[str, Callable[[Path], Any]] = {
    "mlp": lambda path: obm.pack(path, mlp, MLP_WEIGHTS, ("b, 4",)),
    "loops": lambda path: obm.pack(path, loops, np.ones((3, 4, 4), np.float32), ("2, 4",)),
    "words": pack_words,
    "lowered": lambda path: obm.pack(path, mlp, MLP_WEIGHTS, ("b, 4",), preprocess=doubled),
    "functions": save_functions,
}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Bundles:
    """Returns `bundles(name)`: the folder of a bundle that is made once; not to be changed."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / f"{name}.obm"
            MAKERS[name](made[name])
        return made[name]

    return get
