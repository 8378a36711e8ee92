"""From a folder to a callable model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.reading import read
from orbax_model_lite.orchestration import Orchestration, from_data
from orbax_model_lite.runtime.engines import Engines
from orbax_model_lite.runtime.model import Model
from orbax_model_lite.runtime.trust import Trust
from orbax_model_lite.runtime.weights import Weights


def load(
    path: str | os.PathLike[str] | Bundle,
    *,
    devices: Sequence[Any] | None = None,
    mesh: Any = None,
    weights: Literal["device", "host"] = "device",
    dtype: Any = None,
    trust: Trust | None = None,
) -> Model:
    """Returns a bundle as a callable model.

    Functions are checked and compiled, and weights are read, when they are first used.

    Args:
      path: The bundle's folder, or what `read` returned.
      devices: JAX devices to run on, exactly these, whatever number a function was made on. Left
        out: JAX's default device, or for a function that was split over a mesh as many as that had,
        or the largest number that divides it where there are fewer.
      mesh: A `jax.sharding.Mesh` to run on instead. Its axes mean those of the same name that a
        function was split over; one that it lacks has the size one.
      weights: Whether weights are kept as JAX arrays on the devices or as NumPy arrays.
      dtype: Element type that floating-point weights are cast to; None keeps theirs.
      trust: What the programs of the bundle may do beyond the harmless; see `Trust`.

    Raises:
      InvalidBundleError: If the folder is not a bundle, unfinished, damaged or hostile.
      UnsupportedError: If it is of a version or kind that cannot be run here.

    Example:
      >>> import numpy as np
      >>> import orbax_model_lite as obm
      >>> packed = obm.pack("double.obm", lambda x: 2 * x, None, "b", platforms=["cpu"])
      >>> model = load("double.obm")
      >>> model(np.ones(3, np.float32)).tolist()
      [2.0, 2.0, 2.0]
    """
    if weights not in ("device", "host"):
        raise ValueError(f"weights: expected 'device' or 'host'; found {weights!r}")
    bundle = path if isinstance(path, Bundle) else read(path)
    placement = {"devices": devices, "mesh": mesh}
    return Model(
        bundle,
        read_orchestration(bundle),
        trust=trust or Trust(),
        weights=Weights(bundle, options={"to": weights, "dtype": dtype, **placement}),
        engines=Engines(bundle, placement=placement),
    )


def read_orchestration(bundle: Bundle) -> Orchestration:
    """Returns the bundle's pipelines; none when it records none."""
    data = bundle.supplementals.get(layout.KEY_ORCHESTRATION)
    if data is None:
        return Orchestration(pipelines={})
    return from_data(bundle.read_bytes(data), data.mime_type)
