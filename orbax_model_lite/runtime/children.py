"""What all child processes of this package have in common: their start, their end, what they said.

A child imports what this process imports, gets a session of its own, and is killed with all that it
has started. What it is asked, and what becomes of its answer, is the matter of those who start it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from orbax_model_lite import errors
from orbax_model_lite.errors import ObmError

_LONGEST = 200


def program(module: str) -> str:
    """Returns the code of a child that calls `answer(place)` of a module.

    Its imports are this process's, and the folder it is started in is no part of them.
    """
    return (
        "import json, sys\n"
        "sys.path[:] = json.loads(sys.argv[1])\n"
        f"from {module} import answer\n"
        "answer(sys.argv[2])\n"
    )


def start(
    code: str,
    place: Path,
    *,
    stdout: int | IO[bytes],
    stderr: IO[bytes],
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Starts a child.

    Args:
      code: See `program`.
      place: Of its request.
      stdout: Where its output goes.
      stderr: Where its complaints go.
      environment: All its variables.
    """
    return subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(sys.path), str(place)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(environment),
        start_new_session=True,
    )


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends a child and all that it has started, if it is still there."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def last_words(stderr: IO[bytes]) -> str:
    """Returns the last line that a child complained with; "" if there is none."""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def manner(code: int, said: str) -> str:
    """Returns how a child ended: for example "SIGSEGV, last saying 'out of memory'"."""
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{how}, last saying {said[:_LONGEST]!r}" if said else how


def raised_by(answer: Mapping[str, Any]) -> ObmError | None:
    """Returns the error of ours that an answer tells of; None if it tells of none."""
    kind = getattr(errors, str(answer.get("error")), None)
    if isinstance(kind, type) and issubclass(kind, ObmError):
        return kind(str(answer.get("message")))
    return None
