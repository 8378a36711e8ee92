"""Bundles in Google's Model Explorer: graphs of pipelines and functions, and a server on loopback.

`main` is the extension that Model Explorer loads (`--extensions=orbax_model_lite.explorer`), and
the only way its adapter is reached; `bundles` makes the graphs. Model Explorer and Flask, on which
it is built, are imported in this room only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.explorer.bundles import bundle_graphs
    from orbax_model_lite.explorer.serving import serve

_PLACES = {"bundle_graphs": "bundles", "serve": "serving"}

__all__ = ["bundle_graphs", "serve"]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
