"""The command's side of a measurement: a fresh child process, its progress, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from orbax_model_lite import errors
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.runtime.measuring.measurement import Measurement, Request

Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and what is being done."""

# The child's imports are this process's, and the folder it is started in is no part of them.
_CHILD: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from orbax_model_lite.runtime.measuring.child import answer
answer(sys.argv[2])
"""


def measure(
    request: Request, *, stdin: BinaryIO | None = None, progress: Progress | None = None
) -> Measurement:
    """Returns what a fresh process measured.

    It has the memory, the cores and the time of this one, and is ended when this is interrupted.

    Args:
      request: What is to be measured.
      stdin: Copied for the child where inputs come from standard input.
      progress: Told how far it is.

    Raises:
      SignatureMismatchError: If inputs do not fit.
      UnknownNameError: If a name is none of the bundle's.
      InvalidBundleError: If the bundle is damaged, or its program wrote something into the answer.
      UntrustedError: If a program wants what was not granted.
      UnsupportedError: If it cannot run here, or the child crashed.
    """
    from orbax_model_lite.runtime.measuring.child import STDIN_FILE

    with tempfile.TemporaryDirectory(prefix="obm-") as folder:
        place = Path(folder, "request.json")
        place.write_text(json.dumps(asdict(request)), encoding="utf-8")
        if stdin is not None:
            with (place.with_name(STDIN_FILE)).open("wb") as copy:
                while block := stdin.read(1 << 20):
                    copy.write(block)
        with Path(folder, "errors.txt").open("w+b") as complaints:
            answer, code = _asked(place, complaints, progress)
            complaints.seek(0)
            said = complaints.read().decode(errors="replace")
    if answer is None:
        raise UnsupportedError(_crash(code, said))
    return _parsed(answer)


def _asked(
    place: Path, complaints: BinaryIO, progress: Progress | None
) -> tuple[dict[str, Any] | None, int]:
    """Returns the child's answer, if there is one, and its exit code."""
    answer = None
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(sys.path), str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        start_new_session=True,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            message = _message(line)
            if "progress" in message and progress is not None:
                progress(float(message["progress"]), str(message.get("doing")))
            elif "result" in message or "error" in message:
                answer = message
        return answer, child.wait()
    finally:
        _end(child)


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(answer: dict[str, Any]) -> Measurement:
    """Returns an answer; an error of ours in the child is raised here again."""
    if "error" in answer:
        kind = getattr(errors, str(answer["error"]), None)
        if isinstance(kind, type) and issubclass(kind, errors.ObmError):
            raise kind(str(answer.get("message")))
    try:
        return Measurement.from_json(answer["result"])
    except (KeyError, TypeError, ValueError) as e:
        raise InvalidBundleError(
            "child process: expected the answer of this package; found another one, so a program "
            "of the bundle meddles with its process; do not run it"
        ) from e


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child and all that it has started, if it is still there."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _crash(code: int, said: str) -> str:
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    because = f", last saying {last.strip()[:200]!r}" if last else ""
    return (
        f"child process: expected a measurement; found that it ended with {how}{because}; check "
        "with obm verify --isolate what the bundle's programs do"
    )
