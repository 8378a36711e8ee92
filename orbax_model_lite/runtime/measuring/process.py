"""The command's side of a measurement: a fresh child process, its progress, its end."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.runtime import children
from orbax_model_lite.runtime.measuring.measurement import Measurement, Request

Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and what is being done."""

_CHILD: Final = children.program("orbax_model_lite.runtime.measuring.child")


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
            said = children.last_words(complaints)
    if answer is None:
        raise UnsupportedError(_crash(code, said))
    return _parsed(answer)


def _asked(
    place: Path, complaints: BinaryIO, progress: Progress | None
) -> tuple[dict[str, Any] | None, int]:
    """Returns the child's answer, if there is one, and its exit code."""
    answer = None
    child = children.start(
        _CHILD,
        place,
        stdout=subprocess.PIPE,
        stderr=complaints,
        environment={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
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
        children.end(child)


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(answer: dict[str, Any]) -> Measurement:
    """Returns an answer; an error of ours in the child is raised here again."""
    if (error := children.raised_by(answer)) is not None:
        raise error
    try:
        return Measurement.from_json(answer["result"])
    except (KeyError, TypeError, ValueError) as e:
        raise InvalidBundleError(
            "child process: expected the answer of this package; found another one, so a program "
            "of the bundle meddles with its process; do not run it"
        ) from e


def _crash(code: int, said: str) -> str:
    return (
        f"child process: expected a measurement; found that it ended with "
        f"{children.manner(code, said)}; check with obm verify --isolate what the bundle's "
        "programs do"
    )
