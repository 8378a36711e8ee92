"""A script in a process of its own: how long it took from start to exit, and its peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

_BENCHMARKS = Path(__file__).parent.parent
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONPATH": os.pathsep.join([str(_BENCHMARKS.parent), str(_BENCHMARKS)]),
    "PYTHONWARNINGS": "ignore",
}
_BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a process.

    Attributes:
      wall_s: From its start to its exit.
      cpu_s: On all cores, which says more than `wall_s` on a busy machine.
      peak_bytes: The most memory that was resident at a time.
      result: Its last line of output, as JSON; None when it said nothing.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    result: Any


def run_fresh(script: str, *arguments: object) -> Outcome:
    """Runs `contenders/SCRIPT.py` in a new interpreter.

    A process begins with the peak of the one that started it, so call this from a small one.

    Args:
      script: Name without ending.
      *arguments: Of its command line.
    """
    command = [sys.executable, str(_BENCHMARKS / "contenders" / f"{script}.py")]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=output,
            stderr=errors,
            env=os.environ | _ENVIRONMENT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said, complaints = (_text(stream) for stream in (output, errors))
    if process.returncode != 0:
        raise RuntimeError(f"{script}: exit code {process.returncode}\n{said}\n{complaints}")
    lines = said.splitlines()
    return Outcome(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * _BYTES_OF_MAXRSS,
        result=json.loads(lines[-1]) if lines else None,
    )


def _text(stream: Any) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
