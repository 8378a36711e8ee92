"""How deep MLIR text nests brackets, found before MLIR parses it.

MLIR's parser calls itself for each bracket, so that text of nothing but brackets ends the process
where its stack ends.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

MOST_BRACKETS: Final = 1000
"""Brackets that may be open at once: about 300 regions within regions, where JAX traces 60."""

_OPENING, _CLOSING = b"([{<", b")]}>"
_OTHERS: Final = bytes(set(range(256)) - set(_OPENING + _CLOSING))
_NO_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|//[^\n]*|->', re.DOTALL)
_STEPS: Final = np.array([(i in _OPENING) - (i in _CLOSING) for i in range(256)], np.int8)


def is_too_deep(text: bytes) -> bool:
    """Returns whether more brackets than `MOST_BRACKETS` are open at once somewhere.

    Args:
      text: MLIR text as UTF-8; brackets in its strings and comments do not count.
    """
    if sum(text.count(opening) for opening in _OPENING) <= MOST_BRACKETS:
        return False
    brackets = _NO_STRUCTURE.sub(b"", text).translate(None, _OTHERS)
    steps = _STEPS[np.frombuffer(brackets, np.uint8)]
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0)) > MOST_BRACKETS
