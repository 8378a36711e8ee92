"""Weights loaded by name, and cast while they are loaded."""

from __future__ import annotations

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from orbax_model_lite.errors import (
    UnknownNameError,
)
from orbax_model_lite.jax2obm.weights import (
    load_weights,
    weights_names,
)
from tests.jax2obm.comparing_weights import require_equal

pytestmark = pytest.mark.frameworks

A, B = np.array([1.5, 2.5], np.float32), np.arange(6, dtype=np.int32).reshape(2, 3)


class TestNames:
    """Which arrays `names` means."""

    TREE = {  # noqa: RUF012
        "params": {"dense_0": {"kernel": A, "bias": B}, "dense_1": {"kernel": A + 1}},
        "layers": [A + i for i in range(12)],
        "mlp/~/linear": {"w": B},
        "none": None,
    }

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            pytest.param(
                "params.dense_0.bias", {"params": {"dense_0": {"bias": B}}}, id="an array"
            ),
            pytest.param(
                ["params.dense_1"], {"params": {"dense_1": {"kernel": A + 1}}}, id="a container"
            ),
            pytest.param(
                "*.kernel",
                {"params": {"dense_0": {"kernel": A}, "dense_1": {"kernel": A + 1}}},
                id="a pattern",
            ),
            pytest.param(
                ["layers.1", "layers.1[01]"],
                {"layers": {"1": A + 1, "10": A + 10, "11": A + 11}},
                id="elements of a list",
            ),
            pytest.param("layers", {"layers": [A + i for i in range(12)]}, id="a whole list"),
            pytest.param("mlp/_/linear.w", {"mlp/~/linear": {"w": B}}, id="as data names say it"),
        ],
    )
    def test_only_the_arrays_that_are_meant_come_back(self, saved, names, expected):
        found = load_weights(saved(self.TREE), names=names, to="host")
        found.pop("none", None)
        require_equal(found, expected)

    def test_a_name_that_means_nothing_is_refused_with_the_nearest_one(self, saved):
        with pytest.raises(UnknownNameError, match=r"did you mean 'params\.dense_0\.kernel'"):
            load_weights(saved(self.TREE), names="params.dense_0.kernl")

    def test_names_are_listed_in_flatten_order(self, saved):
        assert weights_names(saved({"b": [A, B], "a": A})) == ["a", "b.0", "b.1"]


class TestCast:
    """What `dtype` does."""

    @pytest.mark.parametrize("to", ["host", "device"])
    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float8_e5m2"])
    def test_floating_point_arrays_are_rounded_as_numpy_does(self, saved, dtype, to):
        values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
        expected = values.astype(getattr(ml_dtypes, dtype, dtype))
        require_equal(load_weights(saved({"a": values}), to=to, dtype=dtype), {"a": expected})

    @pytest.mark.parametrize("to", ["host", "device"])
    def test_other_arrays_stay_as_they_are(self, saved, to):
        tree = {"i": B, "b": np.array([True]), "c": np.ones(2, np.complex64)}
        require_equal(load_weights(saved(tree), to=to, dtype=jnp.bfloat16), tree)

    @pytest.mark.parametrize("stored", ["bfloat16", "float8_e4m3", "float8_e4m3b11fnuz"])
    def test_narrow_types_are_widened(self, saved, stored):
        values = np.array([0.5, 1, 2], np.float32)
        tree = {"a": values.astype(getattr(ml_dtypes, stored))}
        require_equal(load_weights(saved(tree), to="host", dtype="float32"), {"a": values})

    @pytest.mark.parametrize("dtype", ["int8", "bool", "nonsense", np.int32])
    def test_a_type_that_is_not_floating_point_is_refused(self, saved, dtype):
        with pytest.raises(ValueError, match="expected a floating-point type"):
            load_weights(saved({"a": A}), dtype=dtype)
