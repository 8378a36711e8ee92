"""What a bundle is, told without a framework: descriptions, weights by header, trees of types.

Everything here reads and nothing runs; `cli` prints what it returns. Each name is imported on first
use, and NumPy only where values of arrays are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orbax_model_lite import _lazy

if TYPE_CHECKING:
    from orbax_model_lite.inspection.describing import describe
    from orbax_model_lite.inspection.description import (
        Description,
        FunctionDescription,
        PipelineDescription,
        StageDescription,
        WeightsDescription,
    )
    from orbax_model_lite.inspection.differences.comparing import diff
    from orbax_model_lite.inspection.differences.nouns import (
        ArrayChange,
        Change,
        CountChange,
        Difference,
        WeightsDifference,
    )
    from orbax_model_lite.inspection.manifest import manifest_text
    from orbax_model_lite.inspection.page import page_html, write_page
    from orbax_model_lite.inspection.recorded import ExampleDescription, list_examples
    from orbax_model_lite.inspection.signatures import SignatureLine, signature_lines
    from orbax_model_lite.inspection.statistics import ArrayStatistics, weights_statistics
    from orbax_model_lite.inspection.weights import ListedArray, list_weights

_PLACES = {
    "ArrayChange": "differences.nouns",
    "ArrayStatistics": "statistics",
    "Change": "differences.nouns",
    "CountChange": "differences.nouns",
    "Description": "description",
    "Difference": "differences.nouns",
    "ExampleDescription": "recorded",
    "FunctionDescription": "description",
    "ListedArray": "weights",
    "PipelineDescription": "description",
    "SignatureLine": "signatures",
    "StageDescription": "description",
    "WeightsDescription": "description",
    "WeightsDifference": "differences.nouns",
    "describe": "describing",
    "diff": "differences.comparing",
    "list_examples": "recorded",
    "list_weights": "weights",
    "manifest_text": "manifest",
    "page_html": "page",
    "signature_lines": "signatures",
    "weights_statistics": "statistics",
    "write_page": "page",
}

__all__ = [
    "ArrayChange",
    "ArrayStatistics",
    "Change",
    "CountChange",
    "Description",
    "Difference",
    "ExampleDescription",
    "FunctionDescription",
    "ListedArray",
    "PipelineDescription",
    "SignatureLine",
    "StageDescription",
    "WeightsDescription",
    "WeightsDifference",
    "describe",
    "diff",
    "list_examples",
    "list_weights",
    "manifest_text",
    "page_html",
    "signature_lines",
    "weights_statistics",
    "write_page",
]

__getattr__ = _lazy.names(__name__, _PLACES)


def __dir__() -> list[str]:
    return __all__
