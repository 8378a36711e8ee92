"""The command `obm`: parse, call one function, print.

Imports no framework, and neither NumPy nor a printing library before they are needed, because what
`obm show` prints should be there as soon as a shell prompt would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.cli.command import main, run

_PLACES = {"main": "command", "run": "command"}

__all__ = ["main", "run"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
