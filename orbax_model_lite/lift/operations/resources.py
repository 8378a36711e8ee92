"""Blobs that MLIR text keeps apart from the operations, at the end of the file.

The bindings do not give them, so they are read from the printed module. That is slow, and fine for
modules that people write by hand: exported ones have no such blobs.
"""

from __future__ import annotations

import re
from typing import Final

from jaxlib.mlir import ir

_TAIL = "{-#"
_BLOB: Final = re.compile(r'([\w$.-]+|"[^"]*"): "0x([0-9A-Fa-f]*)"')
_ALIGNMENT_DIGITS = 8


def resources(module: ir.Module) -> dict[str, bytes]:
    """Returns the bytes of each resource of a module, by name."""
    printed = str(module.operation.get_asm(enable_debug_info=False))
    start = printed.rfind(_TAIL)
    blobs = _BLOB.finditer(printed, start) if start >= 0 else ()
    return {blob[1].strip('"'): bytes.fromhex(blob[2][_ALIGNMENT_DIGITS:]) for blob in blobs}
