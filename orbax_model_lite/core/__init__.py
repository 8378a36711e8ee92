"""The format: what a bundle holds, in memory and on disk, without any framework.

Nouns (functions, values, signatures, payloads), `save` and `read`. Functions are made by the rooms
of the frameworks and run by the runtime; here they are only described. Each name is imported on
first use, so that running a bundle does not import what saving one takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.core.bundle import Bundle
    from orbax_model_lite.core.checking import check
    from orbax_model_lite.core.data import Data, FileRange, FunctionSupplemental, GlobalSupplemental
    from orbax_model_lite.core.device import Device
    from orbax_model_lite.core.dtype import DType
    from orbax_model_lite.core.examples import Tolerance
    from orbax_model_lite.core.function import (
        JaxInfo,
        Lowering,
        OpaqueFunction,
        PolymorphicFunction,
        ShloFunction,
        Visibility,
    )
    from orbax_model_lite.core.limits import ReadLimits
    from orbax_model_lite.core.metadata import Metadata
    from orbax_model_lite.core.reading import read
    from orbax_model_lite.core.report import Finding, Report
    from orbax_model_lite.core.saving import SaveOptions, save
    from orbax_model_lite.core.signature import Signature
    from orbax_model_lite.core.spec import Spec, Token
    from orbax_model_lite.core.staging import staged
    from orbax_model_lite.core.tree import StringPairs
    from orbax_model_lite.core.value import (
        ExternalValue,
        LoaderType,
        NamedTupleValue,
        TupleValue,
        UnknownObject,
        convert_path_to_value,
    )

_PLACES = {
    "Bundle": "bundle",
    "DType": "dtype",
    "Data": "data",
    "Device": "device",
    "ExternalValue": "value",
    "FileRange": "data",
    "Finding": "report",
    "FunctionSupplemental": "data",
    "GlobalSupplemental": "data",
    "JaxInfo": "function",
    "LoaderType": "value",
    "Lowering": "function",
    "Metadata": "metadata",
    "NamedTupleValue": "value",
    "OpaqueFunction": "function",
    "PolymorphicFunction": "function",
    "ReadLimits": "limits",
    "Report": "report",
    "SaveOptions": "saving",
    "ShloFunction": "function",
    "Signature": "signature",
    "Spec": "spec",
    "StringPairs": "tree",
    "Token": "spec",
    "Tolerance": "examples",
    "TupleValue": "value",
    "UnknownObject": "value",
    "Visibility": "function",
    "check": "checking",
    "convert_path_to_value": "value",
    "read": "reading",
    "save": "saving",
    "staged": "staging",
}

__all__ = [
    "Bundle",
    "DType",
    "Data",
    "Device",
    "ExternalValue",
    "FileRange",
    "Finding",
    "FunctionSupplemental",
    "GlobalSupplemental",
    "JaxInfo",
    "LoaderType",
    "Lowering",
    "Metadata",
    "NamedTupleValue",
    "OpaqueFunction",
    "PolymorphicFunction",
    "ReadLimits",
    "Report",
    "SaveOptions",
    "ShloFunction",
    "Signature",
    "Spec",
    "StringPairs",
    "Token",
    "Tolerance",
    "TupleValue",
    "UnknownObject",
    "Visibility",
    "check",
    "convert_path_to_value",
    "read",
    "save",
    "staged",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
