"""One call of a bundle from outside: its target, inputs from files or at random, output files.

Files and trees of NumPy arrays are known here, frameworks are not: a wrong input is found out
before one is imported. Whoever measures calls is `runtime.measuring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.runtime.calling.documents import Document, read_document, read_value
    from orbax_model_lite.runtime.calling.matching import Call, call_from
    from orbax_model_lite.runtime.calling.outputs import HostTree, host_tree, write_outputs
    from orbax_model_lite.runtime.calling.placing import Source
    from orbax_model_lite.runtime.calling.platforms import platform_errors, require_platform
    from orbax_model_lite.runtime.calling.random_inputs import random_call
    from orbax_model_lite.runtime.calling.target import Form, Target, bind, find_target

_PLACES = {
    "Call": "matching",
    "Document": "documents",
    "Form": "target",
    "HostTree": "outputs",
    "Source": "placing",
    "Target": "target",
    "bind": "target",
    "call_from": "matching",
    "find_target": "target",
    "host_tree": "outputs",
    "random_call": "random_inputs",
    "platform_errors": "platforms",
    "read_document": "documents",
    "read_value": "documents",
    "require_platform": "platforms",
    "write_outputs": "outputs",
}

__all__ = [
    "Call",
    "Document",
    "Form",
    "HostTree",
    "Source",
    "Target",
    "bind",
    "call_from",
    "find_target",
    "host_tree",
    "platform_errors",
    "random_call",
    "read_document",
    "read_value",
    "require_platform",
    "write_outputs",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
