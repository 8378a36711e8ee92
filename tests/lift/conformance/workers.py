"""Runs rows in a few processes: a crash or a hang costs its own row, not the sweep."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, final

_CONTEXT = multiprocessing.get_context("spawn")
_ROWS_PER_PROCESS = 200
"""Compiled code is never let go, so processes are replaced before they need gigabytes."""


def sweep(
    names: Sequence[str],
    *,
    dtypes: Sequence[str] = (),
    processes: int = 2,
    limit_s: float = 600,
) -> Iterator[Any]:
    """Yields the `Verdict` of each row, in the order in which they are done.

    Args:
      names: Of the rows.
      dtypes: Of which columns; by default of all.
      processes: How many work at a time.
      limit_s: Seconds for a row; then its process is ended and the row has failed.
    """
    waiting = list(reversed(names))
    workers: list[_Worker] = []
    while waiting or workers:
        while waiting and len(workers) < processes:
            workers.append(_Worker.start(dtypes))
            workers[-1].give(waiting.pop())
        connection.wait([worker.pipe for worker in workers], timeout=1)
        for worker in list(workers):
            verdict = worker.verdict(limit_s)
            if verdict is None:
                continue
            yield verdict
            if waiting and worker.process.is_alive() and worker.done < _ROWS_PER_PROCESS:
                worker.give(waiting.pop())
            else:
                worker.end()
                workers.remove(worker)


@final
@dataclass(kw_only=True)
class _Worker:
    """A process and the row that it works at."""

    process: Any
    pipe: Any
    name: str = ""
    since: float = 0.0
    done: int = 0

    @classmethod
    def start(cls, dtypes: Sequence[str]) -> _Worker:
        ours, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(theirs, tuple(dtypes)), daemon=True)
        process.start()
        theirs.close()
        return cls(process=process, pipe=ours)

    def give(self, name: str) -> None:
        self.name, self.since = name, time.monotonic()
        self.pipe.send(name)

    def verdict(self, limit_s: float) -> Any:
        """Returns what became of the row; None while it is being worked at."""
        from tests.lift.conformance.checking import Verdict

        try:
            if self.pipe.poll():
                self.done += 1
                return self.pipe.recv()
        except EOFError:
            self.process.join()
            reason = f"the process ended with code {self.process.exitcode}"
            return Verdict(name=self.name, cells={"f32": reason})
        if time.monotonic() - self.since > limit_s:
            self.process.kill()
            self.process.join()
            return Verdict(name=self.name, cells={"f32": f"not done within {limit_s:.0f} s"})
        return None

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _serve(pipe: Any, dtypes: Sequence[str]) -> None:
    # Rows are judged by their numbers; JAX warns of overflows and of deprecated names.
    warnings.simplefilter("ignore")
    from tests.lift.conformance.checking import check_row

    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        pipe.send(check_row(name, dtypes))
