"""Programs of a bundle in a child process: with less memory, time and cores, and free to crash.

What a stranger's module does to MLIR, XLA or TensorFlow happens there. The child is this package
again (`isolation_child`); it is asked for one thing and answers with one JSON file.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.function import OpaqueFunction
from orbax_model_lite.core.report import Finding
from orbax_model_lite.errors import (
    InvalidBundleError,
    InvalidModelError,
    UnsupportedError,
    unknown_name,
)
from orbax_model_lite.runtime import children
from orbax_model_lite.runtime.trust import Trust
from orbax_model_lite.stablehlo.drawn import DrawnFunction, from_json

_CHILD: Final = children.program("orbax_model_lite.runtime.isolation_child")
_WHERE: Final = "child process"
# A library that cannot be mapped and a thread that cannot have a stack want address space too.
_OUT_OF_MEMORY: Final = (
    "MemoryError",
    "bad_alloc",
    "RESOURCE_EXHAUSTED",
    "ut of memory",
    "annot allocate memory",
    "failed to map segment",
    "can't start new thread",
    "Resource temporarily unavailable",
)
MORE_TIME: Final = "allow more time if the bundle is to be trusted"
"""How the message of a finding about a child that was too late ends."""
# Programs that took the child over may write what they like.
NO_ANSWER: Final = (
    "expected the answer of this package; found another one, so a program of the bundle meddles "
    "with its process; do not run it outside of a child process"
)
"""The message of a finding about an answer that is none of ours."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What a child process may use.

    Attributes:
      memory_bytes: Of address space, where the system can limit it (not on Windows). What a
        framework takes by starting does not count where a task starts it first.
      timeout_s: Seconds until it is ended.
      cpus: Cores that it may run on; None is half of those of this process, at least one.
    """

    memory_bytes: int = 4 * 2**30
    timeout_s: float = 120.0
    cpus: int | None = None


def replay_isolated(
    path: str | os.PathLike[str], isolation: Isolation, *, trust: Trust, tolerances: dict[str, Any]
) -> list[Finding]:
    """Returns what a replay in a child process found; a crash of it is an error.

    An end by a limit, of memory or of time, is inconclusive: it says nothing of the bundle.

    Args:
      path: The bundle's folder.
      isolation: Limits of the child.
      trust: What the programs may do.
      tolerances: By dtype name, (relative, absolute).
    """
    request = {
        "task": "replay",
        "path": str(Path(path).absolute()),
        "custom_calls": sorted(trust.custom_calls),
        "tf_ops": sorted(trust.tf_ops),
        "tolerances": tolerances,
    }
    answer = ask(request, isolation)
    if isinstance(answer, Finding):
        return [answer]
    try:
        return [Finding(**finding) for finding in answer["findings"]]
    except (KeyError, TypeError, ValueError):
        return [_finding("error", NO_ANSWER)]


def module_text(bundle: Bundle, name: str, isolation: Isolation | None = None) -> str:
    """Returns the readable StableHLO of a function, parsed in a child process with JAX.

    Args:
      bundle: The bundle.
      name: Of a StableHLO function; of a polymorphic one, all variants follow each other.
      isolation: Limits of the child.

    Raises:
      UnknownNameError: If there is no such function.
      InvalidModelError: If it is no StableHLO function.
      InvalidBundleError: If it does not parse, or the child crashed.
      UnsupportedError: If the child wanted more memory or time than it may have.
      MissingDependencyError: If JAX is not installed.
    """
    functions = bundle.functions
    if name not in functions:
        raise unknown_name("function", name, functions)
    function = functions[name]
    if isinstance(function, OpaqueFunction):
        raise InvalidModelError(
            f"function {name!r}: expected a StableHLO function; found one of type "
            f"{function.mime_type!r}; show its signature with --details"
        )
    request = {"task": "text", "path": str(bundle.path.absolute()), "name": name}
    answer = ask(request, isolation or Isolation())
    if isinstance(answer, Finding):
        kind = InvalidBundleError if answer.severity == "error" else UnsupportedError
        raise kind(f"function {name!r}: {answer.message}")
    if not isinstance(answer.get("text"), str):
        raise InvalidBundleError(f"function {name!r}: {NO_ANSWER}")
    return answer["text"]


def module_graphs(
    bundle: Bundle,
    *,
    most_values: int = 16,
    isolation: Isolation | None = None,
    ended: Event | None = None,
) -> dict[str, tuple[DrawnFunction, ...] | str]:
    """Returns all modules of a bundle as graphs, drawn in one child process with JAX.

    Args:
      bundle: The bundle.
      most_values: Elements of a constant that are written out.
      isolation: Limits of the child.
      ended: Ends the child when it is set.

    Returns:
      By "function 'f', variant 0": what `stablehlo.drawing.draw` gives, or why there is nothing.

    Raises:
      InvalidBundleError: If the child crashed.
      MissingDependencyError: If JAX is not installed.
    """
    request = {
        "task": "graphs",
        "path": str(bundle.path.absolute()),
        "most_values": most_values,
    }
    answer = ask(request, isolation or Isolation(), ended=ended)
    where = f"bundle {os.fspath(bundle.path)!r}"
    if isinstance(answer, Finding):
        raise InvalidBundleError(f"{where}: {answer.message}")
    try:
        return {
            str(name): found if isinstance(found, str) else tuple(map(from_json, found))
            for name, found in answer["graphs"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise InvalidBundleError(f"{where}: {NO_ANSWER}") from e


def ask(
    request: dict[str, Any],
    isolation: Isolation,
    *,
    environment: Mapping[str, str] | None = None,
    ended: Event | None = None,
) -> Any:
    """Returns the child's answer, a dict, or a finding that says why there is none.

    What the answer holds is for the caller to check: a program that took the child over may have
    written it.

    Args:
      request: "task", one of `isolation_child`, and what that takes; plain JSON.
      isolation: Limits of the child.
      environment: Variables that the child has beyond those of this process.
      ended: Ends the child when it is set, as if its time were over.

    Raises:
      ObmError: What the task raised in the child.
    """
    with tempfile.TemporaryDirectory(prefix="obm-") as folder:
        place = Path(folder, "request.json")
        place.write_text(json.dumps(request | {"limits": asdict(isolation)}), encoding="utf-8")
        with Path(folder, "errors.txt").open("w+b") as complaints:
            child = children.start(
                _CHILD,
                place,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                environment={**os.environ, **(environment or {})},
            )
            try:
                code = _waited(child, isolation.timeout_s, ended)
            except subprocess.TimeoutExpired:
                return _finding(
                    "inconclusive",
                    f"expected an end within {isolation.timeout_s:g} s; it was still running; "
                    f"{MORE_TIME}",
                )
            finally:
                children.end(child)
            said = children.last_words(complaints)
        result = place.with_name("answer.json")
        if code != 0 or not result.exists():
            return _crash(code, said, isolation)
        try:
            answer = json.loads(result.read_text("utf-8"))
        except (ValueError, RecursionError):
            return _finding("error", NO_ANSWER)
        return _parsed(answer)


def _waited(child: subprocess.Popen[bytes], timeout_s: float, ended: Event | None) -> int:
    if ended is None:
        return child.wait(timeout_s)
    end = time.monotonic() + timeout_s
    while not ended.is_set() and (left := end - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(min(left, 0.1))
    raise subprocess.TimeoutExpired(child.args, timeout_s)


def _parsed(answer: Any) -> Any:
    """Returns an answer; an error of ours in the child is raised here again."""
    if not isinstance(answer, dict):
        return _finding("error", NO_ANSWER)
    if "error" not in answer:
        return answer
    error = children.raised_by(answer)
    if error is None:
        return _finding("error", NO_ANSWER)
    raise error


def _crash(code: int, said: str, isolation: Isolation) -> Finding:
    severity, advice = "error", "do not run this bundle outside of a child process"
    if any(sign in said for sign in _OUT_OF_MEMORY):
        severity, advice = "inconclusive", "allow more memory if the bundle is to be trusted"
    message = (
        f"expected programs that run to an end within {isolation.memory_bytes / 2**30:.3g} GiB; "
        f"found that they ended the process with {children.manner(code, said)}; {advice}"
    )
    return _finding(severity, message)


def _finding(severity: Any, message: str) -> Finding:
    return Finding(severity, _WHERE, message)
