"""Bundles made from bundles: symbolic sizes fixed, a pipeline fused into one function, all written.

Works on the objects of a bundle; the model that is changed and its arrays belong to `runtime`,
which calls this room on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.rewriting.fusing import fused
    from orbax_model_lite.rewriting.specializing import specialized
    from orbax_model_lite.rewriting.writing import write

_PLACES = {"fused": "fusing", "specialized": "specializing", "write": "writing"}

__all__ = ["fused", "specialized", "write"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
