"""Types and attributes of a module as short text for eyes."""

from __future__ import annotations

import math
import re
from typing import Final

from jaxlib.mlir import ir

_LONGEST: Final = 300
_TENSOR: Final = re.compile(r"tensor<((?:(?:\d+|\?)x)*)([^,>]*(?:<[^>]*>)?)(?:, .*)?>")
_HIDDEN: Final = ("callee", "called_computations", "decomposition")


def type_text(kind: ir.Type) -> str:
    """Returns a type as people write it: "f32[2, ?]"; what is no tensor as MLIR writes it."""
    text = str(kind)
    found = _TENSOR.fullmatch(text)
    if found is None:
        return _shortened(text)
    return f"{found[2]}[{', '.join(found[1].split('x')[:-1])}]"


def attribute_texts(operation: ir.Operation, most_values: int) -> dict[str, str]:
    """Returns an operation's attributes by name, but for the functions that it refers to.

    Args:
      operation: Of any dialect.
      most_values: Elements that are written out; of a longer constant, only how many.
    """
    found = {}
    for name in operation.attributes:
        if name not in _HIDDEN:
            try:
                found[name] = _text(operation.attributes[name], most_values)
            except TypeError:
                # MLIR's bindings cannot give complex elements.
                found[name] = f"elements of {type_text(operation.results[0].type)}"
    return found


def argument_texts(function: ir.Operation) -> list[dict[str, str]]:
    """Returns the attributes of a function's arguments, in their order."""
    arguments = function.regions[0].blocks[0].arguments
    if "arg_attrs" not in function.attributes:
        return [{} for _ in arguments]
    entries = [ir.DictAttr(entry) for entry in ir.ArrayAttr(function.attributes["arg_attrs"])]
    return [{named.name: _text(named.attr, 16) for named in entry} for entry in entries]


def _text(attribute: ir.Attribute, most_values: int) -> str:
    if isinstance(attribute, ir.StringAttr):
        return _shortened(attribute.value_bytes.decode(errors="replace"))
    if isinstance(attribute, (ir.DenseElementsAttr, ir.DenseResourceElementsAttr)):
        count = math.prod(ir.ShapedType(attribute.type).shape)
        is_splat = isinstance(attribute, ir.DenseElementsAttr) and attribute.is_splat
        if count > most_values and not is_splat:
            return f"{count:,} values"
        return _shortened(str(attribute).partition(" : tensor<")[0])
    return _shortened(str(attribute))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
