"""Batch normalization, written out: inference, training and the gradient of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from orbax_model_lite.lift.operation import Handler, Operation, Runner


def _along(x: Any, values: Any, feature: int) -> Any:
    """Returns one value for each feature as an array of the shape of `x`."""
    return lax.broadcast_in_dim(values, x.shape, (feature,))


def _others(x: Any, feature: int) -> tuple[int, ...]:
    return tuple(d for d in range(x.ndim) if d != feature)


def _mean(x: Any, feature: int) -> Any:
    count = 1
    for dimension in _others(x, feature):
        count = count * x.shape[dimension]
    total = lax.reduce_sum(x, _others(x, feature))
    return total / jnp.asarray(count, total.dtype)


def _epsilon(operation: Operation) -> np.ndarray:
    return np.asarray(operation.number("epsilon")).astype(operation.result_type().dtype)


def _inference(operation: Operation) -> Runner:
    epsilon, feature = _epsilon(operation), operation.integer("feature_index")

    def run(x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
        width = lax.sqrt(lax.add(variance, jnp.full_like(variance, epsilon)))
        normal = (x - _along(x, mean, feature)) / _along(x, width, feature)
        return normal * _along(x, scale, feature) + _along(x, offset, feature)

    return run


def _training(operation: Operation) -> Runner:
    epsilon, feature = _epsilon(operation), operation.integer("feature_index")

    def run(x: Any, scale: Any, offset: Any) -> tuple[Any, Any, Any]:
        mean = _mean(x, feature)
        centered = x - _along(x, mean, feature)
        variance = _mean(centered * centered, feature)
        width = lax.sqrt(lax.add(variance, jnp.full_like(variance, epsilon)))
        normal = centered / _along(x, width, feature)
        result = normal * _along(x, scale, feature) + _along(x, offset, feature)
        return result, mean, variance

    return run


def _gradient(operation: Operation) -> Runner:
    epsilon, feature = _epsilon(operation), operation.integer("feature_index")

    def run(x: Any, scale: Any, mean: Any, variance: Any, grad: Any) -> tuple[Any, Any, Any]:
        others = _others(x, feature)
        width = lax.sqrt(lax.add(variance, jnp.full_like(variance, epsilon)))
        normal = (x - _along(x, mean, feature)) / _along(x, width, feature)
        of_offset = lax.reduce_sum(grad, others)
        of_scale = lax.reduce_sum(grad * normal, others)
        along_offset = _along(x, _mean(grad, feature), feature)
        along_scale = normal * _along(x, _mean(grad * normal, feature), feature)
        of_x = _along(x, scale / width, feature) * (grad - along_offset - along_scale)
        return of_x, of_scale, of_offset

    return run


OPERATIONS: Final[Mapping[str, Handler]] = {
    "stablehlo.batch_norm_grad": Handler(_gradient),
    "stablehlo.batch_norm_inference": Handler(_inference),
    "stablehlo.batch_norm_training": Handler(_training),
}
