"""What the records of a bundle say of one function."""

from __future__ import annotations

from orbax_model_lite.core import layout
from orbax_model_lite.core.function import ConcreteFunction, ShloFunction
from orbax_model_lite.core.jax_trees_record import jax_trees_record
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.inspection.differences.sides import Side
from orbax_model_lite.inspection.differences.signatures import Interface
from orbax_model_lite.inspection.signatures import signature_lines
from orbax_model_lite.orchestration import optional_inputs, parameter_names


def interface(side: Side, function: ConcreteFunction) -> Interface:
    """Returns what callers know of a function.

    Raises:
      InvalidBundleError: If a record is damaged.
    """
    with side.errors():
        return Interface.of(
            function.signature,
            names=parameter_names(function, side.bundle.read_bytes),
            optional=optional_inputs(function, side.bundle.read_bytes),
            constraints=tuple(
                jax_trees_record(function, side.bundle.read_bytes).symbolic_constraints
            ),
        )


def recorded_facts(side: Side, function: ShloFunction) -> ModuleFacts | None:
    """Returns what is recorded about a function's module; None where nothing is."""
    found = function.supplementals.get(layout.KEY_MODULE_FACTS)
    if found is None:
        return None
    with side.errors():
        return ModuleFacts.from_payload(side.bundle.read_bytes(found.data))


def leaf_shardings(side: Side, function: ConcreteFunction) -> dict[str, str]:
    """Returns how each input and output is split, by its key path; "" where that is left open."""
    with side.errors():
        inputs, outputs = signature_lines(function, side.bundle.read_bytes)
    found: dict[str, str] = {}
    for name, lines in (("input", inputs), ("output", outputs)):
        keys: list[str] = []
        for line in lines:
            keys[line.depth :] = [line.key.rstrip("=")]
            found[f"{name} {'.'.join(filter(None, keys))!r}"] = line.sharding
    return found
