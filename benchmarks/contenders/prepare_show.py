"""Makes two bundles: one with a large manifest, one with many parameters."""

import sys
from pathlib import Path

from orbax_model_lite import core


def function(parameters: int, module_bytes: int) -> core.ShloFunction:
    """Returns a function that nobody runs."""
    row = core.Spec(shape=("b", 512), dtype=core.DType.FLOAT32)
    kernel = core.Spec(shape=(512, 512), dtype=core.DType.FLOAT32)
    weights = {f"layer_{i}": kernel for i in range(parameters)}
    return core.ShloFunction(
        signature=core.Signature.of_call((weights, row), {}, row),
        module=core.Data(content=bytes(module_bytes), mime_type="application/x.mlir-stablehlo"),
        calling_convention_version=10,
        platforms=("cpu",),
        kept_inputs=tuple(range(parameters + 1)),
    )


folder, parameters, module_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
inside = core.SaveOptions(save_shlo_to_file=False)
core.save({"f": function(10, module_bytes)}, folder / "large.obm", inside)
core.save({"f": function(parameters, 1000)}, folder / "many.obm")
