"""Branches and loops: run while tracing where they can, else as cond, scan or while_loop."""

from __future__ import annotations

__all__: list[str] = []
