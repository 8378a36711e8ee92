"""StableHLO back to JAX operations: ordinary traceable code from a stored module.

`lift_module` takes a bare module, `lift_function` a function of a bundle with its trees and names,
`coverage` says what of a function can be lifted. README.md in this folder tells how it works. Each
name is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.lift.functions import coverage, lift_function
    from orbax_model_lite.lift.lifted import LiftedModule, lift_module
    from orbax_model_lite.lift.problems import Coverage, Problem

_PLACES = {
    "Coverage": "problems",
    "LiftedModule": "lifted",
    "Problem": "problems",
    "coverage": "functions",
    "lift_function": "functions",
    "lift_module": "lifted",
}

__all__ = ["Coverage", "LiftedModule", "Problem", "coverage", "lift_function", "lift_module"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
