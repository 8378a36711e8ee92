"""Which function of a module calls which, and how much tracing that is.

Calls are traced in place, as XLA compiles them in place. A module of a few lines may so stand for a
program without end, or of astronomic size; both are refused before anything is traced.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from orbax_model_lite.errors import UnsupportedError

MOST_OPERATIONS: Final = 10_000_000
"""Operations that one lifted function may come to, with every call in its place."""


@final
class CallGraph:
    """The calls of one module, noted while it is read."""

    def __init__(self) -> None:
        """Makes a graph without functions."""
        self._calls: dict[str, Counter[str]] = {}
        self._operations = Counter[str]()

    def enter(self, function: str) -> None:
        """Notes a function that is being read."""
        self._calls[function] = Counter()

    def note_call(self, caller: str, callee: str) -> None:
        """Notes one place where a function calls another; that its rule names one is no call."""
        self._calls[caller][callee] += 1

    def note_operation(self, function: str) -> None:
        """Notes one operation of a function."""
        self._operations[function] += 1

    def require_finite(self, where: str) -> None:
        """Checks that tracing comes to an end.

        Args:
          where: Beginning of a message.

        Raises:
          UnsupportedError: If a function calls itself, over others as well, or the calls in their
            places come to more than `MOST_OPERATIONS`.
        """
        waits_for = {function: len(calls) for function, calls in self._calls.items()}
        callers: dict[str, list[str]] = {function: [] for function in self._calls}
        for caller, calls in self._calls.items():
            for callee in calls:
                callers[callee].append(caller)
        ready = [function for function, count in waits_for.items() if not count]
        totals: dict[str, int] = {}
        while ready:
            done = ready.pop()
            calls = self._calls[done].items()
            totals[done] = self._operations[done] + sum(totals[c] * n for c, n in calls)
            if totals[done] > MOST_OPERATIONS:
                raise UnsupportedError(
                    f"{where}: expected at most {MOST_OPERATIONS} operations with every call in "
                    f"its place; found {totals[done]} in function {done!r}; call the function as "
                    "it is stored instead"
                )
            for caller in callers[done]:
                waits_for[caller] -= 1
                if not waits_for[caller]:
                    ready.append(caller)
        endless = sorted(set(self._calls) - set(totals))
        if endless:
            raise UnsupportedError(
                f"{where}: expected functions that end; found that {endless[0]!r} calls itself; "
                "rewrite it as a loop"
            )
