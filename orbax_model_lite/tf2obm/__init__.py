"""Everything that knows TensorFlow, both directions.

To a bundle: functions become handles (`convert_function`) into one SavedModel (`save_tf_functions`)
that the bundle refers to (`tf_saved_model_as_obm_supplemental`); what they return becomes what a
JAX function takes (`tf_specs_to_jax`). From a bundle: `engine` runs them, and `graph` tells without
TensorFlow what they would run. Importing this room imports neither TensorFlow nor JAX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.tf2obm.convert import call_original, convert_function
    from orbax_model_lite.tf2obm.engine import TfEngine
    from orbax_model_lite.tf2obm.graph import FileRead, GraphFacts, Refusal, reachable, refusals
    from orbax_model_lite.tf2obm.prepare import PreparedFunction, prepare_function
    from orbax_model_lite.tf2obm.saved_model import (
        SavedFunctions,
        save_tf_functions,
        tf_saved_model_as_obm_supplemental,
    )
    from orbax_model_lite.tf2obm.signature import tf_specs_to_jax

_PLACES = {
    "FileRead": "graph",
    "GraphFacts": "graph",
    "PreparedFunction": "prepare",
    "Refusal": "graph",
    "SavedFunctions": "saved_model",
    "TfEngine": "engine",
    "call_original": "convert",
    "convert_function": "convert",
    "prepare_function": "prepare",
    "reachable": "graph",
    "refusals": "graph",
    "save_tf_functions": "saved_model",
    "tf_saved_model_as_obm_supplemental": "saved_model",
    "tf_specs_to_jax": "signature",
}

__all__ = [
    "FileRead",
    "GraphFacts",
    "PreparedFunction",
    "Refusal",
    "SavedFunctions",
    "TfEngine",
    "call_original",
    "convert_function",
    "prepare_function",
    "reachable",
    "refusals",
    "save_tf_functions",
    "tf_saved_model_as_obm_supplemental",
    "tf_specs_to_jax",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
