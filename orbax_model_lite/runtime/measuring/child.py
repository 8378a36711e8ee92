"""The child process that measures: does one request, tells how far it is, and writes what it found.

It speaks in lines of JSON on what was its standard output, which programs of the bundle do not
have: theirs is standard error.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.tree import leaves
from orbax_model_lite.errors import ObmError
from orbax_model_lite.runtime.calling import documents
from orbax_model_lite.runtime.calling.matching import Call, call_from
from orbax_model_lite.runtime.calling.placing import Source
from orbax_model_lite.runtime.calling.platforms import platform_errors, require_platform
from orbax_model_lite.runtime.calling.target import Target, bind, find_target
from orbax_model_lite.runtime.loading import load, read_orchestration
from orbax_model_lite.runtime.measuring.measurement import (
    BatchMeasurement,
    Measurement,
    Request,
)
from orbax_model_lite.runtime.measuring.plan import (
    PlannedBatch,
    inputs_at_random,
    plan,
    repeated,
)
from orbax_model_lite.runtime.trust import Trust

Tell = Callable[[dict[str, Any]], None]

STDIN_FILE: Final = "stdin"
"""What was on standard input of the command, beside the request."""

_WARM_UPS: Final = 2
_FEWEST_CALLS: Final = 10
_MOST_CALLS: Final = 1_000_000
_TELL_EVERY_S: Final = 0.1
_FRAMEWORKS: Final = ("jax", "jaxlib", "tensorflow", "numpy")


def answer(place: str) -> None:
    """Measures what the request in a JSON file asks for.

    Whatever goes wrong but an error of ours ends the process, which is an answer too.
    """
    tell = _teller(_own_stdout())
    value = json.loads(Path(place).read_text("utf-8"))
    for name in ("files", "values"):
        value[name] = tuple(tuple(entry) for entry in value[name])
    try:
        with platform_errors():
            found = measured(Request(**value), Path(place).parent, tell)
        tell({"result": asdict(found)})
    except ObmError as e:
        tell({"error": type(e).__name__, "message": str(e)})
    sys.stderr.flush()
    # Threads of a framework may be waiting for work that never comes.
    os._exit(0)


def measured(request: Request, folder: Path, tell: Tell) -> Measurement:
    """Returns what was measured in this process.

    Args:
      request: What is asked for.
      folder: Where `STDIN_FILE` is.
      tell: Takes {"progress": share, "doing": text}.

    Raises:
      ObmError: If inputs do not fit, or the bundle cannot be run.
    """
    # Wrong names and inputs are told before a framework is imported.
    bundle = read(request.path)
    target = find_target(
        bundle,
        read_orchestration(bundle),
        pipeline=request.pipeline,
        function=request.function,
        weights=request.weights,
    )
    given = None
    if request.files or request.values:
        given = call_from(target, _sources(request, folder))
        target = replace(target, forms=(given.form,))
    batches, notes = plan(target, request.batch_sizes, request.sizes)
    inputs = _inputs(request, bundle, target, given)
    notes += inputs(batches[0]).notes
    tell({"progress": 0.0, "doing": "loading"})
    begin = time.perf_counter()
    if request.platform is not None:
        require_platform(request.platform)
    trust = Trust(custom_calls=request.custom_calls, tf_ops=request.tf_ops)
    model = load(request.path, trust=trust)
    call = bind(model, target)
    # JAX looks for devices when it is first asked for them.
    platform, device = _device()
    load_s = time.perf_counter() - begin
    loaded_bytes = _memory("VmRSS")
    found = []
    for i, batch in enumerate(batches):
        step = _Step(tell, i, len(batches), batch.size)
        found.append(_measured_batch(call, inputs(batch), batch, request, step))
    return Measurement(
        kind=target.kind,
        name=target.name,
        platform=platform,
        device=device,
        cores=_cores(),
        versions=_versions(),
        load_s=load_s,
        loaded_bytes=loaded_bytes,
        peak_bytes=_memory("VmHWM"),
        device_peak_bytes=_device_peaks(),
        batches=tuple(found),
        notes=tuple(notes),
    )


class _Step:
    """Tells how far one batch size is, not more often than is of use."""

    def __init__(self, tell: Tell, index: int, count: int, size: int | None) -> None:
        self._tell, self._index, self._count = tell, index, count
        self._doing = "calls" if size is None else f"batch {size}"
        self._told_at = 0.0

    def at(self, share: float) -> None:
        """Tells what share of this batch size is done."""
        now = time.perf_counter()
        if now >= self._told_at + _TELL_EVERY_S:
            self._told_at = now
            done = (self._index + min(1.0, share)) / self._count
            self._tell({"progress": done, "doing": self._doing})


def _measured_batch(
    call: Callable[..., Any], inputs: Call, batch: PlannedBatch, request: Request, step: _Step
) -> BatchMeasurement:
    def timed() -> float:
        return _timed(call, inputs.args, inputs.kwargs)

    step.at(0.0)
    first_s = timed()
    for _ in range(_WARM_UPS):
        timed()
    times = _times(timed, request, step)
    p50, p95, p99 = (float(value) for value in np.percentile(times, [50, 95, 99]))
    mean = sum(times) / len(times)
    return BatchMeasurement(
        batch_size=batch.size,
        first_call_s=first_s,
        compile_s=max(0.0, first_s - p50),
        calls=len(times),
        mean_s=mean,
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        examples_per_s=(batch.size or 1) / mean,
        peak_bytes=_memory("VmHWM"),
    )


def _times(timed: Callable[[], float], request: Request, step: _Step) -> list[float]:
    """Returns the seconds of each call: as many as are asked for, or as the time allows."""
    times: list[float] = []
    if request.repeats is not None:
        while len(times) < request.repeats:
            step.at(len(times) / request.repeats)
            times.append(timed())
        return times
    begin = time.perf_counter()
    while len(times) < _MOST_CALLS:
        passed = time.perf_counter() - begin
        if passed >= request.seconds and len(times) >= _FEWEST_CALLS:
            break
        step.at(passed / request.seconds)
        times.append(timed())
    return times


def _timed(call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float:
    """Returns the seconds of one call, from arrays on the host until its outputs are there."""
    begin = time.perf_counter()
    for leaf in leaves(call(*args, **kwargs)):
        if hasattr(leaf, "block_until_ready"):
            leaf.block_until_ready()
    return time.perf_counter() - begin


def _inputs(
    request: Request, bundle: Bundle, target: Target, given: Call | None
) -> Callable[[PlannedBatch], Call]:
    def inputs(batch: PlannedBatch) -> Call:
        if given is not None:
            return repeated(given, batch.size)
        return inputs_at_random(bundle, target, batch, seed=request.seed, sizes=request.sizes)

    return inputs


def _sources(request: Request, folder: Path) -> list[Source]:
    found = []
    for text, name, path in request.files:
        if path == documents.STDIN:
            with (folder / STDIN_FILE).open("rb") as stdin:
                document = documents.read_document(path, stdin)
        else:
            document = documents.read_document(path)
        found.append(Source(text=text, name=name, document=document))
    for text, name, value in request.values:
        document = documents.read_value(value, f"value {text!r}")
        found.append(Source(text=text, name=name, document=document))
    return found


def _own_stdout() -> TextIO:
    """Returns what was standard output; whoever writes there from now on writes to errors."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _teller(stream: TextIO) -> Tell:
    def tell(message: dict[str, Any]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return tell


def _memory(field: str) -> int:
    """Returns resident memory in bytes: "VmRSS" of now, "VmHWM" the most so far.

    A process begins with the peak that `getrusage` tells of its parent, so that is the last resort.
    """
    try:
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    return {
        name: getattr(sys.modules[name], "__version__", None) or importlib.metadata.version(name)
        for name in _FRAMEWORKS
        if name in sys.modules
    }


def _device() -> tuple[str, str]:
    if "jax" not in sys.modules:
        return "cpu", "cpu"
    device = _lazy.load("jax:local_devices")()[0]
    return device.platform, device.device_kind


def _device_peaks() -> dict[str, int]:
    if "jax" not in sys.modules:
        return {}
    stats = {str(device): device.memory_stats() for device in _lazy.load("jax:local_devices")()}
    return {
        name: int(found["peak_bytes_in_use"])
        for name, found in stats.items()
        if found and "peak_bytes_in_use" in found
    }
