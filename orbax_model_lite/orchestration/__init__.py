"""How the functions of a bundle are chained: a record, not an executor.

Pipelines and batch options, their form on disk, and the rule by which the output of one stage
becomes the input of the next. No framework is known here; `runtime` executes the record. Each name
is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.orchestration.checks import check_orchestration, require_orchestration
    from orbax_model_lite.orchestration.interfaces import (
        optional_inputs,
        parameter_names,
        stage_interfaces,
    )
    from orbax_model_lite.orchestration.records import (
        DEFAULT_PIPELINE,
        BatchComponent,
        BatchOptions,
        BatchPaddingPolicy,
        Orchestration,
        Pipeline,
        Role,
        Stage,
    )
    from orbax_model_lite.orchestration.serialization import from_data, to_data
    from orbax_model_lite.orchestration.simple import orchestration
    from orbax_model_lite.orchestration.wiring import StageInterface, Step, Wiring, connect, plan

_PLACES = {
    "DEFAULT_PIPELINE": "records",
    "BatchComponent": "records",
    "BatchOptions": "records",
    "BatchPaddingPolicy": "records",
    "Orchestration": "records",
    "Pipeline": "records",
    "Role": "records",
    "Stage": "records",
    "StageInterface": "wiring",
    "Step": "wiring",
    "Wiring": "wiring",
    "check_orchestration": "checks",
    "connect": "wiring",
    "from_data": "serialization",
    "optional_inputs": "interfaces",
    "orchestration": "simple",
    "parameter_names": "interfaces",
    "plan": "wiring",
    "require_orchestration": "checks",
    "stage_interfaces": "interfaces",
    "to_data": "serialization",
}

__all__ = [
    "DEFAULT_PIPELINE",
    "BatchComponent",
    "BatchOptions",
    "BatchPaddingPolicy",
    "Orchestration",
    "Pipeline",
    "Role",
    "Stage",
    "StageInterface",
    "Step",
    "Wiring",
    "check_orchestration",
    "connect",
    "from_data",
    "optional_inputs",
    "orchestration",
    "parameter_names",
    "plan",
    "require_orchestration",
    "stage_interfaces",
    "to_data",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
