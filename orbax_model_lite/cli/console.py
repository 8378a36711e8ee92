"""Where text goes: width, colour and characters that the stream at hand can show.

A bundle's names come from strangers, so whatever is printed passes `clean`: no control character
reaches a terminal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, TextIO, final

from orbax_model_lite.inspection.wording import clean, counted, size_text

__all__ = ["Console", "clean", "counted", "size_text", "text_width"]

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_NARROWEST: Final = 40


@final
class Console:
    """One output stream.

    Attributes:
      width: Columns of a line; None where lines are as long as they are (a pipe).
      is_colored: Whether styles are written.
      is_ascii: Whether only ASCII can be shown.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        """Looks at the stream and at COLUMNS, NO_COLOR and TERM."""
        self._stream = stream
        is_terminal = stream.isatty()
        self.width = _width(stream, environment, is_terminal=is_terminal)
        self.is_colored = (
            is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        )
        self.is_terminal = is_terminal
        encoding = (getattr(stream, "encoding", None) or "ascii").lower()
        self.is_ascii = not encoding.startswith("utf")

    def line(self, text: str = "") -> None:
        """Writes one line; the text was cleaned and styled before."""
        self._stream.write(text + "\n")

    def raw(self, text: str) -> None:
        """Writes as it is, at once."""
        self._stream.write(text)
        self._stream.flush()

    def json(self, value: Any) -> None:
        """Writes a value as JSON, which escapes what a terminal could misread."""
        self._stream.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def styled(self, text: str, *styles: str) -> str:
        """Returns the text in a style, where styles are shown."""
        if not self.is_colored or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def heading(self, text: str) -> None:
        """Writes an empty line, then a title."""
        self.line()
        self.line(self.styled(text, "bold"))

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._stream.flush()


def text_width(text: str) -> int:
    """Returns how many columns a text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def _width(stream: TextIO, environment: Mapping[str, str], *, is_terminal: bool) -> int | None:
    asked = environment.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(_NARROWEST, int(asked))
    if not is_terminal:
        return None
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    # A terminal that nobody has told its size says 0.
    return max(_NARROWEST, columns) if columns else 80
