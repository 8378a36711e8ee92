"""A progress bar on a terminal; nothing at all elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self, final

from orbax_model_lite.cli.console import Console, clean, size_text

_WIDTH: Final = 30
_EVERY_S: Final = 0.1


@final
class ProgressBar:
    """One line that is drawn over itself, and gone at the end, also after Ctrl-C."""

    def __init__(self, console: Console, label: str, *, is_shown: bool) -> None:
        """Draws nothing yet.

        Args:
          console: Of standard error, so that output may go to a pipe.
          label: What is being done.
          is_shown: Whether to draw, if the console is a terminal.
        """
        self._console = console
        self._label = label
        self._is_shown = is_shown and console.is_terminal
        self._drawn_at: float | None = None

    def __enter__(self) -> Self:
        """Returns the bar."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipes the line."""
        if self._drawn_at is not None:
            self._console.raw("\r\x1b[K")

    def update(self, done: float, total: int, *, doing: str | None = None) -> None:
        """Draws the state.

        Args:
          done: Bytes, or another measure where `doing` is said.
          total: Of the same.
          doing: What is being done now, in the place of how many bytes there are.
        """
        now = time.monotonic()
        if not self._is_shown or (self._drawn_at is not None and now < self._drawn_at + _EVERY_S):
            return
        self._drawn_at = now
        share = done / total if total else 1.0
        full = round(share * _WIDTH)
        now_doing = f"of {size_text(total)}" if doing is None else clean(doing)
        bar = "#" * full + "." * (_WIDTH - full)
        self._console.raw(f"\r\x1b[K{self._label} [{bar}] {share:4.0%} {now_doing}")
