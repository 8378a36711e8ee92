"""Functions for several devices: on which mesh they run, and where their arrays lie."""

from __future__ import annotations

__all__: list[str] = []
