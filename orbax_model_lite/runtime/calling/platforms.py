"""The platform that a call is to run on, chosen before JAX looks for devices."""

from __future__ import annotations

from typing import Final

from orbax_model_lite import _lazy
from orbax_model_lite.errors import UnsupportedError

PLATFORMS: Final = ("cpu", "cuda", "rocm", "tpu")
_BACKENDS: Final = {"cuda": "gpu", "rocm": "gpu"}


def require_platform(platform: str) -> None:
    """Makes a platform JAX's default in this process.

    Args:
      platform: One of `PLATFORMS`.

    Raises:
      UnsupportedError: If JAX finds no device of it, or runs on another one already.
      MissingDependencyError: If JAX is not installed.
    """
    purpose = f"running on {platform}"
    config = _lazy.load("jax:config", purpose=purpose)
    backend = _lazy.load("jax:default_backend", purpose=purpose)
    before = config.jax_platforms
    config.update("jax_platforms", platform)
    try:
        found = backend()
    except RuntimeError as e:
        config.update("jax_platforms", before)
        raise UnsupportedError(
            f"platform {platform!r}: expected a device of it; JAX says "
            f"{(str(e).splitlines() or ['nothing'])[0]!r}; choose another platform, or install "
            "JAX for it"
        ) from e
    # Once JAX has looked for devices it does not look again.
    if found != _BACKENDS.get(platform, platform):
        config.update("jax_platforms", before)
        raise UnsupportedError(
            f"platform {platform!r}: expected a device of it; found {found!r}, on which JAX runs "
            "in this process; choose another platform"
        )
