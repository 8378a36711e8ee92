"""The child process of `isolation`: takes limits upon itself, does one task, writes one answer."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from orbax_model_lite import _lazy
from orbax_model_lite.core.function import ShloFunction
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.references import concrete_functions
from orbax_model_lite.errors import InvalidBundleError, ObmError
from orbax_model_lite.runtime.diagnosis import answers


def answer(place: str) -> None:
    """Answers the request in a JSON file with `answer.json` beside it.

    The answer has what the task gives, or "error" and "message" of an error of ours. Whatever else
    goes wrong ends the process, which is an answer too.
    """
    request = json.loads(Path(place).read_text("utf-8"))
    cpus = _take_cpus(request["limits"]["cpus"])
    start = _STARTS.get(request["task"])
    taken = 0
    if start is not None:
        # The driver of an accelerator maps more address space than the limit of a program.
        start(request)
        taken = _address_space_bytes()
    _limit(request["limits"], cpus, taken)
    try:
        found = _TASKS[request["task"]](request)
    except ObmError as e:
        found = {"error": type(e).__name__, "message": str(e)}
    result = Path(place).with_name("answer.json")
    beside = result.with_suffix(".unfinished")
    beside.write_text(json.dumps(found), encoding="utf-8")
    beside.replace(result)
    # Threads of a framework may be waiting for work that never comes.
    sys.stderr.flush()
    os._exit(0)


def _limit(limits: dict[str, Any], cpus: int, taken_bytes: int) -> None:
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        seconds = int(limits["timeout_s"] * cpus) + 1
        _lower(resource, resource.RLIMIT_AS, taken_bytes + limits["memory_bytes"])
        _lower(resource, resource.RLIMIT_CPU, seconds)
        _lower(resource, resource.RLIMIT_CORE, 0)


def _lower(resource: Any, which: int, wanted: int) -> None:
    _, most = resource.getrlimit(which)
    limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    # macOS refuses a limit of address space.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (limit, limit))


def _address_space_bytes() -> int:
    """Returns what this process has mapped; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _take_cpus(wanted: int | None) -> int:
    """Keeps to some cores, so that the machine stays usable; returns how many."""
    if not hasattr(os, "sched_setaffinity"):
        return wanted or os.cpu_count() or 1
    there = sorted(os.sched_getaffinity(0))
    count = min(len(there), wanted or max(1, len(there) // 2))
    # Several children at once would otherwise share the first ones.
    os.sched_setaffinity(0, random.sample(there, count))
    return count


def _replay(request: dict[str, Any]) -> dict[str, Any]:
    from orbax_model_lite.core.examples import Tolerance
    from orbax_model_lite.runtime.trust import Trust
    from orbax_model_lite.runtime.verification import run_programs

    trust = Trust(custom_calls=request["custom_calls"], tf_ops=request["tf_ops"])
    tolerances = {
        name: Tolerance(relative=relative, absolute=absolute)
        for name, (relative, absolute) in request["tolerances"].items()
    }
    findings = run_programs(read(request["path"]), tolerances, trust)
    return {"findings": [asdict(finding) for finding in findings]}


def _text(request: dict[str, Any]) -> dict[str, Any]:
    text = _lazy.load("orbax_model_lite.stablehlo.module:text", purpose="showing StableHLO")
    bundle, name = read(request["path"]), request["name"]
    texts = []
    for where, function in concrete_functions(name, bundle.functions[name]):
        if isinstance(function, ShloFunction):
            module = bundle.read_bytes(function.module, where=where)
            try:
                texts.append(text(module))
            except InvalidBundleError as e:
                raise InvalidBundleError(f"{where}: {e}") from e
    return {"text": "\n".join(texts)}


def _graphs(request: dict[str, Any]) -> dict[str, Any]:
    draw = _lazy.load("orbax_model_lite.stablehlo.drawing:draw", purpose="drawing StableHLO")
    bundle = read(request["path"])
    graphs: dict[str, Any] = {}
    for name, found in bundle.functions.items():
        for where, function in concrete_functions(name, found):
            if isinstance(function, ShloFunction):
                try:
                    module = bundle.read_bytes(function.module, where=where)
                    drawn = draw(module, most_values=request["most_values"], where=where)
                    graphs[where] = [asdict(graph) for graph in drawn]
                except ObmError as e:
                    graphs[where] = str(e)
    return {"graphs": graphs}


_TASKS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "replay": _replay,
    "text": _text,
    "graphs": _graphs,
    "tensorflow": answers.tensorflow,
    "programs": answers.programs,
}
# Done before the child is limited; none of them touches a bundle.
_STARTS: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "tensorflow": answers.start_tensorflow,
    "programs": answers.start_jax,
}
