"""The check of memory: what loading and calling takes, and what is there.

On a CPU all devices share the memory of the machine, which the frameworks need too. Elsewhere each
device has its own, and the machine needs room for the frameworks only: arrays pass through.

XLA counts its own buffers. What the matrix routines of a CPU pack for themselves it does not: a
large multiplication was seen to take half as much again. So what only just fits is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite.runtime.diagnosis.asking import (
    Estimate,
    Jax,
    Judged,
    Judgement,
    Silence,
    TensorFlow,
)
from orbax_model_lite.runtime.diagnosis.checks import Check
from orbax_model_lite.runtime.diagnosis.machine import Machine
from orbax_model_lite.runtime.diagnosis.needs import Needs, static_bytes

_CLOSE_ON_CPU: Final = 1.5
_CLOSE_ON_DEVICES: Final = 1.1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What loading a bundle and calling one of its programs takes on one device, in bytes.

    Attributes:
      weights: Of all values that the programs take.
      call: Of the largest call: inputs, results, temporaries and code; its label is `label`.
      parts: The same by part.
      label: The program of that call, with its sizes.
      device_count: Devices that it runs on.
    """

    weights: int
    call: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    label: str = ""
    device_count: int = 1


def memory_check(
    machine: Machine,
    needs: Needs,
    jax: Jax | Silence | None,
    judgement: Judgement,
    tensorflow: TensorFlow | Silence | None,
) -> Check:
    """Returns the check of memory.

    Args:
      machine: Tells what is left of its memory.
      needs: What the bundle needs.
      jax: What a new process has; None where JAX is not installed.
      judgement: What came of compiling the programs.
      tensorflow: What a new process has; None where it is not needed.
    """
    demand = _demand(needs, judgement)
    runtime = jax.peak_bytes if isinstance(jax, Jax) else 0
    runtime += tensorflow.peak_bytes if isinstance(tensorflow, TensorFlow) else 0
    if isinstance(jax, Jax) and jax.platform != "cpu":
        return _on_devices(demand, jax, _is_whole(needs, judgement))
    total = demand.device_count * (demand.weights + demand.call) + runtime
    text = f"{size_text(total)} needed ({_parts(demand, runtime)})"
    if machine.memory_bytes is None:
        return Check(
            name="memory",
            verdict="unknown",
            found=f"{text}; this system does not tell what is left",
            advice="compare it with the memory of this machine",
        )
    left = f"{size_text(machine.memory_bytes)} left by {machine.memory_limit}"
    check = _compared(f"{text}; {left}", total, machine.memory_bytes, _is_whole(needs, judgement))
    return _told_if_close(check, total, machine.memory_bytes, _CLOSE_ON_CPU)


def _on_devices(demand: Demand, jax: Jax, is_whole: bool) -> Check:
    total = demand.weights + demand.call
    text = f"{size_text(total)} needed on each device ({_parts(demand, 0)})"
    told = [
        device.memory_bytes - (device.memory_in_use_bytes or 0)
        for device in jax.devices[: demand.device_count]
        if device.memory_bytes is not None
    ]
    if not told:
        return Check(
            name="memory",
            verdict="unknown",
            found=f"{text}; {jax.platform} does not tell what is left",
            advice="compare it with the memory of the device",
        )
    check = _compared(f"{text}; {size_text(min(told))} left there", total, min(told), is_whole)
    return _told_if_close(check, total, min(told), _CLOSE_ON_DEVICES)


def _compared(found: str, total: int, left: int, is_whole: bool) -> Check:
    if total > left:
        return Check(
            name="memory",
            verdict="problem",
            found=f"{found}; {size_text(total - left)} too little",
            advice="load it where there is more, over several devices (docs/devices.md), with a "
            "smaller dtype=, or with smaller sizes",
        )
    if not is_whole:
        return Check(
            name="memory",
            verdict="unknown",
            found=f"at least {found}",
            advice="what calls take beyond weights is told when all programs compile",
        )
    return Check(name="memory", verdict="ok", found=found)


def _told_if_close(check: Check, total: int, left: int, close: float) -> Check:
    """Returns a note in the place of a check that is fine and only just so."""
    if check.verdict != "ok" or left >= close * total:
        return check
    return Check(
        name=check.name,
        verdict="note",
        found=f"{check.found}, which is close",
        advice="buffers that XLA does not count come on top; keep other programs off this machine",
    )


def _is_whole(needs: Needs, judgement: Judgement) -> bool:
    """Whether XLA has told of every program what it takes."""
    found = [judgement.get(program.where) for program in needs.programs]
    return all(isinstance(judged, Judged) and judged.estimate is not None for judged in found)


def _demand(needs: Needs, judgement: Judgement) -> Demand:
    weights: dict[str, int] = {}
    calls: list[Demand] = []
    for program in needs.programs:
        judged = judgement.get(program.where)
        estimate = judged.estimate if isinstance(judged, Judged) else None
        if program.weights is not None:
            size = static_bytes(program) if estimate is None else estimate.weights_bytes
            weights[program.weights] = max(size, weights.get(program.weights, 0))
        if estimate is not None:
            calls.append(_call(program.label, estimate, is_bound=program.weights is not None))
    largest = max(calls, key=lambda call: call.call, default=Demand(weights=0))
    return Demand(
        weights=sum(weights.values()),
        call=largest.call,
        parts=largest.parts,
        label=largest.label,
        device_count=max((call.device_count for call in calls), default=1),
    )


def _call(label: str, estimate: Estimate, *, is_bound: bool) -> Demand:
    sizes = ", ".join(f"{name}={size}" for name, size in estimate.sizes.items())
    taken = estimate.weights_bytes if is_bound else 0
    parts = {
        "arguments": max(0, estimate.argument_bytes - taken),
        "results": max(0, estimate.output_bytes - estimate.shared_bytes),
        "temporaries": estimate.temporary_bytes,
        "code": estimate.code_bytes,
    }
    return Demand(
        weights=0,
        call=sum(parts.values()),
        parts=parts,
        label=f"{label} with {sizes}" if sizes else label,
        device_count=estimate.device_count,
    )


def _parts(demand: Demand, runtime: int) -> str:
    texts = [f"weights {size_text(demand.weights)}"] if demand.weights else []
    if demand.label:
        parts = ", ".join(f"{name} {size_text(size)}" for name, size in demand.parts.items())
        texts.append(f"{demand.label}: {parts}")
    devices = f" on each of {demand.device_count} devices" if demand.device_count > 1 else ""
    told = "; ".join(texts) + devices if texts else "no arrays"
    return told + (f"; frameworks {size_text(runtime)}" if runtime else "")


def size_text(size_bytes: int) -> str:
    """Returns a size in decimal units.

    >>> size_text(21_500_000)
    '21.5 MB'
    """
    size = float(min(size_bytes, 10**21))  # float ends at 1e308, what a header claims does not
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} PB"
