"""The platform that a call is to run on, chosen before JAX looks for devices.

And what is told where JAX has no device of it, whether an option or `JAX_PLATFORMS` asked for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Final

from orbax_model_lite import _lazy
from orbax_model_lite.errors import ObmError, UnsupportedError
from orbax_model_lite.runtime.diagnosis.requirements import JAX_FOR

PLATFORMS: Final = ("cpu", "cuda", "rocm", "tpu")

_BACKENDS: Final = {"cuda": "gpu", "rocm": "gpu"}
# JAX asserts that it has found a device where it sees no NVIDIA GPU and may not take another.
_NO_DEVICE: Final = (RuntimeError, AssertionError)


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
    except _NO_DEVICE as e:
        config.update("jax_platforms", before)
        raise _absent(platform, e) from e
    # Once JAX has looked for devices it does not look again.
    if found != _BACKENDS.get(platform, platform):
        config.update("jax_platforms", before)
        raise UnsupportedError(
            f"platform {platform!r}: expected a device of it; found {found!r}, on which JAX runs "
            "in this process; choose another platform"
        )


@contextlib.contextmanager
def platform_errors() -> Iterator[None]:
    """Within it, a JAX that `JAX_PLATFORMS` keeps from starting is told as an error of ours.

    Raises:
      UnsupportedError: In place of JAX's own error, where JAX has no device that it may use.
    """
    try:
        yield
    except _NO_DEVICE as e:
        if isinstance(e, ObmError) or (absent := _not_started()) is None:
            raise
        raise absent from e


def no_device_text(error: BaseException) -> str:
    """Returns what JAX says where it cannot start a platform, in one line."""
    lines = str(error).strip().splitlines()
    if lines:
        return f"{type(error).__name__}: {lines[0][:300]}"
    if isinstance(error, AssertionError):
        return "no such device on this machine"
    return f"{type(error).__name__}: no message"


def how_to_install(platforms: str) -> str:
    """Returns how a JAX is installed for the first of platforms, as `JAX_PLATFORMS` has them."""
    return JAX_FOR.get(platforms.partition(",")[0].strip(), "install JAX for it")


def _not_started() -> UnsupportedError | None:
    """Returns why JAX does not start in this process; None if it does, or is not imported."""
    jax: Any = sys.modules.get("jax")
    if jax is None or not jax.config.jax_platforms:
        return None
    try:
        jax.default_backend()
    except _NO_DEVICE as e:
        return _absent(jax.config.jax_platforms, e)
    return None


def _absent(platforms: str, error: BaseException) -> UnsupportedError:
    return UnsupportedError(
        f"platform {platforms!r}: expected a device of it; found {no_device_text(error)}; choose "
        "another platform (--platform, JAX_PLATFORMS), such as cpu; or, where the machine has "
        f"such a device: {how_to_install(platforms)}"
    )
