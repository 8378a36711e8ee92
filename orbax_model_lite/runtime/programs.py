"""Whether the programs of a bundle are what is recorded about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from orbax_model_lite import _lazy
from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.core.report import Finding


def check_programs(bundle: Bundle) -> list[Finding]:
    """Returns an error for each StableHLO function whose record is not true of its module.

    Every module is parsed, none is run. Functions without a record are left out.

    Raises:
      InvalidBundleError: If a module or a record does not parse.
      MissingDependencyError: If JAX is not installed.
    """
    compute = _lazy.load("orbax_model_lite.stablehlo.facts:facts", purpose="checking programs")
    findings = []
    for where, function in _modules(bundle):
        supplemental = function.supplementals.get(layout.KEY_MODULE_FACTS)
        if supplemental is None:
            continue
        recorded = ModuleFacts.from_payload(bundle.read_bytes(supplemental.data))
        found = compute(bundle.read_bytes(function.module), where=where)
        for key in (field.name for field in fields(ModuleFacts)):
            if getattr(recorded, key) != getattr(found, key):
                message = (
                    f"recorded facts: expected {key} {getattr(found, key)!r} as in the module; "
                    f"found {getattr(recorded, key)!r}; do not trust the record, save it again"
                )
                findings.append(Finding(severity="error", where=where, message=message))
    return findings


def _modules(bundle: Bundle) -> Iterator[tuple[str, ShloFunction]]:
    for name, found in bundle.functions.items():
        for where, function in concrete_functions(name, found):
            if isinstance(function, ShloFunction):
                yield where, function
