"""From what `jax.export` gives to the bytes in a bundle: marked, without paths, at one version."""

from __future__ import annotations

from jax import export as jax_export

from orbax_model_lite.jax2obm.rules.recorder import RuleRecorder
from orbax_model_lite.jax2obm.rules.storage import store_rules
from orbax_model_lite.stablehlo.locations import strip_file_positions
from orbax_model_lite.stablehlo.module import parse, serialize
from orbax_model_lite.stablehlo.replica_groups import write_out_replica_groups


def portable_module(
    exported: jax_export.Exported,
    recorder: RuleRecorder | None = None,
    *,
    where: str = "StableHLO module",
) -> bytes:
    """Returns the portable artifact of an export, at StableHLO `module.TARGET_VERSION`.

    Equal functions give equal bytes, whichever folder they are in and whatever was lowered before.
    To be called under the same JAX settings (x64 above all) as the export.

    Args:
      exported: Of the function.
      recorder: Whose lowering rules it was exported with; None leaves derivative rules unmarked.
      where: First words of an error message: which function.

    Raises:
      UnsupportedError: If the module needs what that version does not have.
    """
    module = parse(exported.mlir_module_serialized, where=where)
    if recorder is not None:
        store_rules(module, exported, recorder)
    write_out_replica_groups(module)
    strip_file_positions(module)
    return serialize(module, where=where)
