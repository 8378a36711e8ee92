"""Where the arrays of a call lie when a function runs on several devices.

A dimension that the devices along its axes do not divide is not split over them: it is whole on
each. That holds for arrays given, weights and results alike; the numbers do not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.core
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from orbax_model_lite.jaxtypes import keys

Shardings = Sequence[NamedSharding | None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where a function for several devices runs.

    Attributes:
      mesh: Of devices, some of them perhaps of other processes.
      inputs: Sharding of each input leaf; None leaves it to the caller and the compiler.
      outputs: The same for each output leaf.
    """

    mesh: Mesh
    inputs: Shardings
    outputs: Shardings = ()

    def placed(self, leaf: Any, index: int) -> Any:
        """Returns a leaf on the mesh: moved there unless it is, or is being traced."""
        if isinstance(leaf, jax.core.Tracer):
            return leaf
        on = getattr(leaf, "sharding", None)
        if on is not None and on.device_set == set(self.mesh.devices.flat):
            return leaf
        wanted = self.inputs[index] or NamedSharding(self.mesh, PartitionSpec())
        return _put(leaf, fitted(wanted, np.shape(leaf)))

    def constrained(self, leaf: jax.Array, index: int) -> jax.Array:
        """Returns a traced leaf that is tied to the mesh, split as the function wants it."""
        wanted = self.inputs[index]
        if wanted is None:
            return self.on_mesh(leaf)
        return _constrained(leaf, fitted(wanted, leaf.shape))

    def on_mesh(self, leaf: jax.Array) -> jax.Array:
        """Returns a traced array that is tied to the mesh, split as the compiler likes."""
        free = PartitionSpec(*[PartitionSpec.UNCONSTRAINED] * leaf.ndim)
        return _constrained(leaf, NamedSharding(self.mesh, free))

    def settled(self, results: Any, *, is_tied: bool) -> tuple[jax.Array, ...]:
        """Returns traced results as the caller gets them.

        Args:
          results: Of the module.
          is_tied: Whether an input ties the call to the mesh; without one the results must.
        """
        if not is_tied:
            results = [self.on_mesh(leaf) for leaf in results]
        wanted = self.outputs or (None,) * len(results)
        return tuple(
            leaf if sharding is None else _constrained(leaf, fitted(sharding, leaf.shape))
            for leaf, sharding in zip(results, wanted, strict=True)
        )


def fitted(sharding: NamedSharding, shape: Sequence[Any]) -> NamedSharding:
    """Returns a sharding with those axes left out that do not divide their dimension.

    Args:
      sharding: Of an array.
      shape: Its sizes; those that are no numbers (symbolic ones) are taken to fit.

    Returns:
      The same object where nothing has to go.
    """
    spec = fitted_spec(sharding.spec, shape, dict(sharding.mesh.shape))
    if spec is sharding.spec:
        return sharding
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)


def fitted_spec(
    spec: PartitionSpec, shape: Sequence[Any], sizes: Mapping[str, int]
) -> PartitionSpec:
    """Returns a partition spec with those axes left out that do not divide their dimension."""
    entries = spec.partitions
    found = tuple(
        _fitted_entry(entry, size, sizes) for entry, size in zip(entries, shape, strict=False)
    )
    return spec if found == tuple(entries)[: len(found)] else PartitionSpec(*found)


def is_static(sharding: NamedSharding, shape: Sequence[Any]) -> bool:
    """Whether a sharding splits no dimension whose size is not a number."""
    pairs = zip(sharding.spec.partitions, shape, strict=False)
    return all(entry is None or isinstance(size, int) for entry, size in pairs)


def _fitted_entry(entry: Any, size: Any, sizes: Mapping[str, int]) -> Any:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED or not isinstance(size, int):
        return entry
    axes = entry if isinstance(entry, tuple) else (entry,)
    kept, parts = [], 1
    for axis in axes:
        # The minor axes go first: what is left must be a prefix, or other parts would move.
        if size % (parts * sizes[axis]):
            break
        parts *= sizes[axis]
        kept.append(axis)
    if len(kept) == len(axes):
        return entry
    return None if not kept else kept[0] if len(kept) == 1 else tuple(kept)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    # Every process has the whole and takes its part; device_put would first compare them all.
    if isinstance(leaf, jax.Array) and keys.is_key(leaf.dtype):
        words = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, host.__getitem__)


def _constrained(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(leaf, sharding)
