"""Derivative rules: found while a function is lowered, traced, and marked in its module."""

from __future__ import annotations

__all__: list[str] = []
