"""Pack a JAX function, its weights and its processors into one folder; load and run it anywhere.

    import orbax_model_lite as obm

    obm.pack("digits.obm", apply_fn, params, inputs, preprocess=decode, postprocess=label)
    model = obm.load("digits.obm")
    model(raw_batch)

Importing this package imports no framework; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orbax_model_lite import _lazy, errors

if TYPE_CHECKING:
    from orbax_model_lite.core import Bundle, Metadata, Report, Tolerance, read
    from orbax_model_lite.orchestration import BatchComponent, BatchOptions
    from orbax_model_lite.packing import Example, PipelineSpec, pack
    from orbax_model_lite.runtime import Model, Trust, load, verify

_NAMES = {
    "BatchComponent": "orbax_model_lite.orchestration:BatchComponent",
    "BatchOptions": "orbax_model_lite.orchestration:BatchOptions",
    "Bundle": "orbax_model_lite.core:Bundle",
    "Example": "orbax_model_lite.packing:Example",
    "Metadata": "orbax_model_lite.core:Metadata",
    "Model": "orbax_model_lite.runtime:Model",
    "PipelineSpec": "orbax_model_lite.packing:PipelineSpec",
    "Report": "orbax_model_lite.core:Report",
    "Tolerance": "orbax_model_lite.core:Tolerance",
    "Trust": "orbax_model_lite.runtime:Trust",
    "load": "orbax_model_lite.runtime:load",
    "pack": "orbax_model_lite.packing:pack",
    "read": "orbax_model_lite.core:read",
    "verify": "orbax_model_lite.runtime:verify",
}

__version__ = "0.1.0.dev0"

__all__ = [
    "BatchComponent",
    "BatchOptions",
    "Bundle",
    "Example",
    "Metadata",
    "Model",
    "PipelineSpec",
    "Report",
    "Tolerance",
    "Trust",
    "errors",
    "load",
    "pack",
    "read",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Returns a public name, imported on first use."""
    if name in _NAMES:
        value = _lazy.load(_NAMES[name])
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names."""
    return [*__all__, "__version__"]
