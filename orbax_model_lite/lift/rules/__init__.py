"""Derivative rules that are marked in a module, as rules of JAX again; see stablehlo/RULES.md."""

from __future__ import annotations

__all__: list[str] = []
