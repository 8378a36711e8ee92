"""Names that are imported on first use: "module:attribute" in, the object out.

The one place where a missing framework becomes a MissingDependencyError with the pip line.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from orbax_model_lite.errors import MissingDependencyError

_EXTRAS = {
    "jax": "jax",
    "jaxlib": "jax",
    "orbax": "jax",
    "tensorstore": "jax",
    "safetensors": "jax",
    "tensorflow": "tf",
    "model_explorer": "explorer",
    "flask": "explorer",
}


def load(target: str, *, purpose: str | None = None) -> Any:
    """Returns the object that `target` ("module:attribute", or "module") names.

    Args:
      target: Dotted module, then optionally a colon and an attribute of it.
      purpose: What the object is for, as the beginning of a message: "loading weights".

    Raises:
      MissingDependencyError: If the import fails because an optional package is absent.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package in ("", "orbax_model_lite"):
            raise
        raise missing(package, purpose or f"using {target.partition(':')[2] or module_name}") from e
    return getattr(module, attribute) if attribute else module


def names(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns a package's `__getattr__`, which imports its public names on first use.

    No name may be that of a submodule: importing the submodule would hide it.

    Args:
      package: The package's `__name__`.
      places: Public name to the submodule (below the package) that defines it.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = load(f"{package}.{places[name]}:{name}", purpose=f"{package}.{name}")
        setattr(sys.modules[package], name, value)
        return value

    return get


def missing(package: str, purpose: str) -> MissingDependencyError:
    """Returns the error that says which pip line brings `package` for `purpose`."""
    # Nobody installs jaxlib by its name: it comes with jax, which does not start without it.
    package = {"jaxlib": "jax"}.get(package, package)
    extra = _EXTRAS.get(package)
    line = f'pip install "orbax-model-lite[{extra}]"' if extra else f"pip install {package}"
    return MissingDependencyError(f"{purpose} needs {package}, which is not installed; {line}")
