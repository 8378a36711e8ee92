"""Pack a JAX function, its weights and its processors into one folder; load and run it anywhere.

    import orbax_model_lite as obm

    obm.pack("digits.obm", apply_fn, params, inputs, preprocess=decode, postprocess=label)
    model = obm.load("digits.obm")
    model(raw_batch)

Importing this package imports no framework; each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy, errors

if TYPE_CHECKING:
    from orbax_model_lite.core import Bundle, Metadata, Report, Tolerance, read
    from orbax_model_lite.inspection import diff, write_page
    from orbax_model_lite.orchestration import BatchComponent, BatchOptions
    from orbax_model_lite.packing import Example, PipelineSpec, pack
    from orbax_model_lite.runtime import Model, Trust, diagnose, load, verify

_PLACES = {
    "BatchComponent": "orchestration",
    "BatchOptions": "orchestration",
    "Bundle": "core",
    "Example": "packing",
    "Metadata": "core",
    "Model": "runtime",
    "PipelineSpec": "packing",
    "Report": "core",
    "Tolerance": "core",
    "Trust": "runtime",
    "diagnose": "runtime",
    "diff": "inspection",
    "load": "runtime",
    "pack": "packing",
    "read": "core",
    "verify": "runtime",
    "write_page": "inspection",
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
    "diagnose",
    "diff",
    "errors",
    "load",
    "pack",
    "read",
    "verify",
    "write_page",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    """Returns the public names."""
    return [*__all__, "__version__"]
