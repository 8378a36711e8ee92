"""StableHLO modules as data: parsed, written at one version, searched and described; never run.

`module` reads and writes them, `facts` tells what one holds, `rule_marks` how derivative rules are
marked (RULES.md). Lifting a module to JAX is `lift`, converting and calling one `jax2obm`. Each
name is imported on first use, so that nothing parses MLIR before it must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.stablehlo.rule_marks import marked_rules

_PLACES = {"marked_rules": "rule_marks"}

__all__ = ["marked_rules"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
