"""Will a bundle load here, and what is to be done if not?

`diagnose` compares what a bundle needs (`needs`) with the machine (`machine`) in the process that
asks, which imports no framework; what only a framework can tell is asked of a child process
(`asking`, answered by `answers`). Each other module makes the checks of one subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.runtime.diagnosis.checks import Check, Diagnosis
    from orbax_model_lite.runtime.diagnosis.diagnosing import diagnose
    from orbax_model_lite.runtime.diagnosis.machine import Machine, this_machine

_PLACES = {
    "Check": "checks",
    "Diagnosis": "checks",
    "Machine": "machine",
    "diagnose": "diagnosing",
    "this_machine": "machine",
}

__all__ = ["Check", "Diagnosis", "Machine", "diagnose", "this_machine"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
