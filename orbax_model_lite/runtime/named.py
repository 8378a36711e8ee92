"""Callables by name, each bound when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from orbax_model_lite.errors import unknown_name


@final
class Named(Mapping[str, Any]):
    """A mapping of a loaded model; safe to use from several threads.

    Args:
      kind: Of the callables, for messages: "function".
      names: Of all that there are.
      bind: Gives the callable of a name.
    """

    def __init__(self, kind: str, names: list[str], bind: Callable[[str], Any]) -> None:
        """Prepares the mapping; nothing is bound yet."""
        self._kind, self._names, self._bind = kind, names, bind
        self._bound: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Any:
        if name in self._bound:
            return self._bound[name]
        if name not in self._names:
            raise unknown_name(self._kind, name, self._names)
        with self._lock:
            if name not in self._bound:
                self._bound[name] = self._bind(name)
            return self._bound[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        """Returns for example "<functions: decode, serving_default>"."""
        return f"<{self._kind}s: {', '.join(self._names)}>"

    def clear(self) -> None:
        """Forgets what was bound."""
        with self._lock:
            self._bound.clear()
