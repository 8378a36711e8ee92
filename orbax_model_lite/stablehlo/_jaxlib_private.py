"""The one name of jaxlib that this room needs and that has no public spelling.

It exists in jaxlib 0.10 and 0.12; every test of a module notices when a new version moves it.
"""

from __future__ import annotations

# MLIR's own dialects (func above all) can be read from text only where they are registered; the
# public alternative, jax.interpreters.mlir.make_ir_context, takes half a second at its first call.
from jaxlib.mlir._mlir_libs._jax_mlir_ext import register_dialects

__all__ = ["register_dialects"]
