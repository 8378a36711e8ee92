"""The operations, one file for each family; `table` beside this folder collects them."""

from __future__ import annotations

__all__: list[str] = []
